"""The Gram matrix by layers against that of collected gradients and of explicit matrices."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss

import gradlaw as gl
import problems
from gradlaw.history.layers.convolution import ConvolutionFactors
from gradlaw.history.layers.registry import rule_of
from gradlaw.minibatches import Minibatches
from gradlaw.spectra.gram.blocks import BlockSizes
from gradlaw.spectra.gram.dense import gram_matrix
from gradlaw.spectra.gram.factored import factor_gram
from gradlaw.spectra.gram.plan import DENSE, FORMS, OUTER
from gradlaw.spectra.gram.products import InputRows, WindowRows

SAMPLES, ITERATIONS = 24, 9
TOLERANCE = {torch.float64: 1e-12, torch.float32: 3e-7}  # of the norm; float32 gradients carry their own rounding


def _minibatches(problem: gl.Problem, batch_size: int, iterations: int = ITERATIONS) -> Minibatches:
    return Minibatches(problem.samples, batch_size, iterations, 0, True)


def _collected(problem: gl.Problem, batch_size: int, iterations: int = ITERATIONS) -> gl.GradientHistory:
    engine = "loop" if problem.dtype == torch.float64 else "auto"  # rounding of float32 differs from engine to engine
    return gl.collect(problem, iterations, batch_size, 0, engine, replacement=True)


def _error(problem: gl.Problem, batch_size: int, **settings: object) -> float:
    """||difference|| / ||Gram matrix of collected gradients||, after a look at all else that comes with it."""
    history = _collected(problem, batch_size)
    result = factor_gram(problem, _minibatches(problem, batch_size), **settings)
    assert result.gram.dtype == torch.float64
    assert torch.equal(result.gram, result.gram.T)
    assert result.gradients.shape == history.shape
    torch.testing.assert_close(result.losses, history.losses, rtol=1e-5, atol=1e-6)
    assert result.rounding < 100 * torch.finfo(problem.dtype).eps
    expected = gram_matrix(history.gradients)
    return float((result.gram - expected).norm() / expected.norm())


def _problem(model: nn.Module, inputs: Tensor, dtype: torch.dtype = torch.float64, **settings: object) -> gl.Problem:
    """Random targets for the flattened output of a model."""
    model = nn.Sequential(model, nn.Flatten()).to(dtype)
    inputs = inputs.to(dtype) if inputs.is_floating_point() else inputs
    width = model(inputs).shape[1]
    return gl.Problem(model, mse_loss, (inputs, torch.randn(len(inputs), width, dtype=dtype)), **settings)


def _vectors(*size: int) -> Tensor:
    return torch.randn(SAMPLES, *size, dtype=torch.float64)


def _tokens() -> Tensor:
    return torch.randint(9, (SAMPLES, 5))


class _Reused(nn.Module):
    """A layer called twice, two layers of one weight with biases of their own, a parameter that nothing uses."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(6, 6), nn.Linear(6, 6)
        self.second.weight = self.first.weight
        self.idle = nn.Linear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.first(torch.tanh(self.first(x))))


class _TiedReadout(nn.Module):
    """An embedding whose weight is also that of a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.readout = nn.Embedding(9, 4, padding_idx=2), nn.Linear(4, 9)
        self.readout.weight = self.embedding.weight

    def forward(self, tokens: Tensor) -> Tensor:
        return self.readout(torch.tanh(self.embedding(tokens)))


class _TwoConvolutions(nn.Module):
    """One weight at two strides, so that the rows of its two calls differ in number."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv1d(4, 4, 3, groups=2, padding=1)
        self.second = nn.Conv1d(4, 4, 3, groups=2, stride=2)
        self.second.weight = self.first.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.first(x).relu())


class _CrossAttention(nn.Module):
    """Queries that are not the keys: nothing that the layer-wise engine has a rule for."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.attention = nn.Linear(6, 4), nn.MultiheadAttention(4, 2, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        keys = self.first(x)
        return self.attention(keys.flip(1), keys, keys, need_weights=False)[0]


class _Alone(nn.Module):
    """Only parameters of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.matrix, self.scale = nn.Parameter(torch.randn(6, 3)), nn.Parameter(torch.randn(3))

    def forward(self, x: Tensor) -> Tensor:
        return (x @ self.matrix).tanh() * self.scale


