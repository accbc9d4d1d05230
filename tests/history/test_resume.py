"""A collection into a folder that was ended on the way goes on, to the same bytes."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import gradlaw as gl
from gradlaw.history import resume
from gradlaw.history.stores.integrity import check
from gradlaw.history.stores.unfinished import UNFINISHED
from gradlaw.lock import locked
from gradlaw.minibatches import Minibatches
from tools.forked import exit_status, forked

T, B, SEED = 24, 4, 3
BANDS = 4 * 99 * 5  # bytes of 5 rows of 99 float32 values: bands of 5 rows, the last of 4


class Stopped(BaseException):
    """What ends a collection, as KeyboardInterrupt does."""


class Clock:
    """Calls of the loss; at one of them something else happens. No part of the loss, whose attributes are put back."""

    calls, stop = 0, 0
    end: Callable[[], object]


def loss(outputs: Tensor, targets: Tensor) -> Tensor:
    Clock.calls += 1
    if Clock.calls == Clock.stop:
        Clock.end()
    return cross_entropy(outputs, targets)


class LateBias(nn.Module):
    """A bias that only the minibatches with a mark depend on, of which the first is that of iteration 12."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last, self.bias = nn.Linear(6, 9), nn.Linear(9, 3, bias=False), nn.Parameter(torch.ones(3))

    def forward(self, x: Tensor) -> Tensor:
        out = self.last(self.first(x).relu())
        return out + self.bias if bool((x[:, 0] > 9).any()) else out


def _stop() -> None:
    raise Stopped


@pytest.fixture(autouse=True)
def _clock(monkeypatch):
    Clock.end = staticmethod(_stop)
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)  # processes end here, not the machine


def _problem(model: nn.Module, **how: Any) -> gl.Problem:
    inputs = torch.randn(80, 6)
    inputs[Minibatches(80, B, T, SEED)[12][0], 0] = 10  # the first epoch has 20 iterations, and each sample once
    return gl.Problem(model, loss, (inputs, torch.randint(3, (80,))), **how)


def _plain() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Linear(8, 3)).eval()


def _collect(problem: gl.Problem, store: Path, stop: int = 0, **settings: Any) -> gl.GradientHistory:
    """The history; with ``stop``, ended at that call of the loss."""
    Clock.calls, Clock.stop = 0, stop
    return gl.collect(problem, T, B, seed=SEED, store=store, band_bytes=BANDS, **settings)


def _files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


