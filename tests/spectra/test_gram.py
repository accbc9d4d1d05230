import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import gradlaw as gl
from gradlaw.history.stores import zarr_store
from gradlaw.spectra.gram.dense import column_blocks, cross_gram, even_edges, gram_matrix


class _Chunked:
    """A matrix in chunks that counts how often each column is read."""

    device = torch.device("cpu")

    def __init__(self, matrix, width):
        self._matrix, self.shape, self.chunks = matrix, matrix.shape, (1, width)
        self.reads = torch.zeros(matrix.shape[1], dtype=torch.int64)

    def __getitem__(self, key):
        self.reads[key[1]] += 1
        return self._matrix[key]


@given(st.integers(1, 30), st.integers(1, 40), st.sets(st.integers(1, 29)))
def test_blocks_are_the_columns_between_edges_each_read_once(dimensions, width, cuts):
    edges = [0, *sorted(cut for cut in cuts if cut < dimensions), dimensions]
    matrix = torch.arange(3.0 * dimensions).reshape(3, dimensions)
    for source in (matrix, _Chunked(matrix, width)):
        blocks = list(column_blocks(source, edges))
        assert [first for first, _ in blocks] == edges[:-1]
        for (_, block), start, end in zip(blocks, edges[:-1], edges[1:], strict=True):
            assert torch.equal(block, matrix[:, start:end])
    assert (source.reads == 1).all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_products_of_matrices_in_memory_and_on_disk(tmp_path, dtype):
    block_bytes = 8 * 30 * 11
    a, b = torch.randn(30, 100).to(dtype), torch.randn(12, 100).to(dtype)
    stored = []
    for name, matrix in (("a", a), ("b", b)):
        stored.append(zarr_store.create(tmp_path / name, tuple(matrix.shape), dtype, 30 * 7 * 8))
        stored[-1].write(0, matrix)
    assert stored[0].chunks != stored[1].chunks
    wide_a, wide_b = a.double().numpy(), b.double().numpy()
    for left, right in ((a, b), stored, (a, stored[1])):
        np.testing.assert_allclose(
            gram_matrix(left, block_bytes=block_bytes, square=8), wide_a @ wide_a.T, rtol=1e-13, atol=1e-13
        )
        np.testing.assert_allclose(cross_gram(left, right, block_bytes), wide_a @ wide_b.T, rtol=1e-13, atol=1e-13)


def test_edges_bound_the_blocks():
    assert even_edges(10, 3, 12, 8 * 10 * 4) == [3, 7, 11, 12]
    assert even_edges(1000, 0, 2, 8 * 10 * 4) == [0, 1, 2]


def test_more_iterations_than_memory_has_room_for_are_refused_before_any_gradient(small_problem, monkeypatch):
    with pytest.raises(gl.InputError, match=r"T=10,000,000 iterations take .* GB .* which fits T=[\d,]+"):
        gl.analyze(small_problem, 10_000_000, 1)
    monkeypatch.setattr("gradlaw.spectra.gram.memory.free_memory", lambda device: 16 * 30**2)
    assert gl.gradient_spectrum(small_problem, iterations=30).rank == 29
    for source in (small_problem, gl.collect(small_problem, 31, 10)):
        given = {"iterations": 31} if source is small_problem else {}
        with pytest.raises(gl.InputError, match=r"T=31 .* which fits T=30; lower T, or keep sketches"):
            gl.gradient_spectrum(source, **given)
    each = 16 * 30**2 + 30 * 4 * 99  # of T = 30 with its gradients
    monkeypatch.setattr("gradlaw.spectra.gram.memory.free_memory", lambda device: each)
    assert len(gl.analyze(small_problem, 30, 10, k=9).losses) == 30
    with pytest.raises(gl.InputError, match=r"T=31 .* beside 0.00 GB of gradients .* which fits T=30; lower T"):
        gl.analyze(small_problem, 31, 10, store="memory")
    assert gl.analyze(small_problem, 600, 10, sketch=256, k=20).sketch_size == 256
