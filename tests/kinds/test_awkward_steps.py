"""What steps do with their batches and the model: taken with the gradients of plain autograd, or refused."""

import copy
from collections import UserDict
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import gradlaw as gl
from gradlaw.training_step import tensors_of
from trained_kinds import KINDS, draw, labels, perceptron

Step = Callable[[Any, Any], Any]


def pairs(make: Callable[[Tensor, Tensor], Any]) -> list[Any]:
    return [make(draw(4, 5, seed=seed), labels(3, 4, seed=seed)) for seed in range(4)]


def loss_of(model: Any, x: Tensor, y: Tensor) -> Tensor:
    return F.cross_entropy(model(x), y)


FORMS: dict[str, tuple[Callable[[Tensor, Tensor], Any], Step]] = {
    "tuple": (lambda x, y: (x, y), lambda model, batch: loss_of(model, batch[0].mul_(2), batch[1])),
    "mapping": (lambda x, y: UserDict(x=x, y=y), lambda model, batch: loss_of(model, batch["x"].mul_(2), batch["y"])),
    "object": (
        lambda x, y: SimpleNamespace(x=x, y=y), lambda model, batch: loss_of(model, batch.x.mul_(2), batch.y)
    ),
    "array": (
        lambda x, y: (x.numpy(), y),
        lambda model, batch: loss_of(model, torch.from_numpy(batch[0].__imul__(2)), batch[1]),
    ),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_a_step_may_write_to_its_batch(form: str) -> None:
    make, step = FORMS[form]
    model, batches = perceptron(5, 3).double(), pairs(make)
    history = gl.collect(gl.Problem.from_step(model, step, batches), 3, 1)
    for t, indices in enumerate(history.settings.minibatches()):
        x, y = draw(4, 5, seed=int(indices[0])), labels(3, 4, seed=int(indices[0]))
        gradients = torch.autograd.grad(loss_of(model, 2 * x, y), list(model.parameters()))
        torch.testing.assert_close(history[t], torch.cat([g.reshape(-1) for g in gradients]), rtol=1e-10, atol=1e-12)


def test_writing_where_no_copy_reaches_is_refused() -> None:
    def step(model: Any, batch: Any) -> Tensor:
        return loss_of(model, batch.inner.x.clamp_(-0.1, 0.1), batch.inner.y)

    batches = pairs(lambda x, y: SimpleNamespace(inner=SimpleNamespace(x=x, y=y)))
    with pytest.raises(gl.InputError, match="writes to its data in place"):
        gl.collect(gl.Problem.from_step(perceptron(5, 3).double(), step, batches), 3, 1)


def test_graphs_are_told_apart_by_what_they_hold() -> None:
    names = KINDS["Graphs (torch_geometric)"][""]()
    other = copy.deepcopy(names["loader"])
    other[0].x[0, 0] += 1
    digests = [
        gl.Problem.from_step(names["model"], lambda model, batch: batch.x.sum(), loader).describe()["data"]["sha256"]
        for loader in (names["loader"], other)
    ]
    assert digests[0] != digests[1]
    assert len(list(tensors_of(names["loader"]))) == 16


def test_an_iterable_that_overwrites_its_batches_is_refused() -> None:
    def refilled() -> Iterator[Tensor]:
        buffer = torch.empty(4, 5, dtype=torch.float64)
        for seed in range(4):
            yield buffer.copy_(draw(4, 5, seed=seed))

    with pytest.raises(gl.InputError, match="the same tensor again with other contents"):
        gl.Problem.from_step(perceptron(5, 3), lambda model, batch: model(batch).sum(), refilled())


def test_a_stream_without_an_end_is_refused_before_memory_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    def endless() -> Iterator[Tensor]:
        while True:
            yield torch.zeros(1000)

    monkeypatch.setattr("gradlaw.resources.free_memory", lambda device: 100_000)
    step = lambda model, batch: model(batch).sum()  # noqa: E731
    with pytest.raises(gl.InputError, match="11 batches, which are kept, take half of the free memory"):
        gl.Problem.from_step(perceptron(1000, 3), step, endless())
    assert gl.Problem.from_step(perceptron(1000, 3), step, endless(), batches=10).samples == 10


@pytest.mark.parametrize("form", ["coo", "csr"])
@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta")
def test_sparse_batches(form: str) -> None:
    def step(model: Any, batch: Any) -> Tensor:
        return F.cross_entropy(batch[0] @ model.weight.T + model.bias, batch[1])

    def make(x: Tensor, y: Tensor) -> Any:
        return (x.relu().to_sparse() if form == "coo" else x.relu().to_sparse_csr()), y

    model = nn.Linear(5, 3).double()
    history = gl.collect(gl.Problem.from_step(model, step, pairs(make)), 3, 1)
    dense = gl.Problem.from_step(model, step, pairs(lambda x, y: (x.relu(), y)))
    torch.testing.assert_close(history.gradients, gl.collect(dense, 3, 1).gradients, rtol=1e-10, atol=1e-12)


def backward(model: Any, batch: Any) -> Tensor:
    loss = loss_of(model, *batch)
    loss.backward()
    return loss


def trains(model: Any, batch: Any) -> Tensor:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    loss = backward(model, batch)
    optimizer.step()
    return loss.detach()


@pytest.mark.parametrize("step", [backward, trains])
def test_a_step_that_trains_is_refused_and_changes_nothing(step: Step) -> None:
    model = perceptron(5, 3).double()
    before = copy.deepcopy(model.state_dict())
    problem = gl.Problem.from_step(model, step, pairs(lambda x, y: (x, y)))
    with pytest.raises(gl.InputError, match=r"call backward\(\) themselves.*return the loss"):
        gl.collect(problem, 3, 1)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())


def test_gradients_that_were_there_stay() -> None:
    model = perceptron(5, 3).double()
    loss_of(model, draw(4, 5), labels(3, 4)).backward()
    before = [p.grad for p in model.parameters()]
    problem = gl.Problem.from_step(model, lambda model, batch: loss_of(model, *batch), pairs(lambda x, y: (x, y)))
    gl.collect(problem, 3, 1)
    assert all(p.grad is g for p, g in zip(model.parameters(), before, strict=True))


def test_a_teacher_that_the_step_moves_is_refused() -> None:
    model = perceptron(5, 3).double()
    teacher = copy.deepcopy(model).requires_grad_(False)

    def step(model: Any, batch: Any) -> Tensor:
        with torch.no_grad():
            for old, new in zip(teacher.parameters(), model.parameters(), strict=True):
                old.lerp_(new + 1, 0.01)
        return F.mse_loss(model(batch[0]), teacher(batch[0]))

    with pytest.raises(gl.InputError, match="kept from call to call"):
        gl.collect(gl.Problem.from_step(model, step, pairs(lambda x, y: (x, y))), 3, 1)
