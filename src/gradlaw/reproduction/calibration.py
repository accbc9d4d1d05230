"""What the work of a reproduction costs on this device, from a few short runs of the real thing."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import torch

from gradlaw.curvature.operators.hessian import hessian
from gradlaw.history import collect
from gradlaw.problem import Problem
from gradlaw.reproduction.experiment import NetworkSpec
from gradlaw.reproduction.measure import Context, model_settings
from gradlaw.spectra.gram.dense import gram_matrix
from gradlaw.stats import gradient_tests
from gradlaw.training import Recipe, train
from gradlaw.zoo import MODELS

_SIZE, _WIDTH = 600, 8192  # of the matrices that are timed
_BATCHES = 10, 100
_ITERATIONS, _FEWER_ITERATIONS = (4, 20), (2, 4)
_LARGE = 10**6  # parameters
_STEPS = 4
_SAMPLES = 512


def _seconds(work: Callable[[], object]) -> float:
    """The better of two runs."""
    times = []
    for _ in range(2):
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

    @cached_property
    def iteration_seconds(self) -> tuple[float, float]:
        """Of one iteration of a history: in any case, and for each sample of the minibatch."""
        small, large = (self._per_iteration(size) for size in _BATCHES)
        slope = max(0.0, (large - small) / (_BATCHES[1] - _BATCHES[0]))
        return max(1e-6, small - slope * _BATCHES[0]), slope

    def _per_iteration(self, batch_size: int) -> float:
        few, more = _ITERATIONS if self.problem.dimensions < _LARGE else _FEWER_ITERATIONS
        seconds = {}
        for iterations in (few, few, more):  # the first time warms up
            start = time.perf_counter()
            collect(self.problem, iterations, batch_size)
            seconds[iterations] = time.perf_counter() - start
        return max(1e-6, (seconds[more] - seconds[few]) / (more - few))

    def epoch_seconds(self, recipe: Recipe, samples: int) -> float:
        """One epoch of a training, from some of its steps."""
        assert isinstance(self.problem.data, tuple)
        some = tuple(part[: _STEPS * recipe.batch_size] for part in self.problem.data)
        short = replace(recipe, epochs=1, milestones=())
        seconds = _seconds(lambda: train(self.problem.model, self.problem.loss, some, None, short, device=self.device))
        return seconds * samples / len(some[0])

    def product_seconds(self, batch_size: int | None) -> float:
        """One Hessian-vector product, a sample."""
        used = min(_SAMPLES, self.problem.samples)
        operator = hessian(self.problem, used, batch_size=batch_size)
        vector = torch.ones(self.problem.dimensions, device=self.problem.device, dtype=self.problem.dtype)
        return _seconds(lambda: operator @ vector) / used


def network_costs(context: Context, network: NetworkSpec) -> NetworkCosts:
    """Of a network at random."""
    data = context.data.load(network, None, 0)
    model = model_settings(network, data.sample_shape, 0).build()
    return NetworkCosts(Problem(model, MODELS[network.model].loss, data, device=context.device), context.device)
