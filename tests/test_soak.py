"""The same again and again: memory stays as it is, and nothing is left behind.

For an hour: ``GRADLAW_SOAK_SECONDS=3600 pytest -n0 -s tests/test_soak.py``. Measured: docs/reliability.md.
"""

import gc
import os
import tempfile
import time

import psutil
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

import gradlaw as gl
from gradlaw.history.stores import placement

SECONDS = float(os.environ.get("GRADLAW_SOAK_SECONDS", "6"))
HISTORIES = 10  # collected and dropped for each analysis, half of them in temporary folders
WARM = 3  # rounds until everything is loaded and cached
MOST_GROWTH = 24 * 2**20  # bytes: less than a thousand histories of the size below would take, 132 MB


def _problem() -> gl.Problem:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(20, 20), nn.Tanh(), nn.Linear(20, 3))
    return gl.Problem(model, cross_entropy, (torch.randn(100, 20), torch.randint(3, (100,))))


def _round(monkeypatch: pytest.MonkeyPatch) -> None:
    """An analysis, saved over the one before, and histories that are dropped."""
    gl.analyze(_problem(), iterations=40, batch_size=4, k=10, gaussian_k=20, extended=True).save("run", force=True)
    for number in range(HISTORIES):
        with monkeypatch.context() as limited:
            if number % 2:
                limited.setattr(placement, "free_memory", lambda device: 100_000)
            history = gl.collect(_problem(), 70, 4, engine="loop")
            assert isinstance(history.gradients, torch.Tensor) == (number % 2 == 0)
            assert history[:].isfinite().all()


@pytest.mark.slow
def test_memory_is_flat_and_no_temporary_folder_is_left(tmp_path, monkeypatch):
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    monkeypatch.chdir(tmp_path)
    resident, process, end = [], psutil.Process(), time.monotonic() + SECONDS
    while len(resident) < WARM + 2 or time.monotonic() < end:
        _round(monkeypatch)
        gc.collect()
        resident.append(process.memory_info().rss)
        assert not list((tmp_path / "temporary").iterdir())
    growth = resident[-1] - resident[WARM - 1]
    print(f"{len(resident)} analyses and {len(resident) * HISTORIES:,} histories: "
          f"{resident[WARM - 1] / 1e6:.0f} MB after {WARM} rounds, {resident[-1] / 1e6:.0f} MB at the end")  # fmt: skip
    assert growth < MOST_GROWTH, [round(size / 1e6) for size in resident]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run", "temporary"]
