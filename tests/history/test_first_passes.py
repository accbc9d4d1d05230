"""What is looked at before a collection takes few passes, and still sees what it is there to see."""

import pytest
import torch
from torch import nn

import gradlaw as gl
from gradlaw.history.engines.loop import LoopEngine
from gradlaw.history.engines.preflight import inspect_problem
from gradlaw.minibatches import Minibatches

SIZE = 512  # of images whose activations are more than the 64 MB from which on a pass is large
BATCH = 4


class Counted(nn.Module):
    """Counts the samples that pass through it."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 2, 3, padding=1))
        self.samples = [0]  # in a list, which a pass does not put back

    def forward(self, x):
        self.samples[0] += len(x)
        return self.layers(x)


def weighted(outputs, targets):
    return nn.functional.cross_entropy(outputs, targets, weight=torch.tensor([0.3, 0.7], dtype=outputs.dtype))


def of_first_alone(outputs, targets):
    return outputs[0].square().mean() + 0 * targets.sum()


def large(loss, samples=8):
    torch.manual_seed(0)
    return gl.Problem(Counted(), loss, (torch.randn(samples, 1, SIZE, SIZE), torch.randint(2, (samples, SIZE, SIZE))))


def test_a_large_pass_is_hardly_repeated():
    """Two whole minibatches (one of them iteration 0), half of one in float32, float64, turned and at the end; one
    forward pass to see that the loss is no mean of samples.
    """
    problem, iterations = large(weighted), 3
    history = gl.collect(problem, iterations, BATCH)
    assert history.settings.engine == "loop"
    beside = problem.model.samples[0] / BATCH - iterations
    assert beside <= 5


def test_the_first_minibatch_is_not_computed_again_and_is_the_same():
    problem = large(weighted)
    minibatches = Minibatches(8, BATCH, 2)
    reference = LoopEngine(problem, 0)
    findings = inspect_problem(problem, minibatches, reference)
    before, rows = problem.model.samples[0], torch.empty(1, problem.dimensions)
    reference.gradients(0, [minibatches[0]], rows)
    assert problem.model.samples[0] == before
    again = LoopEngine(problem, 0)
    expected = torch.empty(1, problem.dimensions)
    again.gradients(0, [minibatches[0]], expected)
    assert torch.equal(rows, expected)
    assert torch.equal(findings.gradient, expected[0])


def test_a_loss_that_depends_on_the_order_is_seen_in_a_large_pass():
    history = gl.collect(large(of_first_alone), 3, BATCH, engine="loop")
    assert any("order of the samples" in notice for notice in history.notices)


@pytest.mark.parametrize("batch_size", [2, 20])  # all samples are observed, or the first of them
def test_a_bias_before_a_batch_norm_is_rounding_alone(batch_size):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.Tanh(), nn.Flatten(), nn.Linear(108, 2))
    problem = gl.Problem(model, nn.CrossEntropyLoss(), (torch.randn(40, 1, 8, 8), torch.randint(2, (40,))))
    assert gl.collect(problem, 4, batch_size).settings.rounding_alone == ("0.bias",)


def test_a_layer_that_the_first_samples_leave_alone_is_not_rounding():
    """Its gradient is zero in what float64 looks at, and one like any other in the rest of the minibatch."""

    class Rare(nn.Module):
        def __init__(self):
            super().__init__()
            self.common, self.rare = nn.Linear(3, 2), nn.Linear(3, 2)

        def forward(self, x):
            return self.common(x) + self.rare(x) * (x[:, :1] > 10)

    torch.manual_seed(0)
    inputs = torch.randn(60, 3)
    order = Minibatches(60, 20, 3)
    inputs[[batch[-1] for batch in order], 0] = 20.0
    problem = gl.Problem(Rare(), nn.CrossEntropyLoss(), (inputs, torch.randint(2, (60,))))
    assert gl.collect(problem, 3, 20).settings.rounding_alone == ()


class InSingleAlone(nn.Module):
    """Cannot be put into float64; a large pass, with a bias that a batch norm takes off again."""

    def __init__(self):
        super().__init__()
        self.first, self.norm, self.last = nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.Conv2d(8, 2, 1)

    def forward(self, x):
        return self.last(torch.relu(self.norm(self.first(x))))


def in_single(outputs, targets):
    return nn.functional.cross_entropy(outputs, targets, weight=torch.tensor([0.3, 0.7]))


def test_a_large_pass_without_float64_shows_rounding_alone_too():
    torch.manual_seed(0)
    data = torch.randn(8, 1, 384, 384), torch.randint(2, (8, 384, 384))
    history = gl.collect(gl.Problem(InSingleAlone(), in_single, data), 3, BATCH)
    assert history.settings.rounding_alone == ("first.bias",)
