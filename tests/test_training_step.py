"""Problems of a step: their gradients are those of plain autograd, whatever the batches are made of."""

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_sequence, pad_packed_sequence
from torch.utils.data import DataLoader, Dataset, IterableDataset

import gradlaw as gl

DOUBLE = torch.float64


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=DOUBLE)


def labels(classes: int, *shape: int, seed: int = 0) -> Tensor:
    return torch.randint(classes, shape, generator=torch.Generator().manual_seed(seed))


@dataclass
class Case:
    model: nn.Module
    step: Callable[[Any, Any], Tensor]
    batches: list[Any]


def dicts_of_several_losses() -> Case:
    def step(model: Any, batch: dict[str, Tensor]) -> Tensor:
        features = model["body"](batch.pop("x"))
        losses = {"class": F.cross_entropy(model["a"](features), batch["y"]), "b": model["b"](features).square().mean()}
        return losses["class"] + 0.3 * losses["b"]

    model = nn.ModuleDict({"body": nn.Linear(4, 6), "a": nn.Linear(6, 3), "b": nn.Linear(6, 1)})
    return Case(model, step, [{"x": draw(n, 4, seed=n), "y": labels(3, n, seed=n)} for n in (3, 5, 4, 2)])


def packed_sequences() -> Case:
    class Language(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.lstm, self.head = nn.Embedding(9, 5), nn.LSTM(5, 6, batch_first=True), nn.Linear(6, 9)

    def step(model: Any, batch: Any) -> Tensor:
        tokens, lengths = pad_packed_sequence(batch, batch_first=True, padding_value=0)
        outputs, _ = model.lstm(model.embed(tokens[:, :-1]))
        targets = tokens[:, 1:].masked_fill(torch.arange(1, tokens.shape[1]) >= lengths[:, None], -100)
        return F.cross_entropy(model.head(outputs).flatten(0, 1), targets.flatten(), ignore_index=-100)

    packs = [pack_sequence([labels(9, n + 3, seed=n) + 0, labels(9, n, seed=7)]) for n in (2, 4, 3, 5)]
    return Case(Language(), step, packs)


def weighted_segmentation() -> Case:
    weights = torch.tensor([0.2, 1.0, 5.0], dtype=DOUBLE)

    def step(model: Any, batch: tuple[Tensor, Tensor]) -> Tensor:
        images, masks = batch
        return F.cross_entropy(model(images), masks, weight=weights, ignore_index=2)

    model = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 3, 1))
    return Case(model, step, [(draw(n, 1, 5, 5, seed=n), labels(3, n, 5, 5, seed=n)) for n in (2, 3, 4, 2)])


def gradient_penalty() -> Case:
    def step(critic: Any, batch: dict[str, Tensor]) -> Tensor:
        between = batch["mix"] * batch["real"] + (1 - batch["mix"]) * batch["fake"]
        between.requires_grad_(True)
        (slope,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
        penalty = (slope.norm(dim=1) - 1).square().mean()
        return critic(batch["fake"]).mean() - critic(batch["real"]).mean() + 10 * penalty

    critic = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1))
    batches = [{"real": draw(5, 3, seed=s), "fake": draw(5, 3, seed=s + 9), "mix": draw(5, 1, seed=s + 5).sigmoid()}
               for s in range(4)]  # fmt: skip
    return Case(critic, step, batches)


def contrast_of_a_batch() -> Case:
    def step(model: Any, pair: list[Tensor]) -> Tensor:
        a, b = (F.normalize(model(x), dim=1) for x in pair)
        return F.cross_entropy(a @ b.T / 0.1, torch.arange(len(a)))

    return Case(nn.Linear(5, 4), step, [[draw(n, 5, seed=n), draw(n, 5, seed=n + 50)] for n in (4, 6, 3, 5)])


@dataclass
class Graph:
    """A graph as libraries hold it: an object with tensors as attributes."""

    x: Tensor
    edges: Tensor
    y: Tensor

    def to(self, device: Any) -> "Graph":
        self.x, self.edges, self.y = self.x.to(device), self.edges.to(device), self.y.to(device)
        return self


def graphs() -> Case:
    def step(model: Any, graph: Graph) -> Tensor:
        source, target = graph.edges
        messages = torch.zeros_like(graph.x).index_add(0, target, graph.x[source])
        return F.mse_loss(model(messages), graph.y)

    return Case(nn.Linear(3, 2), step, [Graph(draw(n, 3, seed=n), labels(n, 2, 9, seed=n), draw(n, 2, seed=n + 1))
                                        for n in (4, 6, 5, 3)])  # fmt: skip


