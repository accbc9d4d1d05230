import itertools
import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.utils import clip_grad_norm_, clip_grad_value_

import gradlaw as gl
from gradlaw.history.transform_order import check_order, start_transforms
from gradlaw.history.transform_text import describe, parse_transform
from gradlaw.history.transforms import Adam, ClipByNorm, ClipByValue, Momentum, Rows, WeightDecay

ITERATIONS = 40
TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-6}
ONE_OF_EACH = (ClipByNorm(1.0), ClipByValue(0.1), WeightDecay(0.01), Momentum(), Adam())


class _PartlyUsed(nn.Module):
    """A network that never calls one of its layers."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.idle, self.last = nn.Linear(7, 5), nn.Linear(3, 3), nn.Linear(5, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.last(torch.tanh(self.first(inputs)))


def _problem(dtype: torch.dtype = torch.float64) -> gl.Problem:
    torch.manual_seed(1)
    inputs = torch.randn(64, 7, dtype=torch.float64).to(dtype)
    return gl.Problem(_PartlyUsed().double().to(dtype), cross_entropy, (inputs, torch.randint(3, (64,))))


def _history(problem: gl.Problem) -> gl.GradientHistory:
    return gl.collect(problem, ITERATIONS, 4)


def _apply(transforms, problem: gl.Problem, history: gl.GradientHistory, chunk: int = 7) -> Tensor:
    rows = history.gradients.clone()
    apply = start_transforms(transforms, Rows(problem, history.unused))
    for start in range(0, len(rows), chunk):
        apply(rows[start : start + chunk])
    return rows


def _optimiser_updates(problem, history, make_optimiser, clip=lambda parameters: None) -> Tensor:
    """What an optimiser of learning rate 1 subtracts from theta, which is put back after every step."""
    theta = [p.detach().clone() for p in problem.parameters()]
    parameters = [nn.Parameter(p.clone()) for p in theta]
    optimiser = make_optimiser(parameters)
    updates = []
    for row in history.gradients:
        for part, parameter in zip(problem.layout, parameters, strict=True):
            used = part.name not in history.unused
            parameter.grad = row[part.start : part.stop].view(part.shape).clone() if used else None
        clip(parameters)
        optimiser.step()
        updates.append(torch.cat([(p - q.detach()).reshape(-1) for p, q in zip(theta, parameters, strict=True)]))
        for before, parameter in zip(theta, parameters, strict=True):
            parameter.data.copy_(before)
    return torch.stack(updates)


def _sgd(**settings):
    return lambda parameters: torch.optim.SGD(parameters, lr=1.0, **settings)


def _adam(kind=torch.optim.Adam, **settings):
    return lambda parameters: kind(parameters, lr=1.0, **settings)


CASES = {
    "nothing": ((), _sgd(), None),
    "clip-norm": ((ClipByNorm(0.8),), _sgd(), lambda p: clip_grad_norm_(p, 0.8)),
    "clip-norm-1": ((ClipByNorm(3.0, 1.0),), _sgd(), lambda p: clip_grad_norm_(p, 3.0, 1.0)),
    "clip-norm-inf": ((ClipByNorm(0.2, math.inf),), _sgd(), lambda p: clip_grad_norm_(p, 0.2, math.inf)),
    "clip-value": ((ClipByValue(0.1),), _sgd(), lambda p: clip_grad_value_(p, 0.1)),
    "weight-decay": ((WeightDecay(0.1),), _sgd(weight_decay=0.1), None),
    "momentum": ((Momentum(0.9),), _sgd(momentum=0.9), None),
    "dampening": ((Momentum(0.8, 0.3),), _sgd(momentum=0.8, dampening=0.3), None),
    "nesterov": ((Momentum(0.9, nesterov=True),), _sgd(momentum=0.9, nesterov=True), None),
    "adam": ((Adam(),), _adam(), None),
    "adam-settings": ((Adam((0.5, 0.9), 1e-4),), _adam(betas=(0.5, 0.9), eps=1e-4), None),
    "amsgrad": ((Adam((0.9, 0.5), amsgrad=True),), _adam(betas=(0.9, 0.5), amsgrad=True), None),
    "adam-weight-decay": ((WeightDecay(0.1), Adam()), _adam(weight_decay=0.1), None),
    "adamw": ((Adam(), WeightDecay(0.1)), _adam(torch.optim.AdamW, weight_decay=0.1), None),
    "adamw-clipped": (
        (ClipByNorm(0.8), Adam(amsgrad=True), WeightDecay(0.1)),
        _adam(torch.optim.AdamW, weight_decay=0.1, amsgrad=True),
        lambda p: clip_grad_norm_(p, 0.8),
    ),
    "sgd-in-full": (
        (ClipByNorm(0.8), WeightDecay(0.1), Momentum(0.9, nesterov=True)),
        _sgd(momentum=0.9, nesterov=True, weight_decay=0.1),
        lambda p: clip_grad_norm_(p, 0.8),
    ),
    "two-clippings": (
        (ClipByValue(0.1), ClipByNorm(0.5), WeightDecay(0.01), Momentum(0.5, 0.2)),
        _sgd(momentum=0.5, dampening=0.2, weight_decay=0.01),
        lambda p: (clip_grad_value_(p, 0.1), clip_grad_norm_(p, 0.5)),
    ),
}


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("case", CASES)
def test_updates_equal_those_of_torch_step_by_step(case, dtype):
    transforms, make_optimiser, clip = CASES[case]
    problem = _problem(dtype)
    history = _history(problem)
    expected = _optimiser_updates(problem, history, make_optimiser, clip or (lambda parameters: None))
    updates = _apply(transforms, problem, history)
    assert updates.dtype == dtype
    torch.testing.assert_close(updates, expected, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])
    if transforms:
        assert not torch.allclose(updates, history.gradients, atol=1e-3)


def test_some_gradients_are_clipped_and_some_are_not():
    history = _history(_problem())
    norms = history.gradients.norm(dim=1)
    assert 0 < (norms > 0.8).sum() < ITERATIONS
    clipped = _apply((ClipByNorm(0.8),), _problem(), history)
    small = norms < 0.8 - 1e-6
    assert torch.equal(clipped[small], history.gradients[small])
    assert clipped.norm(dim=1).max() < 0.8


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("n", [1, 13, 70_001])  # the last is split over threads
@pytest.mark.parametrize("transforms", [case[0] for case in CASES.values()], ids=list(CASES))
def test_chunks_do_not_matter_to_the_last_bit(transforms, n, dtype):
    layer = nn.Linear(n, 1, bias=False).to(dtype)
    problem = gl.Problem(layer, nn.functional.mse_loss, (torch.randn(2, n, dtype=dtype), torch.randn(2, 1)))
    rows = torch.randn(30, n, dtype=dtype)

    def by(chunk: int) -> Tensor:
        apply = start_transforms(transforms, Rows(problem))
        chunks = [piece.clone() for piece in rows.split(chunk)]
        for piece in chunks:
            apply(piece)
        return torch.cat(chunks)

    whole = by(30)
    assert all(torch.equal(by(chunk), whole) for chunk in (1, 7, 16))


@pytest.mark.parametrize("order", [(WeightDecay(0.1), Momentum()), (Adam(), WeightDecay(0.1))])
def test_unused_parameters_stay_zero(order):
    problem = _problem()
    history = _history(problem)
    assert history.unused == ["idle.weight", "idle.bias"]
    updates = _apply(order, problem, history)
    for part in problem.layout:
        piece = updates[:, part.start : part.stop]
        assert (piece == 0).all() == (part.name in history.unused)


def test_elements_that_are_always_zero_get_no_update():
    problem = _problem()
    rows = torch.zeros(5, problem.dimensions, dtype=torch.float64)
    for transform in (ClipByNorm(1.0), Momentum(), Adam(eps=1e-30)):
        start_transforms((transform,), Rows(problem))(rows)
        assert (rows == 0).all()


def test_a_part_of_the_parameters_is_clipped_by_its_own_norm():
    whole = _problem()
    part = gl.Problem(whole.model, whole.loss, whole.data, "last.*")
    history = _history(part)
    clipped = _apply((ClipByNorm(0.1),), part, history)
    expected = _optimiser_updates(part, history, _sgd(), lambda parameters: clip_grad_norm_(parameters, 0.1))
    torch.testing.assert_close(clipped, expected, rtol=1e-12, atol=1e-12)


def test_half_precision_models_take_float32_state():
    problem = _problem(torch.bfloat16)
    rows = torch.randn(5, problem.dimensions)
    start_transforms((WeightDecay(0.1), Adam()), Rows(problem))(rows)
    assert torch.isfinite(rows).all()


def test_a_start_is_a_fresh_start():
    problem = _problem()
    history = _history(problem)
    transforms = (WeightDecay(0.1), Momentum())
    first = _apply(transforms, problem, history)
    assert torch.equal(first, _apply(transforms, problem, history))
    assert all(p.grad is None for p in problem.model.parameters())


def test_every_order_of_two_is_an_optimisers_or_refused():
    allowed = {(type(a), type(b)) for a, b in itertools.product(ONE_OF_EACH, ONE_OF_EACH) if _accepted(a, b)}
    clippings, updates = (ClipByNorm, ClipByValue), (Momentum, Adam)
    assert allowed == {
        *itertools.product(clippings, (*clippings, WeightDecay, *updates)),
        *itertools.product((WeightDecay,), updates),
        *itertools.product(updates, (WeightDecay,)),
    }


def _accepted(*transforms) -> bool:
    try:
        check_order(transforms)
    except gl.InputError:
        return False
    return True


@pytest.mark.parametrize(
    ("transforms", "message"),
    [
        ((Momentum(), ClipByNorm(1.0)), "after momentum=0.9.*clip the gradient, not the update"),
        ((WeightDecay(0.1), ClipByValue(1.0)), "after weight-decay=0.1.*the problem's loss"),
        ((WeightDecay(0.1), Adam(), WeightDecay(0.2)), "one weight decay, got weight-decay=0.1 and weight-decay=0.2"),
        ((Momentum(), Adam()), "one of momentum and Adam"),
        (Momentum(), "must be a sequence"),
        (("momentum",), "must be a sequence of ClipByNorm"),
        ((Momentum,), "must be a sequence of ClipByNorm"),
    ],
)
def test_refused_orders_say_why(transforms, message):
    with pytest.raises(gl.InputError, match=message):
        start_transforms(transforms, Rows(_problem()))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ClipByNorm(0.0), "max_norm must be positive"),
        (lambda: ClipByNorm(math.nan), "max_norm must be positive"),
        (lambda: ClipByNorm("1"), "max_norm must be positive and finite, got '1'"),
        (lambda: ClipByNorm(1.0, 0.5), "norm_type must be at least 1"),
        (lambda: ClipByValue(-1.0), "value must be positive"),
        (lambda: WeightDecay(-0.1), "coefficient must be finite and not negative"),
        (lambda: Momentum(0.0), "beta must be between 0 and 1"),
        (lambda: Momentum(1.0), "beta must be between 0 and 1"),
        (lambda: Momentum(0.9, 1.0), "dampening must be at least 0"),
        (lambda: Momentum(0.9, 0.1, nesterov=True), "no dampening"),
        (lambda: Adam(0.9), "betas must be two numbers"),
        (lambda: Adam((0.9, 1.0)), "each of betas must be at least 0 and below 1, got 1.0"),
        (lambda: Adam(eps=0.0), "eps must be at least"),
    ],
)
def test_settings_out_of_range(make, message):
    with pytest.raises(gl.InputError, match=message):
        make()


@pytest.mark.parametrize(
    ("text", "transform"),
    [
        ("clip-norm=1.0", ClipByNorm(1.0)),
        ("clip-norm=2,inf", ClipByNorm(2.0, math.inf)),
        ("clip-value=0.1", ClipByValue(0.1)),
        ("weight-decay=5e-4", WeightDecay(5e-4)),
        ("momentum", Momentum()),
        ("momentum=0.8", Momentum(0.8)),
        ("momentum=nesterov", Momentum(nesterov=True)),
        ("momentum=0.8,dampening=0.1", Momentum(0.8, 0.1)),
        ("adam", Adam()),
        ("adam=0.8,0.99", Adam((0.8, 0.99))),
        ("adam=0.8,0.99,1e-6,amsgrad", Adam((0.8, 0.99), 1e-6, True)),
        ("adam=eps=1e-6", Adam(eps=1e-6)),
    ],
)
def test_transforms_as_text(text, transform):
    assert parse_transform(text) == transform
    assert parse_transform(describe(transform)) == transform


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sgd", r"unknown transform 'sgd'; there are clip-norm=MAX_NORM\[,NORM_TYPE\], .*adam\[=BETA1,.*amsgrad\]"),
        ("", "unknown transform ''; there are clip-norm"),
        ("clip-norm", "lacks a value: clip-norm=MAX_NORM"),
        ("clip-norm=", "lacks a value: clip-norm=MAX_NORM"),
        ("clip-norm=big", "cannot read 'big'; write clip-norm=MAX_NORM"),
        ("clip-value=1,2", "cannot read '2'; write clip-value=VALUE"),
        ("momentum=0.9,beta=0.8", "gives beta twice"),
        ("momentum=0.9,nesterov=1", "cannot read 'nesterov=1'"),
        ("momentum=1.5", "transform 'momentum=1.5': beta must be between"),
        ("adam=0.9,0.999,1e-8,0.1", "cannot read '0.1'"),
        ("adam=0.9,,", "cannot read ''"),
    ],
)
def test_text_that_is_no_transform(text, message):
    with pytest.raises(gl.InputError, match=message):
        parse_transform(text)
