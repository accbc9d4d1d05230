import copy

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array
from scipy.sparse.linalg import aslinearoperator, eigsh
from torch import nn
from torch.nn.functional import cross_entropy, mse_loss

import gradlaw as gl
import problems
from gradlaw.curvature.operators.base import as_operator, dense
from gradlaw.curvature.operators.hessian import gauss_newton, hessian
from gradlaw.minibatches import Minibatches
from gradlaw.zoo.resnet import BasicBlock

BATCH_SIZES = {"fcn": 10, "fcn-relu-bn": 10, "residual": 20}  # batch norm couples the samples of a minibatch


def _residual_network():
    """Both kinds of blocks of ResNet18, batch norm in training mode."""
    blocks = BasicBlock(3, 4, stride=2), BasicBlock(4, 4, stride=1)
    model = nn.Sequential(*blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5)).double()
    return gl.Problem(model, cross_entropy, (torch.randn(40, 3, 8, 8).double(), torch.randint(5, (40,))))


def _minibatches(problem, batch_size):
    if batch_size is None:
        return [np.arange(problem.samples)]
    count = problem.samples // batch_size
    return [Minibatches(problem.samples, batch_size, count, 0)[t] for t in range(count)]


def _autograd_hessian(problem, vectors, batch_size=None):
    """H V by plain double backward through the user's own model; vectors (n, m)."""
    model, theta = problem.model, list(problem.model.parameters())
    total = torch.zeros_like(vectors)
    batches = _minibatches(problem, batch_size)
    for indices in batches:
        inputs, targets = problem.fetch(indices)
        with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
            loss = problem.loss(model(inputs), targets)
        gradient = torch.autograd.grad(loss, theta, create_graph=True)
        flat = torch.cat([g.reshape(-1) for g in gradient])
        for i, v in enumerate(vectors.T):
            product = torch.autograd.grad(flat @ v, theta, retain_graph=True, materialize_grads=True)
            total[:, i] += torch.cat([h.reshape(-1) for h in product]) / len(batches)
    return total


# Tracing the whole of ResNet18 says nothing more than tracing two of its blocks.
@pytest.mark.parametrize("name", [*(name for name in problems.NAMES if name != "resnet18"), "residual"])
def test_hessian_products_equal_double_backward(name):
    batch_size = BATCH_SIZES.get(name)
    problem = _residual_network() if name == "residual" else problems.make(name, torch.float64)
    vectors = torch.randn(problem.dimensions, 2, dtype=torch.float64)
    expected = _autograd_hessian(problem, vectors, batch_size)
    operator = hessian(problem, batch_size=batch_size, chunk_samples=256)
    # PyTorch 2.6 cannot trace a batch norm that takes the statistics of a minibatch: there the slower way is taken.
    old = tuple(map(int, torch.__version__.split(".")[:2])) < (2, 13)
    assert operator.mode == "linearised" or (old and batch_size is not None)
    torch.testing.assert_close(operator @ vectors, expected, rtol=0, atol=1e-10 * expected.norm().item())


def _flat_loss(problem):
    """The mean loss as a function of one vector theta, and that vector; without gradlaw."""
    named = dict(problem.model.named_parameters())
    sizes = [p.numel() for p in named.values()]
    theta = torch.cat([p.detach().reshape(-1) for p in named.values()])

    def outputs(theta, inputs):
        pieces = theta.split(sizes)
        state = {name: piece.view_as(p) for (name, p), piece in zip(named.items(), pieces, strict=True)}
        return torch.func.functional_call(problem.model, state, (inputs,))

    return outputs, theta


@pytest.mark.parametrize("name", ["fcn", "lnn"])
def test_dense_hessian_equals_autograd(name):
    problem = problems.make(name, torch.float64)
    outputs, theta = _flat_loss(problem)
    batches = _minibatches(problem, BATCH_SIZES.get(name))
    expected = sum(
        torch.autograd.functional.hessian(lambda t, x=x, y=y: cross_entropy(outputs(t, x), y), theta, vectorize=True)
        for x, y in map(problem.fetch, batches)
    ) / len(batches)
    found = dense(hessian(problem, batch_size=BATCH_SIZES.get(name)))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", ["fcn", "lnn", "gru", "transformer"])
