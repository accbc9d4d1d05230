"""The plan of a reproduction: time, memory and disk of each task on this device, estimated before any is done."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

from gradlaw.reproduction.calibration import Machine, NetworkCosts, network_costs
from gradlaw.reproduction.experiment import ANGLES, HESSIAN, Point
from gradlaw.reproduction.measure import TrainingTask, Workplace, model_settings
from gradlaw.reproduction.measurement import Measurement
from gradlaw.reproduction.tasks import Task
from gradlaw.resources import free_memory

_BASE_MEMORY = 5e8  # of a process that holds torch and a data set
_EXTRA_SPECTRA = 1.3  # the second moment beside the covariance, and spectra of fewer iterations
_PRODUCTS_PER_EIGENVALUE = 3.0
_RESULT_BYTES = 2e5


@dataclass(frozen=True)
class Cost:
    """An estimate: seconds, bytes of memory at the peak, bytes left on disk."""

    seconds: float
    memory: float
    disk: float


class Planner:
    """Estimates tasks; each network and each operation is timed once, for a second or two."""

    def __init__(self, workplace: Workplace):
        self.workplace, self.machine = workplace, Machine()
        self._costs = cache(lambda point: network_costs(workplace, point))
        self._epoch = cache(lambda point, recipe: self._costs(point).epoch_seconds(recipe, self._samples(point)))

    def costs(self, tasks: Sequence[Task]) -> dict[Task, Cost]:
        """Of each task."""
        return {task: self.cost(task) for task in tasks}

    def cost(self, task: Task) -> Cost:
        """Of one task."""
        if isinstance(task, TrainingTask):
            return self._training(task)
        return self._hessian(task) if task.study.kind == HESSIAN else self._history(task)

    def _training(self, task: TrainingTask) -> Cost:
        share = 1.0 if task.samples is None else task.samples / self._samples(task.point)
        seconds = self._epoch(_base(task.point), replace(task.recipe, epochs=1, milestones=())) * share
        weights = 4.0 * self._dimensions(task.point)
        return Cost(seconds * task.recipe.epochs, _BASE_MEMORY + 8 * weights, 3 * weights)

    def _hessian(self, m: Measurement) -> Cost:
        n, samples = self._dimensions(m.study.point), m.loss_samples or self._samples(m.study.point)
        products = min(_PRODUCTS_PER_EIGENVALUE * m.k, n)
        seconds = products * samples * self._network(m.study.point).product_seconds(m.study.batch_size)
        seconds += products**2 * n / self.machine.gram_rate
        return Cost(seconds, _BASE_MEMORY + 8 * products * n, _RESULT_BYTES)

    def _history(self, m: Measurement) -> Cost:
        assert m.iterations is not None
        t, n = m.iterations, self._dimensions(m.study.point)
        seconds = self._collection(m, t, n)
        gram = t**2 * n / 2 / self.machine.gram_rate
        eigenvalues = self.machine.eigenvalue_seconds * t**3
        if m.study.kind == ANGLES:
            seconds += 2 * gram + 8 * eigenvalues
        else:
            seconds += gram + _EXTRA_SPECTRA * eigenvalues + 2 * t * n * self.machine.test_seconds
        history = 4.0 * t * n
        on_disk = history if history > free_memory(self._network(m.study.point).problem.device) / 2 else 0.0
        return Cost(seconds, _BASE_MEMORY + history - on_disk + 24.0 * t**2, _RESULT_BYTES + 16.0 * t + on_disk)

    def _collection(self, m: Measurement, t: int, n: int) -> float:
        """In proportion to B, or every sample once and minibatches as means of samples."""
        batch_size, point = m.study.batch_size or 1, m.study.point
        fixed, slope = self._network(point).iteration_seconds
        samples = self._samples(point)
        batched = t * (fixed + slope * batch_size)
        once = samples * slope + t * min(batch_size, samples) * n / (2 * self.machine.gram_rate)
        return min(batched, once) if "bn" not in point.model and point.model not in ("fcn", "resnet18") else batched

    def _network(self, point: Point) -> NetworkCosts:
        return self._costs(_base(point))

    def _dimensions(self, point: Point) -> int:
        data = self._network(point).problem.data
        assert isinstance(data, tuple)
        model = model_settings(point, tuple(data[0].shape[1:]), 0).build()
        return sum(p.numel() for p in model.parameters())

    def _samples(self, point: Point) -> int:
        return self._network(point).problem.samples


def _base(point: Point) -> Point:
    """The network that is timed: trained ones cost as much as random ones, other widths and depths about as much."""
    width = point.width if point.model == "resnet18" else None
    return Point(point.data, point.model, width)