def differential_equation() -> Case:
    def step(model: Any, points: Tensor) -> Tensor:
        points = points.requires_grad_(True)
        (slope,) = torch.autograd.grad(model(points).sum(), points, create_graph=True)
        return (slope - points.cos()).square().mean() + model(torch.zeros(1, 1, dtype=DOUBLE)).square().mean()

    return Case(
        nn.Sequential(nn.Linear(1, 8), nn.Tanh(), nn.Linear(8, 1)), step, [draw(6, 1, seed=s) for s in range(4)]
    )


CASES = [
    dicts_of_several_losses,
    packed_sequences,
    weighted_segmentation,
    gradient_penalty,
    contrast_of_a_batch,
    graphs,
    differential_equation,
]
TWICE = [dicts_of_several_losses, weighted_segmentation, gradient_penalty, differential_equation]


def by_hand(case: Case, indices: np.ndarray) -> Tensor:
    model = copy.deepcopy(case.model)
    losses = [case.step(model, copy.deepcopy(case.batches[int(i)])) for i in indices]
    parameters = list(model.parameters())
    found = torch.autograd.grad(torch.stack(losses).mean(), parameters, materialize_grads=True, allow_unused=True)
    return torch.cat([g.reshape(-1) for g in found])


@pytest.mark.parametrize("make", CASES, ids=lambda make: make.__name__)
@pytest.mark.parametrize("batch_size", [1, 2])
def test_gradients_are_those_of_plain_autograd(make: Callable[[], Case], batch_size: int) -> None:
    torch.manual_seed(0)
    case = make()
    case.model.double()
    before = copy.deepcopy(case.model.state_dict())
    problem = gl.Problem.from_step(case.model, case.step, case.batches)
    history = gl.collect(problem, iterations=4, batch_size=batch_size)
    minibatches = history.settings.minibatches()
    for t in range(4):
        torch.testing.assert_close(history[t], by_hand(case, minibatches[t]), rtol=1e-10, atol=1e-12)
    assert history.settings.engine == "loop"
    assert all(torch.equal(before[name], value) for name, value in case.model.state_dict().items())


@pytest.mark.parametrize("make", TWICE, ids=lambda make: make.__name__)
def test_the_hessian_is_that_of_the_mean_over_batches(make: Callable[[], Case]) -> None:
    torch.manual_seed(0)
    case = make()
    case.model.double()
    problem = gl.Problem.from_step(case.model, case.step, case.batches)
    model = copy.deepcopy(case.model)
    parameters = list(model.parameters())
    loss = torch.stack([case.step(model, copy.deepcopy(batch)) for batch in case.batches]).mean()
    gradient = torch.cat([g.reshape(-1) for g in torch.autograd.grad(loss, parameters, create_graph=True)])
    vector = draw(problem.dimensions, seed=3)
    exact = torch.autograd.grad(gradient @ vector, parameters, materialize_grads=True, allow_unused=True)
    expected = torch.cat([g.reshape(-1) for g in exact])
    torch.testing.assert_close(gl.hessian(problem) @ vector, expected, rtol=1e-9, atol=1e-10)


def test_a_whole_analysis_and_its_spectrum_without_the_history() -> None:
    torch.manual_seed(0)
    case = contrast_of_a_batch()
    case.batches = [[draw(4, 5, seed=s), draw(4, 5, seed=s + 500)] for s in range(40)]
    problem = gl.Problem.from_step(case.model.double(), case.step, case.batches)
    analysis = gl.analyze(problem, iterations=40, batch_size=1, k=10, gaussian_k=20)
    streamed = gl.gradient_spectrum(problem, iterations=40, batch_size=1)
    np.testing.assert_allclose(streamed.eigenvalues[:10], analysis.spectra["covariance"].eigenvalues[:10], rtol=1e-9)
    assert analysis.provenance["problem"]["loss"] == "step"
    assert analysis.provenance["problem"]["data"]["sha256"]
    assert any("engine loop: a step is a function of its batch" in notice for notice in analysis.notices)


class Shuffled(Dataset[Tensor]):
    def __len__(self) -> int:
        return 12

    def __getitem__(self, index: int) -> Tensor:
        return draw(3, seed=index) + 0.1 * torch.randn(3, dtype=DOUBLE) + float(np.random.rand())  # noqa: NPY002


class Endless(IterableDataset[Tensor]):
    def __iter__(self) -> Iterator[Tensor]:
        while True:
            yield torch.randn(3, dtype=DOUBLE)


def square(model: Any, batch: Tensor) -> Tensor:
    return model(batch).square().mean()