def test_gauss_newton_equals_its_closed_form_for_cross_entropy(name):
    problem = problems.make(name, torch.float64)
    outputs, theta = _flat_loss(problem)
    vectors = torch.randn(problem.dimensions, 2, dtype=torch.float64)
    expected = torch.zeros_like(vectors)
    batches = _minibatches(problem, BATCH_SIZES.get(name))
    for inputs, _ in map(problem.fetch, batches):
        jacobian = torch.autograd.functional.jacobian(lambda t, x=inputs: outputs(t, x), theta)
        p = outputs(theta, inputs).detach().softmax(dim=1)
        along = jacobian @ vectors  # (B, classes, 2)
        curved = p[:, :, None] * along - p[:, :, None] * (p[:, :, None] * along).sum(dim=1, keepdim=True)
        expected += torch.einsum("bcn,bcm->nm", jacobian, curved) / len(inputs) / len(batches)
    found = gauss_newton(problem, batch_size=BATCH_SIZES.get(name)) @ vectors
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-10 * expected.norm().item())


@pytest.mark.parametrize("make", [hessian, gauss_newton])
def test_float32_is_close_to_float64(make):
    problem = problems.make("convolutions")
    vector = torch.randn(problem.dimensions)
    exact = make(problem, dtype=torch.float64)
    single = make(problem)
    assert (exact.dtype, single.dtype) == (torch.float64, torch.float32)
    expected = exact @ vector
    assert expected.dtype == torch.float64
    assert ((single @ vector) - expected).norm() < 3e-6 * expected.norm()


def _mlp(samples=601, dtype=torch.float64, loss=cross_entropy, **options):
    model = nn.Sequential(nn.Linear(6, 7), nn.Tanh(), nn.Linear(7, 3)).to(dtype)
    data = torch.randn(samples, 6, dtype=dtype), torch.randint(3, (samples,))
    return gl.Problem(model, loss, data, **options)


def test_chunks_of_unequal_sizes_add_up_to_the_mean():
    problem = _mlp()
    operator = hessian(problem, chunk_samples=256)
    assert sorted({len(chunk) for chunk in operator.chunks}) == [200, 201]
    vectors = torch.randn(problem.dimensions, 3, dtype=torch.float64)
    torch.testing.assert_close(operator @ vectors, _autograd_hessian(problem, vectors), rtol=0, atol=1e-12)
    torch.testing.assert_close(operator @ vectors[:, 1], (operator @ vectors)[:, 1], rtol=0, atol=0)


