"""Runs that are killed and resumed."""

import errno
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import killable
from gradlaw.curvature.eigensolver import basis
from gradlaw.curvature.eigensolver.checkpoint import SolverState
from gradlaw.curvature.eigensolver.eigenpairs import eigenpairs
from gradlaw.errors import InputError
from matrices import power_law, symmetric

MEMORY = {"in memory": 8 * killable.N * 350, "with restarts": 8 * killable.N * 90, "on disk": 0}
KILLS = [("product", 100), ("rename", 61), ("product", 60)]


@pytest.mark.parametrize("place", MEMORY)
def test_killed_again_and_again(place: str, tmp_path: Path) -> None:
    folder, out = tmp_path / "run", tmp_path / "result.npz"
    kills = [f"{event}:{count}" for event, count in [*KILLS, ("product", 0)]]
    command = [sys.executable, killable.__file__, folder, str(MEMORY[place]), out, *kills]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    *ended, last = map(int, done.stdout.split())
    assert (ended, last) == ([-signal.SIGKILL] * 3, 0), done.stderr
    expected = killable.run(None, MEMORY[place], killable.Countdown(0))
    with np.load(out) as result:
        assert np.array_equal(result["eigenvalues"], expected.eigenvalues)
        assert np.array_equal(result["residuals"], expected.residuals)
        assert np.array_equal(result["vectors"], expected.vectors.numpy())
        assert result["counts"].tolist() == [expected.products, expected.restarts]
    assert (expected.restarts > 0) == (place != "in memory")
    assert not folder.exists()


class Interrupted(Exception):
    pass


def interrupt(folder: Path, monkeypatch: pytest.MonkeyPatch, **arguments) -> None:
    """Leave a checkpoint behind."""
    save, saves = SolverState.save, 0

    def save_and_stop(self, state, basis) -> None:
        nonlocal saves
        save(self, state, basis)
        saves += 1
        if saves == 40:
            raise Interrupted

    monkeypatch.setattr(SolverState, "save", save_and_stop)
    with pytest.raises(Interrupted):
        eigenpairs(checkpoint=folder, save_seconds=0, **arguments)
    monkeypatch.undo()


def test_another_run_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    matrix = symmetric(power_law(200))
    interrupt(tmp_path, monkeypatch, matrix=matrix, k=10)
    with pytest.raises(InputError, match=r"k = 10, this one has 11"):
        eigenpairs(matrix, 11, checkpoint=tmp_path)
    with pytest.raises(InputError, match=r"another Tensor"):
        eigenpairs(2 * matrix, 10, checkpoint=tmp_path)
    resumed, expected = eigenpairs(matrix, 10, checkpoint=tmp_path), eigenpairs(matrix, 10)
    assert np.array_equal(resumed.eigenvalues, expected.eigenvalues)
    assert resumed.products == expected.products


def test_memory_may_change_between(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    matrix = symmetric(power_law(200))
    interrupt(tmp_path, monkeypatch, matrix=matrix, k=10)
    assert np.array_equal(
        eigenpairs(matrix, 10, memory=0, checkpoint=tmp_path).eigenvalues, eigenpairs(matrix, 10).eigenvalues
    )


@pytest.mark.parametrize("place", MEMORY)
def test_ctrl_c_saves_the_search(place: str, tmp_path: Path) -> None:
    class Stopping(killable.Countdown):
        def __call__(self) -> None:
            self.left -= 1
            if self.left == 0:
                raise KeyboardInterrupt

    def run(folder: Path | None, stop: int):
        operator = killable.Fragile(Stopping(stop))
        return eigenpairs(operator, killable.K, memory=MEMORY[place], checkpoint=folder, save_seconds=1e9)

    expected = run(None, 0)
    done = []
    for stop in (3, 50, 75, 110):  # products of each run; the first of a resumed one is that of the witness
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "run", stop)
        with np.load(tmp_path / "run/state.npz") as state:
            done.append(int(state["products"]))
    assert done[0] == 2
    assert done == sorted(set(done))
    resumed = run(tmp_path / "run", 0)
    assert resumed == expected


@pytest.mark.parametrize("place", ["in memory", "on disk"])
def test_what_is_damaged_is_refused_by_name(place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, folder = tmp_path / "whole", tmp_path / "run"
    arguments = {"matrix": symmetric(power_law(200)), "k": 10, "memory": 0 if place == "on disk" else None}
    interrupt(whole, monkeypatch, **arguments)
    expected = eigenpairs(**arguments)
    random, refused = np.random.default_rng(0), 0
    names = sorted(path.name for path in whole.iterdir())
    assert len(names) >= 2
    for trial in range(40):
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(whole, folder)
        path = folder / names[trial % len(names)]
        content = bytearray(path.read_bytes())
        where = int(random.integers(len(content)))
        if trial % 4 < 2:
            content[where] ^= 1 << int(random.integers(8))
        path.write_bytes(content[:where] if trial % 4 == 2 else content)
        if trial % 4 == 3:
            path.unlink()
            if path.name == "state.npz":
                continue  # then it is no checkpoint
        message = ""
        try:
            found = eigenpairs(**arguments, checkpoint=folder)
        except InputError as error:
            message = str(error)
        if message:
            assert re.search(rf"{path.name} is damaged.* delete the folder {folder}, and", message)
            refused += 1
        else:
            assert found == expected, "what is damaged is not read: rows of a panel that are not filled"
    assert refused > 10


def test_a_full_disk_is_an_error_and_no_end_of_the_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reserve, calls = os.posix_fallocate, 0

    def full(descriptor: int, start: int, size: int) -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        reserve(descriptor, start, size)

    monkeypatch.setattr(os, "posix_fallocate", full)
    monkeypatch.setattr(basis, "_PANEL_BYTES", {"cpu": 8 * 200 * 8})
    matrix = symmetric(power_law(200))
    with pytest.raises(InputError, match=r"no space left .* a checkpoint that was saved before is whole"):
        eigenpairs(matrix, 10, memory=0, checkpoint=tmp_path, save_seconds=0)
    assert eigenpairs(matrix, 10, memory=0, checkpoint=tmp_path) == eigenpairs(matrix, 10, memory=0)
