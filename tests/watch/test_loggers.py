"""TensorBoard, W&B and Trackio get the numbers of the log, each by its own object; their files are read back."""

import sqlite3
from typing import Any

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.tensorboard import SummaryWriter

import gradlaw as gl
from watched_loops import network, train


def watched(*loggers: Any) -> dict[str, list[float]]:
    """Train three watched steps; the norms by layer."""
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    norms: dict[str, list[float]] = {"model": [], "0": [], "2": []}
    with gl.watch(model, optimizer, log=None, every=2, loggers=loggers) as watch:
        for step in range(5):
            train(model, optimizer, 1)
            if step % 2 == 0:
                norms["model"].append(watch.last["model"]["norm"])
                for place, name in ((0, "0"), (1, "2")):
                    norms[name].append(watch.last["layers"]["norm"][place])
    return norms


def test_tensorboard(tmp_path):
    with SummaryWriter(tmp_path) as writer:
        norms = watched(writer)
    events = EventAccumulator(str(tmp_path)).Reload()
    for name, values in norms.items():
        found = events.Scalars(f"gradlaw_norm/{name}")
        assert [event.step for event in found] == [0, 2, 4]
        assert [event.value for event in found] == pytest.approx(values, rel=1e-6)
    assert [event.step for event in events.Scalars("gradlaw_update_cosine/2")] == [2, 4]  # there is none at the first


@pytest.mark.filterwarnings("ignore")
def test_wandb_offline(tmp_path, monkeypatch):
    import wandb

    monkeypatch.setenv("WANDB_SILENT", "true")
    run = wandb.init(project="test", mode="offline", dir=str(tmp_path))
    run.log({"loss": 1.0})
    norms = watched(run)
    assert run.step == 1  # the loop's own count goes on as it was
    run.log({"loss": 0.5})
    assert run.summary["gradlaw/step"] == 4
    for name, values in norms.items():
        assert run.summary[f"gradlaw_norm/{name}"] == values[-1]
    run.finish()


@pytest.mark.filterwarnings("ignore")
def test_trackio(tmp_path, monkeypatch):
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path))
    import trackio

    run = trackio.init(project="test", embed=False)
    norms = watched(run)
    trackio.finish()
    (file,) = tmp_path.glob("**/*.db")
    with sqlite3.connect(file) as connection:
        rows = connection.execute("select step, metrics from metrics order by step").fetchall()
    import orjson

    assert [step for step, _ in rows] == [0, 2, 4]
    for name, values in norms.items():
        assert [orjson.loads(metrics)[f"gradlaw_norm/{name}"] for _, metrics in rows] == values
