"""Runs that are killed and resumed."""

import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import killable
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
