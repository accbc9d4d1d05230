"""The Hessian of whatever loss and model: that of the loss of all samples, or refused."""

import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations
from torch.utils.checkpoint import checkpoint

import gradlaw as gl
import model_grammar
from gradlaw import resources
from gradlaw.curvature import eigenpairs, gauss_newton, hessian
from gradlaw.curvature.operators.composites import Composites


def double_backward(loss, parameters, vector):
    """H v of a scalar by plain autograd."""
    parameters = list(parameters)
    gradient = torch.autograd.grad(loss, parameters, create_graph=True, materialize_grads=True)
    flat = torch.cat([g.reshape(-1) for g in gradient])
    product = torch.autograd.grad(flat @ vector, parameters, materialize_grads=True)
    return torch.cat([h.reshape(-1) for h in product])


def check(problem, loss=None, rtol=1e-9, chunk_samples=256, **options):
    """Compare a product with double backward through the user's own model over all samples; the operator."""
    operator = hessian(problem, chunk_samples=chunk_samples, **options)
    vector = torch.randn(problem.dimensions, dtype=operator.dtype)
    inputs, targets = problem.data
    value = problem.loss(problem.model(inputs), targets) if loss is None else loss()
    expected = double_backward(value, problem.parameters(), vector)
    assert float((operator @ vector - expected).norm()) <= rtol * float(expected.norm())
    return operator


@pytest.mark.parametrize("seed", model_grammar.seeds(25))
def test_any_model_and_loss(seed):
    example = model_grammar.draw(seed)
    model, loss = example.make()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    try:
        # Many chunks of few samples: what holds of each need not hold of all.
        operators = [hessian(gl.Problem(model, loss, example.data), chunk_samples=samples) for samples in (8, None)]
        vector = torch.randn(operators[0].dimensions, dtype=torch.float64)
        # The second product of a small operator is that of a graph which was kept.
        products = [(operator @ vector).double() for operator in (*operators, operators[1])]
    except gl.InputError:
        return
    assert "random" not in example.tags, example.description
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    exact, exact_loss, (inputs, targets) = example.exact()
    with nn.attention.sdpa_kernel(nn.attention.SDPBackend.MATH):
        expected = double_backward(exact_loss(exact(inputs), targets), exact.parameters(), vector)
    rtol = 1e-8 if example.dtype == torch.float64 and "mixed" not in example.tags else 1e-4
    for product in products:
        assert float((product - expected).norm()) <= rtol * float(expected.norm()) + 1e-12, example.description


def _classes(samples=600, rare=40):
    """Inputs, and labels of which the last class is rare and at the end."""
    labels = torch.randint(0, 2, (samples,))
    labels[-rare:] = 2
    return torch.randn(samples, 6).double(), labels


def _mlp(outputs=3):
    return nn.Sequential(nn.Linear(6, 7), nn.Tanh(), nn.Linear(7, outputs)).double()


def _token_mean(out, t):
    return F.cross_entropy(out, t, ignore_index=2, reduction="sum") / (t != 2).sum()


@pytest.mark.parametrize(
    "loss",
    [
        nn.CrossEntropyLoss(weight=torch.tensor([1.0, 1.0, 20.0]).double()),
        nn.CrossEntropyLoss(ignore_index=2),
        _token_mean,
        lambda out, t: F.cross_entropy(out, t, reduction="sum"),
        lambda out, t: F.cross_entropy(out, t).sqrt(),
        lambda out, t: F.cross_entropy(out, t) + (out - out.mean(dim=0)).square().mean(),
    ],
    ids=["class weights", "ignored labels", "mean over tokens", "sum", "root", "samples that see each other"],
)
def test_a_loss_that_is_no_mean_is_taken_over_all_samples_at_once(loss):
    operator = check(gl.Problem(_mlp(), loss, _classes()))
    assert [len(chunk) for chunk in operator.chunks] == [600]
    assert any("all 600 are taken at once" in notice for notice in operator.notices)
    assert operator.mode == "linearised"


def test_a_term_that_is_flat_at_theta_is_seen():
    model = _mlp()
    nn.init.zeros_(model[2].weight)
    nn.init.zeros_(model[2].bias)  # all outputs are zero, and so is the slope of their spread
    loss = lambda out, t: F.cross_entropy(out, t) + (out - out.mean(dim=0)).square().mean()  # noqa: E731
    assert len(check(gl.Problem(model, loss, _classes())).chunks) == 1


