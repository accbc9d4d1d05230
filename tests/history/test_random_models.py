"""Random models and losses: every engine and the streamed spectrum are plain autograd in float64, or refuse."""

import numpy as np
import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

import gradlaw as gl
import model_grammar
from gradlaw.history.settings import ENGINES
from gradlaw.minibatches import Minibatches

TOLERANCE = {torch.float64: 1e-10, torch.float32: 2e-4}  # of a gradient's norm


def _settings(seed: int, samples: int) -> tuple[int, int]:
    """T and B of an example: few samples and many, with minibatches that hold a large share of all at times."""
    rng = np.random.default_rng([21, seed])
    batch_size = int(rng.choice([1, 2, 3, 5, samples // 2]))
    return int(rng.integers(8, 30)), batch_size


def _exact(example: model_grammar.Example, minibatches: Minibatches) -> torch.Tensor:
    """Gradients by plain autograd in float64, one minibatch after the other."""
    model, loss, (inputs, targets) = example.exact()
    buffers = {name: b.clone() for name, b in model.named_buffers()}
    rows = []
    for indices in minibatches:
        chosen = torch.from_numpy(indices.copy())
        value = loss(model(inputs[chosen]), targets[chosen])
        parameters = list(model.parameters())
        found = torch.autograd.grad(value, parameters, allow_unused=True)
        rows.append(
            torch.cat(
                [
                    torch.zeros(p.numel()).double() if g is None else g.flatten()
                    for g, p in zip(found, parameters, strict=True)
                ]
            )
        )
        for name, b in model.named_buffers():
            b.copy_(buffers[name])
    return torch.stack(rows)


def _errors(gradients: torch.Tensor, exact: torch.Tensor) -> torch.Tensor:
    return (gradients.double() - exact).norm(dim=1) / exact.norm(dim=1).clamp_min(1e-6)


def _problem(example: model_grammar.Example) -> gl.Problem:
    model, loss = example.make()
    return gl.Problem(model, loss, example.data)


@pytest.mark.filterwarnings("ignore:There is a performance drop:UserWarning", "ignore:Using a target size:UserWarning")
@pytest.mark.parametrize("seed", model_grammar.seeds(40))
def test_engines_and_spectrum_are_plain_autograd_or_refuse(seed):
    # The fused attention kernels cannot be differentiated twice, which a gradient penalty needs.
    with sdpa_kernel(SDPBackend.MATH):
        _check(model_grammar.draw(seed), seed)


def _check(example: model_grammar.Example, seed: int) -> None:
    iterations, batch_size = _settings(seed, len(example.data[1]))
    minibatches = Minibatches(len(example.data[1]), batch_size, iterations, seed)
    problem = _problem(example)
    before = {name: t.clone() for name, t in problem.model.state_dict().items()}
    try:
        loop = gl.collect(problem, iterations, batch_size, seed=seed, engine="loop")
    except gl.InputError:
        for engine in ("auto", "vmap", "layerwise", "samplewise"):
            with pytest.raises(gl.InputError):
                gl.collect(problem, iterations, batch_size, seed=seed, engine=engine)
        return
    assert "random" not in example.tags, example.description
    exact = _exact(example, minibatches)
    own = _errors(loop.gradients, exact)
    tolerance = TOLERANCE[example.dtype]
    if "mixed" in example.tags:
        tolerance = 1e-5 if example.dtype == torch.float64 else tolerance
    assert (own < tolerance).all() or example.dtype == torch.float32, (example.description, own.max())
    for engine in ENGINES:
        try:
            history = gl.collect(problem, iterations, batch_size, seed=seed, engine=engine)
        except gl.InputError as error:
            assert engine not in ("auto", "loop"), (example.description, error)  # noqa: PT017
            continue
        errors = _errors(history.gradients, exact)
        # Where float32 itself is far off (a unit at its kink), an engine may be as far.
        assert (errors <= torch.maximum(3 * own, torch.tensor(tolerance))).all(), (example.description, engine, history)
        assert history.rounding < 1e-2, (example.description, history.rounding)
    spectrum = gl.gradient_spectrum(problem, False, iterations=iterations, batch_size=batch_size, seed=seed)
    expected = (torch.linalg.svdvals(exact) ** 2 / iterations).numpy()
    slack = 3 * max(tolerance, float(own.max())) * expected.sum()
    np.testing.assert_allclose(spectrum.eigenvalues, expected[: len(spectrum.eigenvalues)], rtol=0, atol=slack)
    assert all(torch.equal(before[name], t) for name, t in problem.model.state_dict().items())
