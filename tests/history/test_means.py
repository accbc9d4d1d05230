"""Means of gradients that are there: gathered or multiplied, the same numbers."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import gradlaw as gl
import problems
from gradlaw.history.engines import means
from gradlaw.history.engines.means import add_means, cost_of_means, samples_at_once
from gradlaw.history.engines.samplewise import SamplewiseEngine

ROW = torch.empty(1).expand(61_706)


@settings(deadline=None)  # the first call prepares kernels
@given(
    st.integers(1, 40), st.integers(1, 60), st.integers(1, 300), st.integers(1, 9), st.integers(0, 1000),
    st.sampled_from([torch.float32, torch.float64]),
)  # fmt: skip
def test_gathered_means_are_those_of_the_matrix_product(minibatches, samples, dimensions, batch_size, seed, dtype):
    rng = np.random.default_rng(seed)
    held = rng.integers(samples, size=(minibatches, batch_size))  # some of them twice, some minibatches without any
    held[rng.random(minibatches) < 0.2] = 0
    counts = np.stack([np.bincount(row, minlength=samples) for row in held]).astype(np.uint8)
    counts[:, 0] = 0
    gradients = torch.from_numpy(rng.standard_normal((samples, dimensions))).to(dtype)
    out = torch.from_numpy(rng.standard_normal((minibatches, dimensions))).to(dtype)
    expected = out.double() + torch.from_numpy(counts).double() @ gradients.double() / batch_size
    gathered, either = out.clone(), out.clone()
    means._gather(gathered, counts, gradients, batch_size)
    add_means(either, counts, gradients, batch_size)
    for found in (gathered, either):
        torch.testing.assert_close(found.double(), expected, rtol=0, atol=40 * torch.finfo(dtype).eps)


@pytest.mark.parametrize("replacement", [False, True])
def test_samples_are_gathered_chunk_by_chunk_and_strip_by_strip(monkeypatch, replacement):
    problem = problems.make("lenet", torch.float64)
    wanted = gl.collect(problem, 60, 3, engine="loop", replacement=replacement)
    rows = 7  # samples in a chunk, of which the engine makes 3 at a time
    monkeypatch.setattr(means, "_CHUNK_BYTES", rows * problem.dimensions * 8)
    monkeypatch.setattr(means, "_STRIP_BYTES", 1)
    monkeypatch.setattr(means, "_STREAMED", 0.0)
    gathered = []
    monkeypatch.setattr(means, "_gather", lambda *given, made=means._gather: gathered.append(made(*given)))
    batches = list(wanted.settings.minibatches())
    engine = SamplewiseEngine(problem, batches[:2], most_samples=3)
    found = torch.empty_like(wanted.gradients)
    losses = engine.gradients(0, batches, found)
    assert len(gathered) == -(-len(np.unique(np.concatenate(batches))) // rows)
    torch.testing.assert_close(found, wanted.gradients, rtol=0, atol=1e-14)
    torch.testing.assert_close(losses, wanted.losses, rtol=1e-13, atol=0)


def test_few_of_many_samples_are_gathered_and_most_of_them_multiplied():
    few, most = cost_of_means(5000, 100, 60_000, ROW), cost_of_means(5000, 60_000, 60_000, ROW)
    assert few < most / 50
    assert most == means._MULTIPLIED * 5000 * 60_000 * len(ROW)
    assert samples_at_once(5000, 100, 60_000, ROW, 512) == 2**29 // (4 * len(ROW))
    assert samples_at_once(5000, 60_000, 60_000, ROW, 512) == 512
    half = ROW.to(torch.bfloat16)  # whose sums it would take in that type
    assert cost_of_means(5000, 100, 60_000, half) == most
    assert samples_at_once(5000, 100, 60_000, half, 512) == 512


def test_typical_minibatches_of_a_convolutional_network_are_means():
    """T B = 40 N: samples are seen often, and a pass costs far more than adding up."""
    problem = problems.make("lenet")
    some = tuple(torch.cat([a] * 10) for a in problem.data)
    many = gl.Problem(problem.model, torch.nn.functional.cross_entropy, some)
    history = gl.collect(many, 400, len(some[0]) // 10)
    assert history.settings["engine"] == "samplewise"
    loop = gl.collect(many, 400, len(some[0]) // 10, engine="loop")
    assert float((history.gradients - loop.gradients).norm() / loop.gradients.norm()) < 1e-6