def test_what_does_not_fit_at_once_is_refused(monkeypatch):
    monkeypatch.setattr(resources, "free_memory", lambda device: 100_000)
    plain = check(gl.Problem(_mlp(), F.cross_entropy, _classes()), memory=10**9)
    assert (plain.mode, len(plain.chunks), plain.notices) == ("linearised", 3, ())
    weighted = nn.CrossEntropyLoss(weight=torch.tensor([1.0, 1.0, 20.0]).double())
    with pytest.raises(gl.InputError, match=r"not the mean over chunks .* all at once would take about .* GB"):
        hessian(gl.Problem(_mlp(), weighted, _classes()), chunk_samples=256)


class _TiedByList(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(6, 6), nn.Linear(6, 3)
        self.held = [self.a.weight]

    def forward(self, x):
        return self.b(torch.tanh(self.a(x)) @ self.held[0])


def test_parameters_reached_by_another_way_count():
    data = _classes(60, 5)
    tied = check(gl.Problem(_TiedByList().double(), F.cross_entropy, data))
    assert tied.mode == "double backward"
    assert "its gradient is not that of plain autograd" in tied.notices[0]
    model = _mlp()
    points = torch.randn(9, 6).double()
    decay = lambda out, t: F.cross_entropy(out, t) + sum(p.square().sum() for p in model.parameters())  # noqa: E731
    residual = lambda out, t: F.cross_entropy(out, t) + model(points).square().mean()  # noqa: E731
    for loss in (decay, residual):
        assert check(gl.Problem(model, loss, data)).mode == "double backward"


def test_a_penalty_that_is_flat_at_theta_counts():
    model = _mlp()
    nn.init.zeros_(model[2].bias)
    loss = lambda out, t: F.cross_entropy(out, t) + model[2].bias.square().sum()  # noqa: E731
    assert check(gl.Problem(model, loss, _classes(600))).mode == "double backward"


def test_gauss_newton_refuses_a_term_beside_the_outputs():
    model = _mlp()
    loss = lambda out, t: F.cross_entropy(out, t) + model[0].weight.square().sum()  # noqa: E731
    with pytest.raises(gl.InputError, match=r"other than through the model's outputs \(a penalty\?\): 0.weight"):
        gauss_newton(gl.Problem(model, loss, _classes(60)))
    tied = gauss_newton(gl.Problem(_TiedByList().double(), F.cross_entropy, _classes(60)))
    assert tied.mode == "double backward"


@pytest.mark.parametrize("make", [_TiedByList, _mlp])
def test_theta_in_place_is_the_one_of_the_start(make):
    model = make().double()
    problem = gl.Problem(model, F.cross_entropy, _classes(60, 5))
    operator, vector = hessian(problem), torch.randn(problem.dimensions, dtype=torch.float64)
    product = operator @ vector
    with torch.no_grad():
        next(model.parameters()).add_(1.0)
    assert torch.equal(operator @ vector, product)


def test_the_graph_of_a_small_operator_outlives_what_others_do_with_the_model():
    """Nodes where gradients arrive are new after a pass in another type; the old graph would give zeros."""
    model = _mlp().float()
    inputs, labels = _classes()
    problem = gl.Problem(model, F.cross_entropy, (inputs.float(), labels))
    operator = check(problem, rtol=1e-5, chunk_samples=None)
    assert (operator.mode, len(operator.chunks), operator.notices) == ("double backward", 1, ())
    vector = torch.randn(problem.dimensions)
    product = operator @ vector
    hessian(problem, dtype=torch.float64)
    assert torch.equal(operator @ vector, product)
    model.double()
    model.float()
    assert torch.equal(operator @ vector, product)
    with torch.no_grad():
        model[0].weight.mul_(2.0)
    assert torch.equal(operator @ vector, product)


INTEGER_TARGETS = [
    "F.mse_loss(o, t.float())",
    "nn.MSELoss(reduction='sum')(o, t.float())",
    "F.mse_loss(t.float(), o)",
    "F.mse_loss(o, torch.ones(3).expand(o.shape))",
    "F.mse_loss(o, t[:, :1].expand(-1, 3).float())",
    "F.mse_loss(o, o.detach() * 2)",
    "F.mse_loss(t.float(), t.float() * 2) + F.mse_loss(o, t.float(), reduction='none').mean()",
    "torch._C._nn.mse_loss(o, t.float(), 1)",
    "F.smooth_l1_loss(o, t.float())",
    "F.binary_cross_entropy(o.sigmoid(), (t > 0).float())",
    "F.kl_div(o.log_softmax(1), t.float(), reduction='batchmean')",
    "F.gaussian_nll_loss(o, t.float(), F.softplus(o))",
    "F.poisson_nll_loss(o, t)",
    "F.cosine_embedding_loss(o, t + 0.1, torch.ones(len(o)))",
]


def test_no_loss_of_integer_targets_ends_the_process():
    program = """
        import torch, gradlaw as gl
        from gradlaw.curvature import hessian
        from gradlaw.curvature import gauss_newton
        from torch import nn
        from torch.nn import functional as F
        torch.manual_seed(0)
        x, t, model = torch.randn(20, 5), torch.randint(0, 3, (20, 3)), nn.Linear(5, 3)
        v = torch.randn(18)
        for i, text in enumerate({losses}):
            loss = eval("lambda o, t: " + text)
            g = torch.autograd.grad(loss(model(x), t), list(model.parameters()), create_graph=True)
            g = torch.cat([a.reshape(-1) for a in g])
            h = torch.cat([a.reshape(-1) for a in torch.autograd.grad(g @ v, list(model.parameters()))])
            for make in (hessian, gauss_newton) if i < 4 else (hessian,):  # the model is linear: both are the same
                product = make(gl.Problem(model, loss, (x, t))) @ v
                assert (product - h).norm() < 1e-5 * h.norm(), (text, product, h)
    """
    code = textwrap.dedent(program).format(losses=INTEGER_TARGETS)
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-500:]


