"""A store through whatever may happen to it: collections that end on the way, damage, readings, in any order."""

import shutil
import tempfile
from pathlib import Path

import pytest
import torch
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from torch import Tensor, nn
from torch.nn.functional import mse_loss

import gradlaw as gl
from gradlaw.history.stores.integrity import check

T, BANDS = 6, 4 * 16 * 2  # 3 bands of 2 rows of 16 float32 values


class Stopped(BaseException):
    """What ends a collection."""


class Clock:
    """Calls of the loss, and the last of them."""

    calls, last = 0, 0


def loss(outputs: Tensor, targets: Tensor) -> Tensor:
    Clock.calls += 1
    if Clock.calls == Clock.last:
        raise Stopped
    return mse_loss(outputs, targets)


def _collect(store: Path, last: int = 0) -> gl.GradientHistory:
    torch.manual_seed(0)
    problem = gl.Problem(nn.Linear(3, 4), loss, (torch.randn(9, 3), torch.randn(9, 4)))
    Clock.calls, Clock.last = 0, last
    return gl.collect(problem, T, 1, engine="loop", store=store, band_bytes=BANDS)


def _files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


class StoreMachine(RuleBasedStateMachine):
    """What is read is what was written, or an error, and that only after damage or before the end."""

    expected: gl.GradientHistory
    whole: dict[str, bytes]
    calls: int

    def __init__(self) -> None:
        super().__init__()
        self.place = Path(tempfile.mkdtemp())
        self.store = self.place / "store"
        self.damaged = self.finished = False

    def teardown(self) -> None:
        shutil.rmtree(self.place)

    @rule(share=st.floats(0.5, 1.2))
    def collect(self, share: float) -> None:
        """To the end, or not quite."""
        try:
            history = _collect(self.store, int(share * self.calls))
            assert torch.equal(history[:], self.expected[:])
        except Stopped:
            return
        except gl.InputError:
            assert self.damaged
            shutil.rmtree(self.store)
            self.damaged = self.finished = False
            return
        self.finished = True
        self.damaged = _files(self.store) != self.whole
        assert history == self.expected

    @rule(data=st.data())
    def damage(self, data: st.DataObject) -> None:
        """One file: a bit, its end, or all of it."""
        names = sorted(_files(self.store)) if self.store.exists() else []
        if not names:
            return
        path = self.store / data.draw(st.sampled_from(names))
        content = bytearray(path.read_bytes())
        where = data.draw(st.integers(0, max(0, len(content) - 1)))
        how = data.draw(st.sampled_from(["bit", "end", "all"]))
        self.damaged = True
        path.unlink()
        if how == "bit" and content:
            content[where] ^= 1 << data.draw(st.integers(0, 7))
        if how != "all":
            path.write_bytes(content[:where] if how == "end" else content)

    @invariant()
    def what_is_read_is_right(self) -> None:
        found = check(self.store)
        if found:
            assert self.damaged or not self.finished
            with pytest.raises(gl.InputError):
                gl.GradientHistory.open(self.store)[:]
        else:
            assert gl.GradientHistory.open(self.store) == self.expected


def test_a_store_is_right_or_refused_whatever_happens(tmp_path, monkeypatch):
    monkeypatch.setattr("os.fsync", lambda descriptor: None)  # the machine does not end
    StoreMachine.expected = _collect(tmp_path / "whole")
    StoreMachine.calls, StoreMachine.whole = Clock.calls, _files(tmp_path / "whole")
    run_state_machine_as_test(StoreMachine, settings=settings(max_examples=10, stateful_step_count=8, deadline=None))
