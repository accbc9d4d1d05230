from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import gradlaw as gl
from gradlaw.history import disk, placement


@pytest.fixture
def small_chunks(monkeypatch):
    """Chunks so small that 40 iterations of 99 dimensions make several in each direction."""
    monkeypatch.setattr(disk, "_BAND_BYTES", 4 * 99 * 7)


@pytest.fixture
def pair(small_problem, small_chunks, tmp_path) -> tuple[gl.GradientHistory, gl.GradientHistory]:
    """The same history in memory and on disk."""
    settings = {"iterations": 40, "batch_size": 4, "seed": 1, "transforms": (gl.Momentum(0.5),)}
    return gl.collect(small_problem, **settings), gl.collect(small_problem, **settings, store=tmp_path / "store")


def test_what_is_read_is_what_was_collected(pair):
    memory, stored = pair
    assert stored.gradients.chunks == (7, 17)
    assert stored.shape == memory.shape == (40, 99)
    assert np.array_equal(np.asarray(stored), np.asarray(memory))
    assert torch.equal(stored[5], memory[5])
    assert torch.equal(stored[3:30], memory[3:30])
    assert torch.equal(stored.dimension(80), memory.dimension(80))
    assert torch.equal(stored.losses, memory.losses)
    for axis in ("dimension", "iteration"):
        blocks = list(stored.blocks(axis))
        assert len(blocks) > 5
        joined = torch.cat([block for _, block in blocks])
        assert torch.equal(joined, memory.gradients if axis == "dimension" else memory.gradients.T)
        assert [first for first, _ in blocks] == list(np.cumsum([0] + [len(block) for _, block in blocks[:-1]]))


def test_tests_and_spectra_read_both_kinds_alike(pair):
    memory, stored = pair
    for axis in ("dimension", "iteration"):
        one, other = (gl.gradient_tests(h, axis, k=20, gaussian_k=20).to_frame() for h in pair)
        pd.testing.assert_frame_equal(one, other, rtol=1e-12, atol=1e-15)
    for center in (False, True):
        one, other = gl.gradient_spectrum(memory, center), gl.gradient_spectrum(stored, center)
        np.testing.assert_allclose(one.eigenvalues, other.eigenvalues, rtol=1e-12, atol=1e-12 * one.eigenvalues[0])


def test_a_stored_history_is_opened_again(pair, tmp_path):
    memory, _ = pair
    opened = gl.GradientHistory.open(tmp_path / "store")
    assert np.array_equal(np.asarray(opened), np.asarray(memory))
    assert torch.equal(opened.losses, memory.losses)
    assert opened.record() == memory.record()


def test_an_analysis_of_a_stored_history_is_the_same(small_problem, small_chunks, tmp_path):
    one, other = (
        gl.analyze(small_problem, 40, 4, k=20, gaussian_k=20, depth=True, store=store)
        for store in ("memory", tmp_path / "store")
    )
    for axis in ("dimension", "iteration"):
        frames = one.tests[axis].to_frame(), other.tests[axis].to_frame()
        pd.testing.assert_frame_equal(*frames, rtol=1e-12, atol=1e-15)
    pd.testing.assert_frame_equal(one.depth.tail_indices, other.depth.tail_indices, rtol=1e-12)


def test_large_histories_go_to_disk_by_themselves_and_are_announced(small_problem, monkeypatch, capsys):
    monkeypatch.setattr(placement, "_free_memory", lambda device: 20_000)
    history = gl.collect(small_problem, 40, 4, progress=gl.Progress())
    said = " ".join(capsys.readouterr().err.split())
    assert "a gradient history of T=40 x n=99 takes 0.00 GB, more than 50% of the 0.00 GB" in said
    folder = Path(history.gradients._array.store.root)
    assert folder.exists()
    del history
    assert not folder.exists()


def test_stores_that_cannot_be_used(small_problem, tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(gl.InputError, match="is not empty"):
        gl.collect(small_problem, 4, 4, store=tmp_path)
    with pytest.raises(gl.InputError, match="holds no gradient history"):
        gl.GradientHistory.open(tmp_path)
    disk.create(tmp_path / "begun", (4, 5), torch.float32)
    with pytest.raises(gl.InputError, match="did not finish"):
        gl.GradientHistory.open(tmp_path / "begun")