@pytest.mark.filterwarnings("ignore:size_average and reduce:UserWarning")
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_the_composite_squared_error_is_that_of_torch(reduction):
    a, b, w = torch.randn(3, 5, 4).double().unbind()
    for arguments in ({}, {"weight": w.abs()}, {"size_average": False}, {"reduce": False}):
        expected = F.mse_loss(a, b, reduction=reduction, **arguments)
        with Composites():
            torch.testing.assert_close(F.mse_loss(a, b, reduction=reduction, **arguments), expected)


class _HiddenNoise(nn.Module):
    """Noise that none of the usual generators knows of."""

    def __init__(self):
        super().__init__()
        self.layer, self.generator = nn.Linear(6, 3), np.random.default_rng(0)

    def forward(self, x):
        return self.layer(x + torch.from_numpy(self.generator.standard_normal(x.shape)).to(x.dtype))


class _Counting(nn.Module):
    """A schedule that moves on with every call."""

    def __init__(self):
        super().__init__()
        self.layer, self.calls = nn.Linear(6, 3), 0

    def forward(self, x):
        self.calls += 1
        return self.layer(x) / self.calls


@pytest.mark.parametrize("model", [_HiddenNoise, _Counting])
def test_the_hessian_of_noise_is_refused(model):
    with pytest.raises(gl.InputError, match=r"random|from call to call"):
        hessian(gl.Problem(model().double(), F.cross_entropy, _classes(60)))


def test_functional_dropout_is_refused():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(6, 3)

        def forward(self, x):
            return F.dropout(self.layer(x), 0.3)

    with pytest.raises(gl.InputError, match="random"):
        hessian(gl.Problem(Model().double(), F.cross_entropy, _classes(60)))


def test_complex_matrices_are_refused():
    matrix = np.array([[1.0, 2j], [-2j, 3.0]])
    with pytest.raises(gl.InputError, match="complex matrix"):
        eigenpairs(matrix, 1)
    operator = hessian(gl.Problem(_mlp(), F.cross_entropy, _classes(20, 2)))
    with pytest.raises(gl.InputError, match="multiplies real vectors"):
        operator @ torch.zeros(operator.dimensions, dtype=torch.complex128)


class _Stateful(nn.Module):
    """All that a pass can leave behind."""

    def __init__(self):
        super().__init__()
        self.norm, self.out = nn.BatchNorm1d(6), nn.Linear(6, 3)
        self.register_buffer("seen", torch.zeros(()))
        self.last, self.calls, self.log = torch.zeros(1), 0, []

    def forward(self, x):
        h = checkpoint(self.norm, x, use_reentrant=False)
        self.seen += len(x)
        self.last[:], self.calls, self.recent = float(h.detach().abs().max()), self.calls + 1, h
        self.log.append(h)
        return self.out(h)


