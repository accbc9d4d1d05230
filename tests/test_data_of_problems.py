"""What a problem takes as data and as a model, and what it says of the rest."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy, mse_loss
from torch.utils.data import TensorDataset

import gradlaw as gl
from gradlaw.provenance import sha256
from gradlaw.training.weights import load_weights, read_weights


def regression(inputs, targets) -> gl.Problem:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 1), nn.Flatten(0))
    return gl.Problem(model, mse_loss, (inputs, targets))


def network() -> nn.Sequential:
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))


def classes() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(60, 6), torch.randint(0, 3, (60,))


@pytest.mark.parametrize("as_array", [False, True])
def test_a_column_of_a_table_is_a_target(as_array):
    table = torch.randn(60, 6)
    given = table.numpy() if as_array else table
    views = regression(given[:, 1:], given[:, 0])
    copies = regression(table[:, 1:].clone(), table[:, 0].clone())
    assert views.describe() == copies.describe()
    found, expected = (gl.analyze(p, 30, batch_size=2, k=10, gaussian_k=20) for p in (views, copies))
    np.testing.assert_array_equal(found.losses, expected.losses)


def test_digests_are_of_values_in_whatever_memory():
    table = torch.randn(6, 4)
    strided = [table[:, 1], table.T, torch.zeros(1).expand(5), torch.randn(3, dtype=torch.complex64).conj()]
    for tensor in strided:
        assert sha256([tensor]) == sha256([tensor.clone(memory_format=torch.contiguous_format).resolve_conj()])


def test_arrays_in_any_order_of_bytes_and_steps():
    inputs, targets = np.random.default_rng(0).standard_normal((60, 5)).astype(np.float32), np.zeros(60, np.float32)
    expected = gl.collect(regression(inputs, targets), 5, 2)
    for same in (inputs.astype(">f4"), inputs[::-1][::-1], np.asfortranarray(inputs)):
        assert torch.equal(gl.collect(regression(same, targets), 5, 2).gradients, expected.gradients)
    backwards = gl.collect(regression(inputs[::-1], targets), 5, 2)
    assert torch.equal(backwards.gradients, gl.collect(regression(inputs[::-1].copy(), targets), 5, 2).gradients)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ((np.array([[1], ["a"]], dtype=object), torch.zeros(2)), "must hold numbers, got an array of object"),
        ((torch.eye(4).to_sparse(), torch.zeros(4)), "must be dense tensors, got a sparse one"),
        (TensorDataset(torch.eye(4), torch.eye(4), torch.zeros(4)), "got a TensorDataset of 3 tensors"),
    ],
)
def test_other_data_are_refused_in_words(data, message):
    with pytest.raises(gl.InputError, match=message):
        gl.Problem(nn.Linear(4, 1), mse_loss, data)


def test_an_error_of_a_loss_stays_what_it_is_with_types_that_pytorch_has_no_minimum_of():
    class Images(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(5, 3)

        def forward(self, x):
            return self.layer(x.float() / 65535)

    pixels = np.random.default_rng(0).integers(0, 65535, (60, 5)).astype(np.uint16)
    wrong = lambda outputs, targets: cross_entropy(outputs, targets[:, None, None])  # noqa: E731
    with pytest.raises(RuntimeError, match="target") as raised:
        gl.collect(gl.Problem(Images(), wrong, (pixels, torch.randint(0, 3, (60,)))), 6, 2)
    assert any("uint16 (2, 5) from" in note for note in raised.value.__notes__)


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
@pytest.mark.parametrize("make", [torch.jit.script, lambda m: torch.jit.trace(m, torch.randn(2, 6))])
def test_torchscript_is_refused_by_name(make):
    with pytest.raises(gl.InputError, match="the model is a module of TorchScript"):
        gl.Problem(make(network()), cross_entropy, classes())
    with pytest.raises(gl.InputError, match="1 is a module of TorchScript"):
        gl.Problem(nn.Sequential(nn.Identity(), make(network())), cross_entropy, classes())


CHANGES = {
    "has in other shapes 2.weight, 2.bias": lambda m: m.__setitem__(2, nn.Linear(8, 5)),
    "has frozen 0.weight, 0.bias": lambda m: m[0].requires_grad_(False),
    "has no more 0.weight; has added": lambda m: nn.utils.parametrizations.weight_norm(m[0]),
    "has added 3.weight, 3.bias": lambda m: m.append(nn.Linear(3, 3)),
}


@pytest.mark.parametrize("message", CHANGES)
@pytest.mark.parametrize(
    "use", [lambda p: gl.collect(p, 6, 4), gl.hessian, lambda p: gl.gradient_spectrum(p, iterations=6)]
)
def test_a_model_that_was_rebuilt_after_its_problem_was_made_is_refused(use, message):
    model = network()
    problem = gl.Problem(model, cross_entropy, classes())
    CHANGES[message](model)
    with pytest.raises(gl.InputError, match=message):
        use(problem)


def test_what_is_not_analysed_may_be_frozen_or_not():
    model = network()
    problem = gl.Problem(model, cross_entropy, classes(), parameters="2.*")
    model[0].requires_grad_(False)
    before = gl.collect(problem, 6, 4)
    model[0].requires_grad_(True)
    torch.testing.assert_close(gl.collect(problem, 6, 4).gradients, before.gradients)


def test_a_step_or_loss_of_another_model_is_refused():
    other, (inputs, targets) = nn.Linear(6, 3), classes()
    batches = [(inputs[i : i + 5], targets[i : i + 5]) for i in range(0, 20, 5)]
    step = lambda model, batch: cross_entropy(other(batch[0]), batch[1])  # noqa: E731
    loss = lambda outputs, y: cross_entropy(other(outputs.detach()), y)  # noqa: E731
    of_step = gl.Problem.from_step(nn.Linear(6, 3), step, batches)
    for problem in (of_step, gl.Problem(nn.Linear(6, 6), loss, (inputs, targets))):
        with pytest.raises(gl.InputError, match="does not depend on any of the analysed parameters"):
            gl.collect(problem, 4, 1)


@pytest.mark.filterwarnings("error")
def test_gradients_that_are_all_the_same_have_no_two_halves():
    data = torch.ones(60, 6), torch.zeros(60, dtype=torch.long)
    analysis = gl.analyze(gl.Problem(network(), cross_entropy, data), 40, 2)
    assert analysis.sections["two_halves"] is None


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("scale", "shift"), [(1, 1e7), (1, 1.7e9), (1e39, 0), (1e300, 0), (1e-300, 0), (1e-3, 1e6)])
def test_columns_far_from_zero_or_of_any_size_are_standardised_in_float64(scale, shift):
    column = np.random.default_rng(0).normal(size=40) * scale + shift
    data = gl.from_arrays(np.stack([column, np.arange(40.0)], 1), np.arange(40) % 3)
    expected = (column - column.mean()) / scale
    np.testing.assert_allclose(data.inputs[:, 0].numpy(), expected / expected.std(), atol=1e-6)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("largest", "normalise"), [(1e300, "none"), (1.7e308, "channel")])
def test_numbers_that_no_float32_holds_are_refused(largest, normalise):
    with pytest.raises(gl.InputError, match=r"the data hold numbers (beyond the range|too large)"):
        gl.from_arrays(np.full((40, 2), largest) * np.random.default_rng(0).random((40, 2)), np.arange(40) % 3,
                       normalise=normalise)  # fmt: skip


def clamped(outputs, targets):
    return cross_entropy(outputs, targets, reduction="none").clamp(max=1.6).mean()


def tripled(outputs, targets):
    loss = cross_entropy(outputs, targets)
    return 3 * loss - 2 * loss.detach()


@pytest.mark.parametrize("other", [clamped, tripled])
def test_a_history_of_another_loss_of_the_same_name_is_refused(other, tmp_path):
    torch.manual_seed(0)
    model, data = (
        nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3)),
        (torch.randn(100, 4), torch.arange(100) % 3),
    )
    given = gl.collect(gl.Problem(model, cross_entropy, data), 20, 4, store=tmp_path)
    other.__name__ = "cross_entropy"
    assert torch.equal(gl.collect(gl.Problem(model, cross_entropy, data), 20, 4, store=tmp_path)[:], given[:])
    with pytest.raises(gl.InputError, match=r"the (loss|gradient) of .*model, loss or data have changed"):
        gl.collect(gl.Problem(model, other, data), 20, 4, store=tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.long(), "kinds of numbers differ: 0.weight is torch.int64 in the file"),
        (lambda t: t.to(torch.complex64), "kinds of numbers differ"),
        (lambda t: t * float("nan"), "not finite are 0.weight, 0.bias"),
    ],
)
def test_weights_that_are_no_weights_are_refused(change, message, tmp_path):
    model, before = network(), network().state_dict()
    torch.save({name: change(tensor) for name, tensor in before.items()}, tmp_path / "weights.pt")
    with pytest.raises(gl.InputError, match=message):
        load_weights(model, read_weights(tmp_path / "weights.pt"), "weights.pt")
    for dtype in (torch.float16, torch.float64):
        load_weights(model, {name: tensor.to(dtype) for name, tensor in before.items()}, "weights.pt")