CASES: dict[str, tuple[Callable[[], nn.Module], dict[str, Any], dict[str, Any]]] = {
    "layerwise": (_plain, {}, {}),
    "samplewise, momentum": (_plain, {"engine": "samplewise", "transforms": (gl.Momentum(0.9, nesterov=True),)}, {}),
    "Adam in bfloat16": (
        _plain,
        {"transforms": (gl.ClipByNorm(0.5), gl.Adam(amsgrad=True), gl.WeightDecay(0.1)), "dtype": "bfloat16"},
        {},
    ),
    "an engine that is left, a parameter that is used late": (LateBias, {"transforms": (gl.WeightDecay(0.1),)}, {}),
    "seeded dropout": (
        lambda: nn.Sequential(nn.Linear(6, 8), nn.Dropout(), nn.Linear(8, 3)),
        {},
        {"randomness": "seeded"},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_whatever_the_moment_the_result_is_the_same(case, tmp_path):
    model, settings, how = CASES[case]
    problem = _problem(model(), **how)
    expected = _collect(problem, tmp_path / "whole", **settings)
    calls, resumed = Clock.calls, 0
    for share in (0.6, 0.8, 1.0):
        store, stop = tmp_path / f"store-{share}", int(share * calls)
        with pytest.raises(Stopped):
            _collect(problem, store, stop, **settings)
        resumed += (store / UNFINISHED).is_file()
        assert _collect(problem, store, **settings) == expected
        assert _files(store) == _files(tmp_path / "whole")
    assert resumed
    assert check(tmp_path / "whole") == []


def test_an_interrupted_resumption_is_resumed(tmp_path):
    problem = _problem(_plain(), randomness="seeded")
    _collect(problem, tmp_path / "whole", engine="loop")
    done = []
    for _ in range(T):
        before = Clock.calls
        try:
            _collect(problem, tmp_path / "store", 20, engine="loop")
        except Stopped:
            done.append(before)
            continue
        break
    assert 2 <= len(done) < 10
    assert _files(tmp_path / "store") == _files(tmp_path / "whole")


def test_a_process_that_is_killed_leaves_what_the_next_one_goes_on_from(tmp_path, capsys):
    problem = _problem(_plain())
    _collect(problem, tmp_path / "whole", engine="loop")
    store, calls = tmp_path / "store", Clock.calls

    def dies() -> None:
        Clock.end = lambda: os.kill(os.getpid(), signal.SIGKILL)
        _collect(problem, store, calls - 3, engine="loop")

    assert exit_status(forked(dies)) == -signal.SIGKILL
    with pytest.raises(gl.InputError, match="did not finish; make the same call again: it goes on from there"):
        gl.GradientHistory.open(store)
    _collect(problem, store, engine="loop", progress=gl.Progress())
    assert Clock.calls < calls, "not everything again"
    assert "after 20 iterations" in " ".join(capsys.readouterr().err.split())
    assert _files(store) == _files(tmp_path / "whole")


def test_an_unfinished_history_of_another_run_is_refused(tmp_path):
    problem, store = _problem(_plain()), tmp_path / "store"
    with pytest.raises(Stopped):
        _collect(problem, store, 25, engine="loop")
    left = _files(store)
    assert UNFINISHED in left
    with pytest.raises(gl.InputError, match=r"unfinished gradient history of another run \(engine is loop, not auto\)"):
        _collect(problem, store)
    with pytest.raises(gl.InputError, match=r"seed is 3, not 4"):
        gl.collect(problem, T, B, seed=4, engine="loop", store=store)
    problem.model[1].running_mean += 1
    with pytest.raises(gl.InputError, match=r"another run \(buffers_sha256"):
        _collect(problem, store, engine="loop")
    problem.model[1].running_mean -= 1

    def twice(outputs, targets):
        return 2 * cross_entropy(outputs, targets)

    twice.__name__ = "loss"
    twice = gl.Problem(problem.model, twice, problem.data)
    with pytest.raises(gl.InputError, match="the gradient norm of the first minibatch is"):
        _collect(twice, store, engine="loop")
    assert _files(store) == left


@pytest.mark.parametrize("what", ["other software", "a chunk that is damaged", "a chunk that is missing", "metadata"])
def test_what_cannot_be_gone_on_with_is_collected_again(what, tmp_path, monkeypatch, capsys):
    problem, store = _problem(_plain()), tmp_path / "store"
    _collect(problem, tmp_path / "whole", engine="loop")
    with monkeypatch.context() as patch:
        if what == "other software":
            patch.setattr(resume, "versions", lambda packages: {"torch": "1.0"})
        with pytest.raises(Stopped):
            _collect(problem, store, Clock.calls - 3, engine="loop")
    chunk = store / "gradients/c/1/2"
    if what == "a chunk that is damaged":
        chunk.write_bytes(chunk.read_bytes()[:-1])
    elif what == "a chunk that is missing":
        chunk.unlink()
    elif what == "metadata":
        (store / "gradients/zarr.json").write_text("{")
    _collect(problem, store, engine="loop", progress=gl.Progress())
    said = " ".join(capsys.readouterr().err.split())
    assert "again from the beginning: " in said
    assert {"other software": "torch was 1.0, not", "metadata": "zarr.json is"}.get(what, "gradients/c/1/2") in said
    assert _files(store) == _files(tmp_path / "whole")


def test_a_damaged_note_of_how_far_it_came_is_refused(tmp_path):
    problem, store = _problem(_plain()), tmp_path / "store"
    with pytest.raises(Stopped):
        _collect(problem, store, 25, engine="loop")
    note = bytearray((store / UNFINISHED).read_bytes())
    note[len(note) // 2] ^= 4
    (store / UNFINISHED).write_bytes(note)
    with pytest.raises(gl.InputError, match=r"unfinished is damaged: .* delete the folder, and collect again"):
        _collect(problem, store, engine="loop")


def test_a_damaged_group_is_found_before_it_is_written_on(tmp_path):
    problem, store = _problem(_plain()), tmp_path / "store"
    _collect(problem, tmp_path / "whole", engine="loop")
    with pytest.raises(Stopped):
        _collect(problem, store, 25, engine="loop")
    record = store / "zarr.json"
    record.write_text(record.read_text().replace("node_type", "nodm_type"))
    _collect(problem, store, engine="loop")
    assert _files(store) == _files(tmp_path / "whole")


def test_one_process_collects_into_a_store(tmp_path):
    problem, store = _problem(_plain()), tmp_path / "store"
    store.mkdir()
    with (
        locked(store / "writing.lock", "it"),
        pytest.raises(gl.InputError, match=r"^the store .*store is being written by this process itself since"),
    ):
        _collect(problem, store)
    _collect(problem, store)
    with locked(store / "writing.lock", "it"):
        _collect(problem, store)  # readers need no lock


def test_a_problem_that_is_refused_leaves_no_folder(tmp_path):
    problem = _problem(nn.Sequential(nn.Linear(6, 8), nn.Dropout(), nn.Linear(8, 3)))
    with pytest.raises(gl.InputError, match="random"):
        _collect(problem, tmp_path / "new" / "store")
    assert not (tmp_path / "new" / "store").exists()
