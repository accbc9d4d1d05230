"""Two processes under DistributedDataParallel: one log, of the gradient that is the mean over both."""

import json

import pytest
import torch.multiprocessing as mp

import gradlaw as gl
import watched_processes


def test_the_log_is_of_the_mean_over_the_processes(tmp_path):
    mp.spawn(watched_processes.work, args=(str(tmp_path),), nprocs=watched_processes.RANKS)
    log = gl.read_watch(tmp_path / "log.jsonl")
    expected, before = watched_processes.alone()
    states = log.gradients()
    assert states.accumulated.tolist() == [[2, 2]] * watched_processes.STEPS
    assert (states.change == "rescaled").all()
    assert (states.ranks == 2).all()
    assert states.delivered_norm.tolist() == pytest.approx(before, rel=1e-5)
    for rank in range(watched_processes.RANKS):
        assert json.loads((tmp_path / f"received-{rank}.json").read_text()) == [
            pytest.approx(norms, rel=1e-4) for norms in expected
        ]
    for record, norms in zip(log.records, expected, strict=True):
        for layer, norm in zip(record["names"], record["layers"]["norm"], strict=True):
            own = [value**2 for name, value in norms.items() if name.startswith(f"{layer}.")]
            assert norm == pytest.approx(sum(own) ** 0.5, rel=1e-4)
    noise = log.noise()
    assert (noise.source == "ranks").all()
    assert noise[noise.layer == "all"].steps.tolist() == [1, 2, 3, 4]
