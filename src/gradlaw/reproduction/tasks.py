"""What is to be done for a selection: trainings and measurements, each once, and what is missing for them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from gradlaw.reproduction.experiment import Experiment
from gradlaw.reproduction.measure import Context, TrainingTask
from gradlaw.reproduction.measurement import Measurement, Resolver
from gradlaw.reproduction.store import Store

Task = TrainingTask | Measurement


@dataclass(frozen=True)
class WorkList:
    """What a selection needs.

    Attributes:
        measurements: all of them, by experiment and seed.
        todo: what is not in the store and can be done, a training before what needs it, random networks first.
        missing: why a measurement cannot be made: its data are not at hand.
    """

    measurements: dict[tuple[Experiment, int], Measurement]
    todo: tuple[Task, ...]
    missing: dict[Measurement, str]

    @property
    def finished(self) -> int:
        """How many measurements were in the store."""
        waiting = sum(isinstance(task, Measurement) for task in self.todo)
        return len(set(self.measurements.values())) - waiting - len(self.missing)


def list_work(
    experiments: Iterable[Experiment], seeds: Sequence[int], resolver: Resolver, store: Store, context: Context
) -> WorkList:
    """Look up what there is, data sets included, and list the rest."""
    measurements = {
        (experiment, seed): resolver.resolve(experiment, seed) for experiment in experiments for seed in seeds
    }
    missing: dict[Measurement, str] = {}
    pending: list[Measurement] = []
    for m in dict.fromkeys(measurements.values()):
        if m in store:
            store.check(m)
            continue
        reason = context.data.why_missing(m.experiment.network.data)
        if reason:
            missing[m] = reason
        else:
            pending.append(m)
    todo: dict[Task, None] = {}
    points = _points(measurements.values())
    for m in sorted(pending, key=lambda m: m.recipe is not None):
        training = TrainingTask.of(m)
        if training is not None and not context.done(training):
            todo[replace(training, points=points.get(training.key, ()))] = None
        todo[m] = None
    return WorkList(measurements, tuple(todo), missing)


def _points(measurements: Iterable[Measurement]) -> dict[str, tuple[float, ...]]:
    """By training, all points that any of the measurements needs: a training passes each of them once."""
    points: dict[str, set[float]] = {}
    for measurement in measurements:
        training = TrainingTask.of(measurement)
        if training is not None and training.points:
            points.setdefault(training.key, set()).update(training.points)
    return {key: tuple(sorted(found)) for key, found in points.items()}


def describe(task: Task) -> str:
    """What a task does."""
    if isinstance(task, TrainingTask):
        return f"train {task.network}, {task.until or task.recipe.epochs} epochs, seed {task.seed}"
    return f"{task.experiment}, seed {task.seed}"
