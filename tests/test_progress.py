"""Progress of long work: what it prints, and that it keeps nothing."""

import gc
import io
import tracemalloc

import pytest
from rich.console import Console

from gradlaw import progress
from gradlaw.progress import SILENT, Progress

STAGES = 500
MOST_KEPT = 20  # bytes a stage; the record of a bar takes more than 500


def _stages() -> None:
    for _ in range(STAGES):
        with SILENT.stage("collect gradients", 3) as advance:
            for _ in range(3):
                advance(1)


def test_what_is_not_shown_keeps_nothing():
    _stages()
    tracemalloc.start()
    try:
        _stages()
        gc.collect()
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < MOST_KEPT * STAGES


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """What is printed on a terminal."""
    printed = io.StringIO()
    monkeypatch.setattr(progress, "Console", lambda stderr: Console(file=printed, force_terminal=True, width=120))
    return printed


def _done(shown: Progress, *labels: str) -> None:
    for label in labels:
        with shown.stage(label, 2) as advance:
            advance(2)


def test_a_stage_on_its_own_does_not_draw_those_before_once_more(terminal):
    _done(Progress(), "one", "two", "three")
    text = terminal.getvalue()
    assert text.index("one") < text.index("two") < text.index("three")
    assert "one" not in text[text.index("two") :]
    assert "two" not in text[text.index("three") :]
    assert text.count("2/2") >= 3


def test_within_a_context_all_stages_stay_in_view(terminal):
    with Progress() as shown:
        _done(shown, "one", "two")
        shown.say("beside them")
    last = terminal.getvalue().rsplit("one", 1)[1]
    assert "two" in last
    assert "beside them" in terminal.getvalue()


def test_a_stage_that_fails_leaves_the_terminal_to_the_next(terminal):
    shown = Progress()
    with pytest.raises(ValueError, match="no"), shown.stage("fails", 2):
        raise ValueError("no")
    _done(shown, "next")
    text = terminal.getvalue()
    assert "fails" not in text[text.index("next") :]