def test_the_model_is_left_as_it_is():
    model = _Stateful().double()
    model.norm.weight.requires_grad_(False)
    model.out.weight.grad = torch.ones_like(model.out.weight)
    tensors = {name: (id(t), t.clone()) for name, t in [*model.named_parameters(), *model.named_buffers()]}
    operator = hessian(gl.Problem(model, F.cross_entropy, _classes(60)), batch_size=20)
    operator @ torch.randn(operator.dimensions)
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        assert id(tensor) == tensors[name][0]
        assert torch.equal(tensor, tensors[name][1])
    assert not model.norm.weight.requires_grad
    assert model.out.weight.requires_grad
    assert torch.equal(model.out.weight.grad, torch.ones_like(model.out.weight))
    assert (model.training, model.norm.training, model.calls, model.log) == (True, True, 0, [])
    assert torch.equal(model.last, torch.zeros(1))
    assert not hasattr(model, "recent")


class _Constants(nn.Module):
    """float32 is written down in the forward pass."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(6, 3)

    def forward(self, x):
        return torch.tanh(self.layer(x)) @ torch.eye(3, dtype=torch.float32)


@pytest.mark.parametrize(
    ("model", "loss"),
    [
        (_Constants, F.cross_entropy),
        (lambda: nn.Linear(6, 3), nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0, 3.0]))),
        (lambda: nn.Linear(6, 3), lambda o, t: F.nll_loss(o.log_softmax(1), t, torch.tensor([1.0, 2.0, 3.0]))),
    ],
    ids=["forward pass", "class weights", "nll"],
)
def test_float32_constants(model, loss):
    inputs, labels = _classes(60, 5)
    problem = gl.Problem(model(), loss, (inputs.float(), labels))
    check(problem, rtol=1e-5)
    if isinstance(problem.model, _Constants):
        with pytest.raises(gl.InputError, match="cannot be put into float64"):
            hessian(problem, dtype=torch.float64)


def test_parametrised_weights():
    data = _classes(60, 5)
    model = nn.Sequential(parametrizations.orthogonal(nn.Linear(6, 6)), nn.Tanh(), nn.Linear(6, 3)).double()
    check(gl.Problem(model, F.cross_entropy, data))


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.filterwarnings("ignore:.*weight_norm.*deprecated:FutureWarning")
def test_weight_norm_has_its_true_second_derivative(old):
    normed = (nn.utils.weight_norm if old else parametrizations.weight_norm)(nn.Linear(6, 6)).double()
    model = nn.Sequential(normed, nn.Tanh(), nn.Linear(6, 3).double())
    inputs, targets = _classes(60, 5)
    problem = gl.Problem(model, F.cross_entropy, (inputs, targets))
    operator = hessian(problem)
    vector = torch.randn(problem.dimensions, dtype=torch.float64)

    def gradient_at(step):  # torch's own double backward takes the norms as constants, and is wrong
        pieces = (step * vector).split([p.numel() for p in problem.parameters()])
        with torch.no_grad():
            for p, piece in zip(problem.parameters(), pieces, strict=True):
                p.add_(piece.view_as(p))
        parts = torch.autograd.grad(F.cross_entropy(model(inputs), targets), problem.parameters())
        return torch.cat([g.reshape(-1) for g in parts])

    up, down = gradient_at(1e-5), gradient_at(-2e-5)
    expected = (up - down) / 2e-5
    assert float((operator @ vector - expected).norm()) < 1e-7 * float(expected.norm())


def test_bfloat16_is_computed_in_float32():
    model = nn.Sequential(nn.Linear(6, 7), nn.Tanh(), nn.Linear(7, 3)).bfloat16()
    inputs, labels = _classes(60, 5)
    problem = gl.Problem(model, F.cross_entropy, (inputs.bfloat16(), labels))
    operator, vector = hessian(problem), torch.randn(problem.dimensions)
    model.float()
    expected = double_backward(F.cross_entropy(model(inputs.bfloat16().float()), labels), model.parameters(), vector)
    assert float((operator @ vector - expected).norm()) < 1e-5 * float(expected.norm())
