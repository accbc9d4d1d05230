"""Squared norms of microbatches, against plain autograd."""

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from gradlaw.errors import InputError
from gradlaw.watch.microbatches import MicrobatchNorms, inner

F = nn.functional


class Tied(nn.Module):
    """An embedding that is also the output, and a layer that is used twice."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(11, 6)
        self.mix = nn.Linear(6, 6)
        self.norm = nn.LayerNorm(6)
        self.unused = nn.Linear(2, 2)

    def forward(self, tokens):
        x = self.embedding(tokens)
        x = torch.tanh(self.mix(torch.tanh(self.mix(x))))
        return F.linear(self.norm(x), self.embedding.weight)


def tied(dtype=torch.float64):
    torch.manual_seed(3)
    return Tied().to(dtype)


def batches(*sizes):
    generator = torch.Generator().manual_seed(5)
    return [torch.randint(11, (size, 4), generator=generator) for size in sizes]


def mean_loss(model, tokens):
    return F.cross_entropy(model(tokens).flatten(0, 1), tokens.roll(1, dims=1).flatten())


def layers(model):
    return {name: [p] for name, p in model.named_parameters()}


def alone(model, loss):
    """The gradients of one loss by plain autograd, a copy of the model for each; zeros where there is none."""
    clone = copy.deepcopy(model)
    clone.zero_grad()
    loss(clone).backward()
    return gradients(clone)


def gradients(model):
    return [torch.zeros_like(p) if p.grad is None else p.grad for p in model.parameters()]


def same(found, expected, rtol=1e-12):
    """Equal but for rounding."""
    np.testing.assert_allclose(found, expected, rtol=rtol, atol=rtol * np.max(expected))


def squares(gradients):
    return [float(g.double().square().sum()) for g in gradients]


def watched(model, parts, losses, **arguments):
    """What the hooks say after the losses' backward passes."""
    norms = MicrobatchNorms(layers(model), microbatches=parts)
    norms.start()
    for loss in losses:
        loss(model).backward()
    return norms.finish(**arguments)


@pytest.mark.parametrize("divided", [True, False])
def test_norms_are_those_of_microbatches_alone(divided):
    model, parts = tied(), batches(3, 3, 3)
    scale = 3 if divided else 1
    step = watched(model, 3, [lambda m, x=x: mean_loss(m, x) / scale for x in parts], sizes=3)
    expected = [squares(alone(model, lambda m, x=x: mean_loss(m, x) * 3 / scale)) for x in parts]
    same(step.small_squared_norms, expected)
    same(step.big_squared_norm, squares(gradients(model)))
    assert (step.big_batch, step.small_batch.tolist()) == (9, [3, 3, 3])
    if divided:
        whole = squares(alone(model, lambda m: mean_loss(m, torch.cat(parts))))
        same(step.big_squared_norm, whole)


def test_microbatches_of_different_sizes():
    parts = batches(1, 2, 5)
    expected = [squares(alone(tied(), lambda m, x=x: mean_loss(m, x))) for x in parts]
    by_samples = watched(
        tied(), 3, [lambda m, x=x: mean_loss(m, x) * len(x) / 8 for x in parts], sizes=[1, 2, 5], weights="samples"
    )
    equal = watched(tied(), 3, [lambda m, x=x: mean_loss(m, x) / 3 for x in parts], sizes=[1, 2, 5], weights="equal")
    for step in (by_samples, equal):
        same(step.small_squared_norms, expected)
    np.testing.assert_allclose(equal.weights, 1 / 3)
    np.testing.assert_allclose(by_samples.weights, np.array([1, 2, 5]) / 8)
    with pytest.raises(InputError, match="weights='samples' if"):
        watched(tied(), 3, [lambda m, x=x: mean_loss(m, x) for x in parts], sizes=[1, 2, 5])


def test_a_graph_that_is_kept_and_used_twice_is_two_passes():
    model, tokens = tied(), batches(4)[0]
    norms = MicrobatchNorms(layers(model), microbatches=2)
    norms.start()
    loss = mean_loss(model, tokens)
    loss.backward(retain_graph=True)
    loss.backward()
    step = norms.finish(sizes=4)
    expected = squares(alone(model, lambda m: 2 * mean_loss(m, tokens)))
    same(step.small_squared_norms, [expected, expected])


