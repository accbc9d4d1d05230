"""What the work of a reproduction costs on this device, from a few short runs of the real thing."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import torch

from gradlaw.curvature.operators.hessian import hessian
from gradlaw.history import collect
from gradlaw.history.engines.loop import LoopEngine
from gradlaw.minibatches import Minibatches
from gradlaw.problem import Problem
from gradlaw.reproduction.experiment import NetworkSpec
from gradlaw.reproduction.measure import Context, model_settings
from gradlaw.spectra.gram.dense import gram_matrix
from gradlaw.stats import gradient_tests
from gradlaw.training import Recipe, train
from gradlaw.zoo import MODELS

_SIZE, _WIDTH = 600, 8192  # of the matrices that are timed
_LONG = 1.0  # seconds of a run that is not repeated
_BATCHES = 10, 100
_ITERATIONS = 4, 20
_LARGE = 10**6  # parameters
_STEPS, _FEWER_STEPS = 4, 1
_SAMPLES = 512


def _seconds(work: Callable[[], object]) -> float:
    """The better of two runs, or the first if it is a long one."""
    times: list[float] = []
    while not times or (len(times) < 2 and times[0] < _LONG):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


class Machine:
    """Rates of the linear algebra and the tests, measured once each."""

    @cached_property
    def gram_rate(self) -> float:
        """Multiply-adds a second of a Gram matrix in float64."""
        matrix = torch.randn(_SIZE, _WIDTH)
        return _SIZE**2 * _WIDTH / 2 / _seconds(lambda: gram_matrix(matrix))

    @cached_property
    def eigenvalue_seconds(self) -> float:
        """Seconds a T^3 of the eigenvalues of a T x T matrix."""
        matrix = torch.randn(_SIZE, _SIZE, dtype=torch.float64)
        matrix = matrix + matrix.T
        return _seconds(lambda: torch.linalg.eigvalsh(matrix)) / _SIZE**3

    @cached_property
    def test_seconds(self) -> float:
        """Seconds a value of the tests in one direction."""
        matrix = torch.randn(64, _WIDTH)
        return _seconds(lambda: gradient_tests(matrix, "dimension", 100, 100)) / matrix.numel()


@dataclass
class NetworkCosts:
    """Times of one network: of an iteration, of an epoch of training, of a Hessian-vector product."""

    problem: Problem
    device: str | None

    @property
    def _large(self) -> bool:
        return self.problem.dimensions >= _LARGE

    @cached_property
    def iteration_seconds(self) -> tuple[float, float]:
        """Of one iteration of a history: in any case, and for each sample of the minibatch."""
        small, large = (self._by_loop(size) if self._large else self._per_iteration(size) for size in _BATCHES)
        slope = max(0.0, (large - small) / (_BATCHES[1] - _BATCHES[0]))
        return max(1e-6, small - slope * _BATCHES[0]), slope

    def _per_iteration(self, batch_size: int) -> float:
        few, more = _ITERATIONS
        seconds = {}
        for iterations in (few, few, more):  # the first time warms up
            start = time.perf_counter()
            collect(self.problem, iterations, batch_size)
            seconds[iterations] = time.perf_counter() - start
        return max(1e-6, (seconds[more] - seconds[few]) / (more - few))

    def _by_loop(self, batch_size: int) -> float:
        """One gradient by the loop, which a large network with BatchNorm takes.

        A history is checked by dozens of gradients before it begins, and a ResNet's take minutes.
        """
        engine, batch = LoopEngine(self.problem, seed=0), Minibatches(self.problem.samples, batch_size, 2)[0]
        row = torch.empty(1, self.problem.dimensions, device=self.problem.device, dtype=self.problem.dtype)

        def gradient() -> None:
            engine.gradients(0, [batch], row)
            row[0, 0].item()  # waits for the device

        return _seconds(gradient)

    def epoch_seconds(self, recipe: Recipe, samples: int) -> float:
        """One epoch of a training, from some of its steps."""
        assert isinstance(self.problem.data, tuple)
        steps = _FEWER_STEPS if self._large else _STEPS
        some = tuple(part[: steps * recipe.batch_size] for part in self.problem.data)
        short = replace(recipe, epochs=1, milestones=())
        seconds = _seconds(lambda: train(self.problem.model, self.problem.loss, some, None, short, device=self.device))
        return seconds * samples / len(some[0])

    def product_seconds(self, batch_size: int | None) -> float:
        """One Hessian-vector product, a sample."""
        used = min(_SAMPLES, self.problem.samples)
        operator = hessian(self.problem, used, batch_size=batch_size, ranks="one")
        vector = torch.ones(self.problem.dimensions, device=self.problem.device, dtype=self.problem.dtype)
        return _seconds(lambda: operator @ vector) / used


def network_costs(context: Context, network: NetworkSpec) -> NetworkCosts:
    """Of a network at random."""
    data = context.data.load(network, None, 0)
    model = model_settings(network, data.sample_shape, 0).build()
    return NetworkCosts(Problem(model, MODELS[network.model].loss, data, device=context.device), context.device)
