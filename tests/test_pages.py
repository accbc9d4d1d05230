"""The code of the documentation runs as it stands, page by page, and prints what the pages say that it prints."""

import re
import shlex

import matplotlib.pyplot as plt
import pytest

from gradlaw.cli.main import _parser
from tools import pages

ALL = pages.pages()
WITH_CODE = [page for page in ALL if any(block.reason is None for block in pages.blocks(page))]
_NUMBER = re.compile(r"-?\d[\d,]*\.?\d*(?:e[+-]?\d+)?")
_TOLERANCE = 0.05  # relative, of printed numbers: other machines round otherwise


def _name(page):
    return str(page.relative_to(pages.ROOT))


def _numbers(text: str) -> list[float]:
    return [float(number.replace(",", "")) for number in _NUMBER.findall(text)]


def agree(printed: str, shown: str) -> bool:
    """Whether two texts have the same words and nearly the same numbers, spaces aside."""
    words = [_NUMBER.sub("0", text).split() for text in (printed, shown)]
    return words[0] == words[1] and _numbers(printed) == pytest.approx(_numbers(shown), rel=_TOLERANCE, abs=0.02)


@pytest.mark.parametrize("page", WITH_CODE, ids=_name)
def test_the_code_of_a_page_runs_and_prints_what_it_says(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plt.switch_backend("agg")
    for block, printed in pages.run(page):
        if block.printed is not None:
            assert agree(printed, block.printed), f"{block.place} prints\n{printed}"
    plt.close("all")
    assert {path.name for path in tmp_path.glob("*.png")} <= pages.pictures(page).keys()


@pytest.mark.parametrize("page", ALL, ids=_name)
def test_code_that_is_not_run_compiles(page):
    for block in pages.blocks(page):
        block.compiled()
        assert block.reason is None or len(block.reason) > 10


@pytest.mark.parametrize("page", [page for page in ALL if pages.commands(page)], ids=_name)
def test_commands_are_taken_by_the_parser(page):
    for command in pages.commands(page):
        arguments = shlex.split(command)[1:]
        if "--help" in arguments:
            with pytest.raises(SystemExit, match="0"):
                _parser(arguments).parse_args(arguments)
        else:
            _parser(arguments).parse_args(arguments)


def test_a_page_is_read_as_it_is_written(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "```python\nx = 1\nprint(x)\n```\n\n```text\n1\n```\n\n<!-- not run: needs a network -->\n```python\nx = no\n"
        "```\n\n```sh\ngradlaw analyze --width 3  # digits\nmake test\n```\n"
    )
    first, second = pages.blocks(page)
    assert (first.printed, first.reason, second.reason) == ("1\n", None, "needs a network")
    assert [printed for _, printed in pages.run(page)] == ["1\n"]
    assert pages.commands(page) == ["gradlaw analyze --width 3"]
    assert agree("s = 1.00, K = 1,000\n", "s =  1.01, K = 1,000")
    assert not agree("s = 1.0", "s = 2.0")
    assert not agree("s = 1.0", "t = 1.0")
