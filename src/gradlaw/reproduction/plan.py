"""The plan of a reproduction: time, memory and disk of each task on this device, estimated before any is done."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache

from gradlaw.progress import Progress
from gradlaw.reproduction.calibration import Machine, NetworkCosts, network_costs
from gradlaw.reproduction.experiment import ANGLES, HESSIAN, NetworkSpec
from gradlaw.reproduction.formatting import duration
from gradlaw.reproduction.measure import Context, TrainingTask, model_settings
from gradlaw.reproduction.measurement import Measurement
from gradlaw.reproduction.tasks import Task, describe
from gradlaw.resources import free_memory

_BASE_MEMORY = 5e8  # of a process that holds torch and a data set
_EXTRA_SPECTRA = 1.3  # the second moment beside the covariance, and spectra of fewer iterations
_PRODUCTS_PER_EIGENVALUE = 3.0
_RESULT_BYTES = 2e5
_MOST_NAMED, _FEWER_SAMPLES = 3, 1000


@dataclass(frozen=True)
class Cost:
    """An estimate: seconds, bytes of memory at the peak, bytes left on disk."""

    seconds: float
    memory: float
    disk: float


class Planner:
    """Estimates tasks; each network and each operation is timed once, for a second or two."""

    def __init__(self, context: Context):
        self.context, self.machine = context, Machine()
        self._costs = cache(lambda network: network_costs(context, network))
        self._epoch = cache(lambda network, recipe: self._costs(network).epoch_seconds(recipe, self._samples(network)))
        self._product = cache(lambda network, batch_size: self._costs(network).product_seconds(batch_size))

    def costs(self, tasks: Sequence[Task], progress: Progress) -> dict[Task, Cost]:
        """Of each task, as they are estimated; what takes time is the timing of each network that is new."""
        costs = {}
        with progress.stage("estimate", len(tasks)) as advance:
            for task in tasks:
                known = self._costs.cache_info().misses
                costs[task] = self.cost(task)
                if self._costs.cache_info().misses > known:
                    progress.say(f"{describe(task)}: {duration(costs[task].seconds)}")
                advance(1)
        return costs

    def longest(self, costs: Mapping[Task, Cost]) -> list[str]:
        """In words: the tasks that take longest, and the setting that makes Hessians over many samples affordable."""
        total = sum(cost.seconds for cost in costs.values())
        tasks = sorted(costs, key=lambda task: costs[task].seconds, reverse=True)[:_MOST_NAMED]
        lines = [f"{describe(t)}: {duration(costs[t].seconds)}, {costs[t].seconds / total:.0%} of all" for t in tasks]
        many = {}
        for task in costs:
            if isinstance(task, Measurement) and task.experiment.kind == HESSIAN:
                samples = task.loss_samples or self._samples(task.experiment.network)
                if samples > _FEWER_SAMPLES:
                    many[task] = self._hessian(replace(task, loss_samples=_FEWER_SAMPLES)).seconds
        if many:
            before = sum(costs[task].seconds for task in many)
            lines.append(
                f"--hessian-samples {_FEWER_SAMPLES}: the {len(many)} Hessians over more samples take about "
                f"{duration(sum(many.values()))} instead of {duration(before)}"
            )
        return lines

    def cost(self, task: Task) -> Cost:
        """Of one task."""
        if isinstance(task, TrainingTask):
            return self._training(task)
        return self._hessian(task) if task.experiment.kind == HESSIAN else self._history(task)

    def _training(self, task: TrainingTask) -> Cost:
        share = 1.0 if task.samples is None else task.samples / self._samples(task.network)
        seconds = self._epoch(_base(task.network), replace(task.recipe, epochs=1, milestones=())) * share
        weights = 4.0 * self._dimensions(task.network)
        return Cost(seconds * (task.until or task.recipe.epochs), _BASE_MEMORY + 8 * weights, 3 * weights)

    def _hessian(self, m: Measurement) -> Cost:
        n, samples = self._dimensions(m.experiment.network), m.loss_samples or self._samples(m.experiment.network)
        products = min(_PRODUCTS_PER_EIGENVALUE * m.k, n)
        seconds = products * samples * self._product(_base(m.experiment.network), m.experiment.batch_size)
        seconds += products**2 * n / self.machine.gram_rate
        return Cost(seconds, _BASE_MEMORY + 8 * products * n, _RESULT_BYTES)

    def _history(self, m: Measurement) -> Cost:
        assert m.iterations is not None
        t, n = m.iterations, self._dimensions(m.experiment.network)
        seconds = self._collection(m, t, n)
        gram = t**2 * n / 2 / self.machine.gram_rate
        eigenvalues = self.machine.eigenvalue_seconds * t**3
        if m.experiment.kind == ANGLES:
            seconds += 2 * gram + 8 * eigenvalues
        else:
            seconds += gram + _EXTRA_SPECTRA * eigenvalues + 2 * t * n * self.machine.test_seconds
        history = 4.0 * t * n
        on_disk = history if history > free_memory(self._network(m.experiment.network).problem.device) / 2 else 0.0
        return Cost(seconds, _BASE_MEMORY + history - on_disk + 24.0 * t**2, _RESULT_BYTES + 16.0 * t + on_disk)

    def _collection(self, m: Measurement, t: int, n: int) -> float:
        """In proportion to B, or every sample once and minibatches as means of samples."""
        batch_size, network = m.experiment.batch_size or 1, m.experiment.network
        fixed, slope = self._network(network).iteration_seconds
        samples = self._samples(network)
        batched = t * (fixed + slope * batch_size)
        once = samples * slope + t * min(batch_size, samples) * n / (2 * self.machine.gram_rate)
        return min(batched, once) if "bn" not in network.model and network.model not in ("fcn", "resnet18") else batched

    def _network(self, network: NetworkSpec) -> NetworkCosts:
        return self._costs(_base(network))

    def _dimensions(self, network: NetworkSpec) -> int:
        data = self._network(network).problem.data
        assert isinstance(data, tuple)
        model = model_settings(network, tuple(data[0].shape[1:]), 0).build()
        return sum(p.numel() for p in model.parameters())

    def _samples(self, network: NetworkSpec) -> int:
        return self._network(network).problem.samples


def _base(network: NetworkSpec) -> NetworkSpec:
    """The network that is timed: trained ones cost as much as random ones, other widths and depths about as much."""
    width = network.width if network.model == "resnet18" else None
    return NetworkSpec(network.data, network.model, width, padding=network.padding)