def test_two_losses_of_a_microbatch_are_refused():
    model, parts = tied(), batches(3, 3)
    losses = [lambda m, x=x, scale=scale: scale * mean_loss(m, x) for x in parts for scale in (1, 0.1)]
    with pytest.raises(InputError, match=r"embedding\.weight' got 4 gradients"):
        watched(model, 2, losses, sizes=3)


def test_a_parameter_that_a_microbatch_does_not_use_is_refused():
    model, parts = tied(), batches(3, 3)
    losses = [lambda m: mean_loss(m, parts[0]), lambda m: m.embedding(parts[1]).square().mean()]
    with pytest.raises(InputError, match=r"'mix\.weight' got 1 gradients"):
        watched(model, 2, losses, sizes=3)


@pytest.mark.parametrize(
    ("used", "message"),
    [
        (["ab", "a", "b"], "there were 3 passes"),
        (["a", "ab", "b"], "3 passes"),
        (["a", "a", "b", "b"], r"\[1, 2\] of 4"),
    ],
)
def test_gradients_of_which_it_is_unknown_whose_they_are_are_refused(used, message):
    leaves = {name: nn.Parameter(torch.ones(3)) for name in "ab"}
    norms = MicrobatchNorms({name: [leaf] for name, leaf in leaves.items()}, microbatches=2)
    norms.start()
    for names in used:
        sum(leaves[name].sum() for name in names).backward()
    with pytest.raises(InputError, match=message):
        norms.finish(sizes=1)


def test_a_microbatch_may_have_a_loss_for_each_part_of_a_model():
    leaves = {name: nn.Parameter(torch.ones(3)) for name in "ab"}
    norms = MicrobatchNorms({name: [leaf] for name, leaf in leaves.items()}, microbatches=2)
    norms.start()
    for factor, name in enumerate("abab"):
        (factor * leaves[name].sum()).backward()
    assert norms.finish(sizes=1).small_squared_norms.tolist() == [[0, 12], [48, 108]]


@pytest.mark.parametrize("reentrant", [True, False])
def test_gradient_checkpointing(reentrant):
    model, parts = tied(), batches(3, 3)

    def loss(m, tokens):
        x = m.embedding(tokens)
        x = checkpoint(lambda y: torch.tanh(m.mix(torch.tanh(m.mix(y)))), x, use_reentrant=reentrant)
        return F.cross_entropy(F.linear(m.norm(x), m.embedding.weight).flatten(0, 1), tokens.flatten())

    step = watched(model, 2, [lambda m, x=x: loss(m, x) / 2 for x in parts], sizes=3)
    expected = [squares(alone(model, lambda m, x=x: loss(m, x))) for x in parts]
    same(step.small_squared_norms, expected)


def test_a_parameter_shared_by_reentrant_checkpoints_is_refused():
    model, parts = tied(), batches(3, 3)

    def loss(m, tokens):
        x = m.norm(m.embedding(tokens))
        for _ in range(2):
            x = checkpoint(lambda y: torch.tanh(m.mix(y)), x, use_reentrant=True)
        return x.square().mean()

    with pytest.raises(InputError, match=r"'mix\.weight' got 4 gradients"):
        watched(model, 2, [lambda m, x=x: loss(m, x) for x in parts], sizes=3)


def test_autocast():
    model, parts = tied(torch.float32), batches(3, 3)

    def loss(m, tokens):
        with torch.autocast("cpu", torch.bfloat16):
            return mean_loss(m, tokens) / 2

    step = watched(model, 2, [lambda m, x=x: loss(m, x) for x in parts], sizes=3)
    expected = [squares(alone(model, lambda m, x=x: 2 * loss(m, x))) for x in parts]
    same(step.small_squared_norms, expected, rtol=1e-5)


def test_half_precision_parameters():
    model, parts = tied(torch.bfloat16), batches(3, 3)
    step = watched(model, 2, [lambda m, x=x: mean_loss(m, x) / 2 for x in parts], sizes=3)
    expected = [squares(alone(model, lambda m, x=x: mean_loss(m, x) / 2)) for x in parts]
    same(step.small_squared_norms / 4, expected, rtol=1e-5)