def test_what_does_not_fit_the_memory_is_linearised_anew_with_the_same_bits():
    problem = _mlp()
    vector = torch.randn(problem.dimensions, dtype=torch.float64)
    stored = hessian(problem, chunk_samples=256)
    assert (stored.recomputed, stored.notices) == (0, ())
    partly = hessian(problem, memory=stored.kept_bytes // 2, chunk_samples=256)
    assert partly.recomputed == 2
    assert 0 < partly.kept_bytes <= stored.kept_bytes // 2
    assert "2 of 3 chunks are linearised anew for each product" in partly.notices[0]
    for operator in (partly, hessian(problem, memory=0, chunk_samples=256)):
        assert torch.equal(operator @ vector, stored @ vector)


def test_a_subset_of_the_samples_is_the_start_of_the_seeded_epoch():
    problem = _mlp(100)
    chosen = Minibatches(100, 40, 2, seed=3)[0]
    part = gl.Problem(problem.model, cross_entropy, tuple(a[chosen] for a in problem.data))
    torch.testing.assert_close(dense(hessian(problem, 40, seed=3)), dense(hessian(part)), rtol=0, atol=1e-14)
    described = hessian(problem, 40, seed=3).describe()
    assert (described["samples"], described["seed"], described["batch_size"]) == (40, 3, None)
    assert described["samples_sha256"] != hessian(problem, 40, seed=4).describe()["samples_sha256"]
    with pytest.raises(gl.InputError, match="samples=101 of N=100"):
        hessian(problem, 101)


def test_a_part_of_the_parameters_is_that_block_of_the_matrix():
    problem = _mlp(50)
    part = gl.Problem(problem.model, cross_entropy, problem.data, parameters="2.*")
    start = problem.dimensions - part.dimensions
    torch.testing.assert_close(dense(hessian(part)), dense(hessian(problem))[start:, start:], rtol=0, atol=1e-14)


def test_theta_is_copied_and_the_model_left_alone():
    problem = problems.make("fcn", torch.float64)
    before = {name: tensor.clone() for name, tensor in problem.model.state_dict().items()}
    operator = hessian(problem, batch_size=10, memory=0)
    vector = torch.randn(problem.dimensions, dtype=torch.float64)
    product = operator @ vector
    assert all(torch.equal(before[name], tensor) for name, tensor in problem.model.state_dict().items())
    with torch.no_grad():
        problem.parameters()[0].add_(1.0)
    assert torch.equal(operator @ vector, product)


def test_batch_norm_needs_a_batch_size_in_training_mode_only():
    problem = problems.make("fcn", torch.float64)
    with pytest.raises(gl.InputError, match=r"couples the samples of a minibatch \(batch norm.*Give batch_size"):
        hessian(problem)
    operator = hessian(problem, batch_size=9)
    assert operator.notices[0] == "the loss is the mean over 4 fixed minibatches of 9 (seed 0)"
    assert operator.notices[1] == "the remainder of 4 samples is left out"
    assert operator.describe()["batch_size"] == 9
    problem.model.eval()
    vector = torch.randn(problem.dimensions, dtype=torch.float64)
    expected = _autograd_hessian(problem, vector[:, None])[:, 0]
    torch.testing.assert_close(hessian(problem) @ vector, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("randomness", ["refuse", "seeded"])
def test_dropout_is_refused(randomness):
    model = nn.Sequential(nn.Linear(4, 5), nn.Dropout(0.5), nn.Linear(5, 3))
    data = torch.randn(10, 4), torch.randint(3, (10,))
    with pytest.raises(gl.InputError, match="loss is random at fixed parameters"):
        hessian(gl.Problem(model, cross_entropy, data, randomness=randomness))


class _Cube(torch.autograd.Function):
    """x^3, without a forward-mode derivative."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x):
        return x**3

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @staticmethod
    def backward(ctx, g):
        return 3 * ctx.saved_tensors[0] ** 2 * g


class _WrongCube(_Cube):
    """x^3 with a wrong forward-mode derivative."""

    @staticmethod
    def jvp(ctx, tangent):
        return 4 * ctx.saved_tensors[0] ** 2 * tangent


class _Applied(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.layer, self.function, self.out = nn.Linear(4, 5), function, nn.Linear(5, 3)

    def forward(self, x):
        return self.out(self.function(self.layer(x)))


def _applied(function):
    return gl.Problem(
        _Applied(function).double(), cross_entropy, (torch.randn(30, 4).double(), torch.randint(3, (30,)))
    )


@pytest.mark.parametrize("make", [hessian, gauss_newton])
def test_an_operation_without_forward_mode_takes_double_backward_and_says_so(make):
    problem = _applied(_Cube.apply)
    operator = make(problem, chunk_samples=256)
    assert operator.mode == "double backward"
    assert "products by double backward, which is slower: no linearisation of this model" in operator.notices[0]
    same = make(gl.Problem(copy.deepcopy(problem.model), cross_entropy, problem.data))
    problem.model.function = lambda x: x**3
    assert same.mode == "double backward"
    torch.testing.assert_close(dense(same), dense(make(problem)), rtol=0, atol=1e-13)


def test_control_flow_that_depends_on_the_data_takes_double_backward():
    problem = _applied(lambda x: x**3 if x.sum() > 0 else x * x * x)
    operator = hessian(problem, chunk_samples=256)
    assert operator.mode == "double backward"
    vector = torch.randn(problem.dimensions, 1, dtype=torch.float64)
    torch.testing.assert_close(operator @ vector, _autograd_hessian(problem, vector), rtol=0, atol=1e-13)


def test_a_wrong_forward_mode_derivative_is_found():
    problem = _applied(_WrongCube.apply)
    operator = hessian(problem, chunk_samples=256)
    assert operator.mode == "double backward"
    assert "a product is not that of double backward: a forward-mode derivative is wrong" in operator.notices[0]
    vector = torch.randn(problem.dimensions, 1, dtype=torch.float64)
    torch.testing.assert_close(operator @ vector, _autograd_hessian(problem, vector), rtol=0, atol=1e-13)


def test_a_gradient_that_is_not_finite_is_refused():
    problem = _mlp(400)
    problem.data[0][397] = 1e200  # not in the first minibatch; finite by itself
    problem.model[1] = nn.Identity()
    problem.loss = lambda out, y: out.square().square().mean()
    with pytest.raises(gl.InputError, match="gradient over the 400 samples is not finite"):
        hessian(problem)


def test_a_product_that_is_not_finite_is_refused():
    model = nn.Linear(2, 1, bias=False).double()
    loss = lambda out, y: (out.abs() ** 1.5).mean() + 0 * out.sum()  # noqa: E731
    inputs = torch.randn(20, 2).double()
    inputs[5] = 0  # where the second derivative is infinite
    with pytest.raises(gl.InputError, match="product of the Hessian with a random vector is not finite"):
        hessian(gl.Problem(model, loss, (inputs, torch.zeros(20, 1).double())))


def test_a_linear_loss_has_no_curvature():
    model = nn.Linear(3, 2)
    problem = gl.Problem(model, lambda out, y: (out * y).mean(), (torch.randn(20, 3), torch.randn(20, 2)))
    assert not dense(hessian(problem)).any()
    assert not dense(gauss_newton(problem)).any()


def test_unused_parameters_have_zero_rows():
    class Partly(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.idle = nn.Linear(4, 3), nn.Linear(4, 3)

        def forward(self, x):
            return self.used(x)

    operator = hessian(gl.Problem(Partly(), cross_entropy, (torch.randn(10, 4), torch.randint(3, (10,)))))
    matrix = dense(operator)
    assert not matrix[15:].any()
    assert not matrix[:, 15:].any()
    assert matrix[:15, :15].any()
    assert "does not depend on 2 parameter tensors" in operator.notices[0]


def test_residual_of_the_split_vanishes_for_a_linear_model():
    problem = gl.Problem(nn.Linear(4, 2).double(), mse_loss, (torch.randn(20, 4).double(), torch.randn(20, 2).double()))
    h, g = hessian(problem), gauss_newton(problem)
    residual = h - g
    assert residual.name == "Hessian - generalised Gauss-Newton"
    assert dense(h).norm() > 0.1
    assert dense(residual).norm() < 1e-14
    assert residual.describe()["first"]["operator"] == "Hessian"
    with pytest.raises(gl.InputError, match="have shapes"):
        h - as_operator(np.eye(3))


def test_scipy_finds_the_eigenvalues_of_the_operator():
    operator = hessian(_mlp(60))
    exact = np.linalg.eigvalsh(dense(operator).numpy())
    linear = operator.to_scipy()
    assert (linear.shape, linear.dtype) == (operator.shape, np.float64)
    np.testing.assert_allclose(np.sort(eigsh(linear, 5, which="LA")[0]), exact[-5:], atol=1e-10)
    np.testing.assert_allclose(linear.T @ np.eye(len(exact)), dense(operator).numpy(), atol=1e-13)


def test_matrices_and_operators_of_other_libraries_are_operators():
    matrix = np.diag([1.0, 2.0, 3.0]) + 0.5

    class Foreign:  # as those of curvlinops
        shape, dtype, device = (3, 3), torch.float64, torch.device("cpu")

        def __matmul__(self, vectors):
            return torch.from_numpy(matrix) @ vectors

    for other in (matrix, torch.from_numpy(matrix), csr_array(matrix), aslinearoperator(matrix), Foreign()):
        np.testing.assert_allclose(dense(as_operator(other)).numpy(), matrix)
    operator = as_operator(matrix)
    assert as_operator(operator) is operator
    with pytest.raises(gl.InputError, match=r"vectors of shape \(n,\) or \(n, m\), got \(4,\)"):
        operator @ torch.ones(4)
    for wrong in (np.ones((2, 3)), 3.0, "text"):
        with pytest.raises(gl.InputError, match=r"shape \(n, n\) and multiply"):
            as_operator(wrong)


def test_arguments_are_checked():
    problem = _mlp(20)
    with pytest.raises(gl.InputError, match="dtype must be"):
        hessian(problem, dtype=torch.float16)
    with pytest.raises(gl.InputError, match="batch_size=21"):
        hessian(problem, batch_size=21)