def test_a_loader_is_passed_once_and_the_seed_fixes_it() -> None:
    model = nn.Linear(3, 2).double()

    def of(seed: int) -> gl.Problem:
        return gl.Problem.from_step(model, square, DataLoader(Shuffled(), 3, shuffle=True), seed=seed)

    torch.manual_seed(5)
    state = torch.get_rng_state()
    first, again, other = of(0), of(0), of(1)
    assert torch.equal(torch.get_rng_state(), state)
    assert first.samples == 4
    digests = [problem.describe()["data"]["sha256"] for problem in (first, again, other)]
    assert digests[0] == digests[1] != digests[2]
    histories = [gl.collect(problem, 4, 1) for problem in (first, again)]
    assert all(torch.equal(histories[0][t], histories[1][t]) for t in range(4))


def test_an_endless_stream_is_cut() -> None:
    problem = gl.Problem.from_step(nn.Linear(3, 1).double(), square, DataLoader(Endless(), 2), batches=7)
    assert problem.samples == 7


def test_batches_that_repeat_are_said_to() -> None:
    problem = gl.Problem.from_step(nn.Linear(3, 1).double(), square, [draw(2, 3, seed=s) for s in range(5)])
    history = gl.collect(problem, iterations=11, batch_size=1)
    assert any("no more than 5 gradients differ" in notice for notice in history.notices)


def test_noise_of_the_step_is_refused_or_seeded() -> None:
    def noisy(model: Any, batch: Tensor) -> Tensor:
        return model(batch + torch.randn_like(batch)).square().mean()

    model, batches = nn.Linear(3, 1).double(), [draw(2, 3, seed=s) for s in range(5)]
    with pytest.raises(gl.InputError, match="random at fixed parameters"):
        gl.collect(gl.Problem.from_step(model, noisy, batches), 4, 1)
    seeded = gl.Problem.from_step(model, noisy, batches, randomness="seeded")
    a, b = gl.collect(seeded, 4, 1), gl.collect(seeded, 4, 1)
    assert all(torch.equal(a[t], b[t]) for t in range(4))


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda p: gl.gauss_newton(p), "Gauss-Newton matrix is not defined for a problem of a step"),
        (lambda p: gl.curvature.empirical_fisher(p), "Fisher matrix of samples is not defined"),
        (lambda p: gl.curvature.monte_carlo_fisher(p), "Fisher matrix of samples is not defined"),
        (lambda p: gl.hessian(p, batch_size=2), "batch_size is not defined"),
        (lambda p: gl.collect(p, 4, 1, engine="vmap"), "use engine='loop'"),
        (lambda p: gl.collect(p, 4, 9), "larger than the data set"),
    ],
)
def test_what_a_step_does_not_have_is_refused(ask: Callable[[gl.Problem], Any], message: str) -> None:
    problem = gl.Problem.from_step(nn.Linear(3, 1).double(), square, [draw(2, 3, seed=s) for s in range(5)])
    with pytest.raises(gl.InputError, match=message):
        ask(problem)


@pytest.mark.parametrize(
    ("step", "data", "message"),
    [
        ("loss", [1], "step must be callable"),
        (square, [], "no batch"),
        (square, draw(4, 3), "got one Tensor"),
        (square, {"x": draw(4, 3)}, "got one dict"),
        (square, 7, "can be iterated over, got int"),
        (lambda model, batch: model(batch), [draw(2, 3)] * 3, r"must return one number.*got shape \(2, 1\)"),
        (lambda model, batch: None, [draw(2, 3)] * 3, "must return one number.*got NoneType"),
        (lambda model, batch: batch.sum(), [draw(2, 3)] * 3, "does not depend on any of the analysed parameters"),
    ],
)
def test_what_is_no_step_is_refused(step: Any, data: Any, message: str) -> None:
    with pytest.raises(gl.InputError, match=message):
        gl.collect(gl.Problem.from_step(nn.Linear(3, 1).double(), step, data), 2, 1)


def test_a_step_that_counts_its_calls_is_refused() -> None:
    class Counting:
        def __init__(self) -> None:
            self.calls = [0]

        def __call__(self, model: Any, batch: Tensor) -> Tensor:
            _STEPS.append(1)
            return model(batch).square().mean() * len(_STEPS)

    problem = gl.Problem.from_step(nn.Linear(3, 1).double(), Counting(), [draw(2, 3, seed=s) for s in range(5)])
    with pytest.raises(gl.InputError, match="two passes over the same minibatch"):
        gl.collect(problem, 4, 1)


_STEPS: list[int] = []