def test_scaled_losses():
    model, parts = tied(), batches(3, 3)
    plain = watched(tied(), 2, [lambda m, x=x: mean_loss(m, x) / 2 for x in parts], sizes=3)
    scaled = watched(model, 2, [lambda m, x=x: 1024 * mean_loss(m, x) / 2 for x in parts], sizes=3, unscaled_by=1024)
    same(scaled.small_squared_norms, plain.small_squared_norms)
    same(scaled.big_squared_norm, plain.big_squared_norm)


def test_clipping_after_the_last_pass_changes_nothing():
    model, parts = tied(), batches(3, 3)
    norms = MicrobatchNorms(layers(model), microbatches=2)
    norms.start()
    for tokens in parts:
        (mean_loss(model, tokens) / 2).backward()
    before = squares(gradients(model))
    nn.utils.clip_grad_norm_(model.parameters(), 1e-3)
    same(norms.finish(sizes=3).big_squared_norm, before)


@pytest.mark.parametrize("when", ["before", "between"])
def test_gradients_that_do_not_add_up_are_refused(when):
    model, parts = tied(), batches(3, 3)
    norms = MicrobatchNorms(layers(model), microbatches=2)
    if when == "before":
        mean_loss(model, parts[0]).backward()
    norms.start()
    mean_loss(model, parts[0]).backward()
    if when == "between":
        nn.utils.clip_grad_norm_(model.parameters(), 1e-3)
        model.embedding.weight.grad.add_(1)
    mean_loss(model, parts[1]).backward()
    with pytest.raises(InputError, match=r"do not add up to its \.grad"):
        norms.finish(sizes=3)


def test_a_gradient_that_is_asked_for_beside_the_loop_is_found():
    model, parts = tied(), batches(3, 3)
    norms = MicrobatchNorms({"mix": [model.mix.weight]}, microbatches=2)
    norms.start()
    torch.autograd.grad(mean_loss(model, parts[0]), [model.mix.weight])
    mean_loss(model, parts[1]).backward()
    with pytest.raises(InputError, match=r"do not add up to its \.grad"):
        norms.finish(sizes=3)


def test_sparse_gradients_are_refused():
    embedding = nn.Embedding(5, 2, sparse=True)
    norms = MicrobatchNorms({"embedding": [embedding.weight]}, microbatches=2)
    norms.start()
    embedding(torch.tensor([1])).sum().backward()
    with pytest.raises(InputError, match="sparse gradient"):
        norms.finish(sizes=1)


def test_overflow_passes_through():
    parameter = nn.Parameter(torch.ones(2))
    norms = MicrobatchNorms({"p": [parameter]}, microbatches=2)
    norms.start()
    for factor in (float("inf"), 1.0):
        (parameter * factor).sum().backward()
    assert not np.isfinite(norms.finish(sizes=1).small_squared_norms).all()


def test_hooks_leave_nothing_behind():
    model = tied()
    norms = MicrobatchNorms(layers(model), microbatches=2)
    norms.start()
    norms.start()
    norms.stop()
    assert not any(p._backward_hooks or p._post_accumulate_grad_hooks for p in model.parameters())
    with pytest.raises(InputError, match="start"):
        norms.finish(sizes=1)


def test_wrong_arguments():
    leaf = nn.Parameter(torch.ones(2))
    for wrong, message in (
        (lambda: MicrobatchNorms({}, 2), "no layer"),
        (lambda: MicrobatchNorms({"a": [leaf * 2]}, 2), "no leaf"),
        (lambda: MicrobatchNorms({"a": [leaf]}, 1), "at least 2"),
    ):
        with pytest.raises(InputError, match=message):
            wrong()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_inner_products_of_many_values(dtype):
    generator = torch.Generator().manual_seed(0)
    a = torch.randn(1000, 1001, generator=generator).to(dtype)
    b = a.T.contiguous().T + 1
    assert float(inner(a, b)) == pytest.approx(float((a.double() * b.double()).sum()), rel=1e-5)