CASES: dict[str, Callable[[], tuple[nn.Module, Tensor]]] = {
    "linear": lambda: (nn.Linear(6, 4), _vectors(6)),
    "sequence linear": lambda: (nn.Sequential(nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, 3, bias=False)), _vectors(5, 6)),
    "reused and tied": lambda: (_Reused(), _vectors(6)),
    "tied convolutions": lambda: (_TwoConvolutions(), _vectors(4, 9)),
    "embedding": lambda: (nn.Sequential(nn.Embedding(9, 4, padding_idx=2), nn.Linear(4, 3)), _tokens()),
    "embedding by frequency": lambda: (nn.Embedding(9, 4, scale_grad_by_freq=True), _tokens()),
    "tied readout": lambda: (_TiedReadout(), _tokens()),
    "grouped and dilated": lambda: (nn.Conv2d(4, 6, 3, groups=2, dilation=(2, 1), stride=(1, 2)), _vectors(4, 8, 7)),
    "strided and padded": lambda: (nn.Conv2d(3, 5, (3, 2), stride=(2, 1), padding=(1, 0)), _vectors(3, 6, 4)),
    "larger stride than kernel": lambda: (nn.Conv1d(3, 5, 2, stride=3, padding=1), _vectors(3, 7)),
    "circular": lambda: (nn.Conv2d(2, 3, 3, padding=1, padding_mode="circular"), _vectors(2, 4, 4)),
    "three axes": lambda: (nn.Conv3d(2, 4, 2, groups=2, stride=(1, 2, 1), padding=1), _vectors(2, 3, 4, 2)),
    "few places": lambda: (nn.Conv2d(8, 6, 3, groups=2, padding=1), _vectors(8, 2, 2)),
    "norms": lambda: (
        nn.Sequential(nn.Conv1d(4, 4, 1), nn.GroupNorm(2, 4), nn.BatchNorm1d(4), nn.LayerNorm(5)),
        _vectors(4, 5),
    ),
    "cross attention": lambda: (_CrossAttention(), _vectors(3, 6)),
    "parameters alone": lambda: (_Alone(), _vectors(6)),
}


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("batch_size", [1, 4])
@pytest.mark.parametrize("name", problems.NAMES)
def test_networks_equal_collected_gradients(name, batch_size, dtype):
    problem = problems.make(name, dtype)
    problem.model.train(batch_size > 1)
    assert _error(problem, batch_size) < TOLERANCE[dtype]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("batch_size", [1, 4])
@pytest.mark.parametrize("name", CASES)
def test_awkward_cases_equal_collected_gradients(name, batch_size, form):
    for dtype, tolerance in TOLERANCE.items():
        assert _error(_problem(*CASES[name](), dtype), batch_size, form=form) < tolerance


@pytest.mark.parametrize("form", [OUTER, DENSE])
@pytest.mark.parametrize("name", CASES)
def test_small_tiles_and_blocks_give_the_same(name, form):
    blocks = BlockSizes(tall=7, wide=10, block_bytes=8 * ITERATIONS * 20, input_bytes=500, pass_samples=4)
    assert _error(_problem(*CASES[name]()), 2, form=form, blocks=blocks) < 1e-12


@pytest.mark.parametrize("name", ["convolutions", "transformer", "gru", "parameters alone", "reused and tied"])
def test_several_passes_give_the_same(name):
    problem = problems.make(name, torch.float64) if name in problems.NAMES else _problem(*CASES[name]())
    largest = max(part.stop - part.start for part in problem.layout)
    for form in FORMS:
        assert _error(problem, 4, memory=8 * ITERATIONS * (largest // 2), form=form) < 1e-12


def test_what_does_not_fit_takes_more_passes_and_keeps_less(capsys):
    problem = problems.make("lenet")
    minibatches = _minibatches(problem, 1, 40)
    factor_gram(problem, minibatches, progress=gl.Progress())
    one = capsys.readouterr().err
    assert "1 pass over" in one
    assert "By factors: fc1.weight, fc2.weight, fc3.weight; 4 by gradients" in " ".join(one.split())
    factor_gram(problem, minibatches, memory=200_000, progress=gl.Progress())
    several = capsys.readouterr().err
    assert "passes over" in several
    assert "forward and backward 2/" in several


def test_a_bias_tied_to_another_layer_is_counted_once_and_whole():
    model = nn.Sequential(nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, 4))
    model[2].bias = model[0].bias
    assert _error(_problem(model, _vectors(6)), 3) < 1e-12


def test_a_part_of_the_parameters():
    whole = problems.make("lenet", torch.float64)
    problem = gl.Problem(whole.model, whole.loss, whole.data, parameters=["fc*.bias", "conv2.*", "fc3.weight"])
    assert _error(problem, 3) < 1e-12


def test_seeded_randomness_is_that_of_the_loop():
    model = nn.Sequential(nn.Linear(6, 8), nn.Dropout(0.5), nn.Linear(8, 3))
    assert _error(_problem(model, _vectors(6), randomness="seeded"), 2) < 1e-12


@pytest.mark.parametrize("center", [False, True])
def test_spectrum_of_a_problem_equals_singular_values(center):
    problem = problems.make("lenet", torch.float64)
    gradients = gl.collect(problem, 30, 2, seed=5).gradients
    spectrum = gl.gradient_spectrum(problem, center, iterations=30, batch_size=2, seed=5)
    matrix = gradients - gradients.mean(dim=0) if center else gradients
    expected = (torch.linalg.svdvals(matrix) ** 2 / 30).numpy()
    np.testing.assert_allclose(spectrum.eigenvalues, expected, rtol=1e-10, atol=1e-12 * expected[0])
    assert (spectrum.iterations, spectrum.dimensions) == (30, problem.dimensions)
    assert spectrum.rank == gl.gradient_spectrum(gradients, center).rank


def test_settings_of_minibatches_are_refused_for_a_history(small_problem):
    history = gl.collect(small_problem, 20, 4)
    with pytest.raises(gl.InputError, match="iterations, seed: settings of a Problem"):
        gl.gradient_spectrum(history, iterations=10, seed=0)


class _Fickle(nn.Module):
    """A layer that only some samples have use for."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(6, 4), nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        return self.second(x) if len(x) > 2 else x


def test_a_layer_that_the_first_minibatches_do_not_use_is_left_to_another_engine():
    problem = _problem(_Fickle(), _vectors(6))
    result = factor_gram(problem, _minibatches(problem, 1))
    assert "engine layerwise left at iteration 0: the input of '0.second'" in result.notices[0]
    rows = _collected(problem, 1).gradients
    torch.testing.assert_close(result.gram, rows @ rows.T, rtol=1e-5, atol=1e-9)


def test_eigenvectors_of_a_problem(small_problem):
    history = gl.collect(small_problem, 20, 4)
    ours = gl.gradient_spectrum(small_problem, iterations=20, batch_size=4).eigenvectors(3)
    theirs = gl.gradient_spectrum(history).eigenvectors(3)
    np.testing.assert_allclose(ours.eigenvalues, theirs.eigenvalues, rtol=1e-5)
    overlaps = (ours.vectors * theirs.vectors).sum(dim=1).abs()
    torch.testing.assert_close(overlaps, torch.ones_like(overlaps), rtol=0, atol=1e-4)


def test_gradients_once_more_stream_by_iterations_only(small_problem):
    result = factor_gram(small_problem, _minibatches(small_problem, 2))
    rows = torch.cat([block for _, block in result.gradients.blocks("dimension")])
    torch.testing.assert_close(rows, _collected(small_problem, 2).gradients)
    with pytest.raises(gl.InputError, match="stream by axis='dimension' only"):
        next(result.gradients.blocks("iteration"))


def test_eigenvectors_after_a_step_are_refused(small_problem):
    spectrum = gl.gradient_spectrum(small_problem, iterations=20, batch_size=4)
    with torch.no_grad():
        small_problem.parameters()[0].add_(1.0)
    with pytest.raises(gl.InputError, match="parameters or the data have changed"):
        spectrum.eigenvectors(3)


def test_full_batches_have_one_gradient(small_problem):
    result = gl.gradient_spectrum(small_problem, False, iterations=30, batch_size=small_problem.samples)
    assert result.rank == 1


def test_nothing_changes():
    problem = problems.make("resnet18")
    before = {name: tensor.clone() for name, tensor in problem.model.state_dict().items()}
    random_state = torch.get_rng_state()
    factor_gram(problem, _minibatches(problem, 2))
    after = problem.model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert torch.equal(random_state, torch.get_rng_state())


def test_one_seed_gives_the_same_bits():
    problem = problems.make("lenet")
    first, second = (factor_gram(problem, _minibatches(problem, 2)).gram for _ in range(2))
    assert torch.equal(first, second)


class _Root(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.sqrt()


@pytest.mark.parametrize("form", FORMS)
def test_a_gradient_that_is_not_finite_is_refused_as_collect_does(form):
    inputs = torch.ones(SAMPLES, 2)
    inputs[7] = 0.0
    model = nn.Sequential(nn.Linear(2, 2, bias=False), _Root(), nn.Linear(2, 3))
    with torch.no_grad():
        model[0].weight.fill_(1.0)
    problem = gl.Problem(model, cross_entropy, (inputs, torch.zeros(SAMPLES, dtype=torch.long)))
    with pytest.raises(gl.InputError, match="gradient of iteration") as collected:
        gl.collect(problem, SAMPLES, 1, engine="loop")
    with pytest.raises(gl.InputError, match="gradient of iteration") as ours:
        factor_gram(problem, Minibatches(SAMPLES, 1, SAMPLES), form=form)
    assert str(ours.value) == str(collected.value)


def test_a_loss_that_is_not_finite_is_refused():
    inputs = _vectors(6)
    inputs[7] = np.inf
    problem = gl.Problem(nn.Linear(6, 3).double(), mse_loss, (inputs, _vectors(3)))
    with pytest.raises(gl.InputError, match="the loss of iteration"):
        factor_gram(problem, Minibatches(SAMPLES, 1, SAMPLES))


@pytest.mark.parametrize(
    ("model", "batch_size", "message"),
    [
        (nn.Sequential(nn.Linear(6, 3), nn.BatchNorm1d(3)), 1, "a single value per channel"),
        (nn.Sequential(nn.Linear(6, 3), nn.Dropout()), 2, "the loss is random at fixed parameters"),
    ],
)
def test_problems_that_collect_refuses(model, batch_size, message):
    problem = gl.Problem(model, mse_loss, (_vectors(6).float(), _vectors(3).float()))
    for refuse in (gl.collect, gl.gradient_spectrum):
        with pytest.raises(gl.InputError, match=message):
            refuse(problem, iterations=5, batch_size=batch_size)


@pytest.mark.parametrize(
    ("settings", "message"), [({"form": "inner"}, "form must be one of"), ({"memory": 0}, "memory must be positive")]
)
def test_bad_settings(small_problem, settings, message):
    with pytest.raises(gl.InputError, match=message):
        factor_gram(small_problem, _minibatches(small_problem, 2), **settings)


CONVOLUTIONS: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
    "padded": (nn.Conv2d(3, 2, 3, padding=1), (3, 4, 5)),
    "strided": (nn.Conv2d(3, 2, 3, stride=2, padding=1), (3, 8, 8)),
    "stride above kernel": (nn.Conv1d(3, 2, 2, stride=3, padding=1), (3, 7)),
    "one element": (nn.Conv2d(3, 2, 1, stride=2), (3, 5, 5)),
    "dilated groups": (nn.Conv2d(4, 6, (3, 2), groups=2, dilation=(2, 1), padding=(2, 0)), (4, 5, 4)),
    "reflected": (nn.Conv2d(3, 2, 3, padding=2, padding_mode="reflect"), (3, 4, 4)),
    "same": (nn.Conv1d(3, 2, 4, padding="same", dilation=2), (3, 9)),
    "three axes": (nn.Conv3d(2, 2, 2, stride=(1, 2, 1), padding=1), (2, 3, 4, 2)),
}


@pytest.mark.parametrize("name", CONVOLUTIONS)
@pytest.mark.parametrize("batch_size", [1, 3])
def test_products_of_windows_are_sums_over_the_kernel(name, batch_size):
    layer, shape = CONVOLUTIONS[name]
    x = torch.randn(6 * batch_size, *shape, dtype=torch.float64)
    g = torch.zeros_like(layer.double()(x))
    call = ConvolutionFactors(layer, *(a.detach().unflatten(0, (6, batch_size)) for a in (x, g)))
    for group in range(layer.groups):
        expected, ours = (
            kind([call], slice(0, 2), group).inner(kind([call], slice(2, 6), group)) for kind in (InputRows, WindowRows)
        )
        torch.testing.assert_close(ours, expected, rtol=1e-12, atol=1e-12)


def test_elements_of_a_strided_kernel_that_never_meet_are_apart():
    layer = nn.Conv2d(256, 512, 3, stride=2, padding=1)
    call = ConvolutionFactors(layer, torch.zeros(2, 1, 256, 8, 8), torch.zeros(2, 1, 512, 4, 4))
    assert sorted(len(seen) for seen in call.seen) == [1, 2, 2, 4]
    assert WindowRows.cost([call]) < InputRows.cost([call])


def test_norms_have_no_rows():
    rule = rule_of(nn.LayerNorm(3))
    assert rule is not None
    assert rule.factors is None
