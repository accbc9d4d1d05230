"""What a reader of a gradient history has to know of its settings, in words."""

from collections.abc import Sequence

from gradlaw.history.settings import HistorySettings
from gradlaw.history.transform_text import describe
from gradlaw.history.transforms import Adam, Momentum, Transform
from gradlaw.problem import Problem


def transform_notices(transforms: Sequence[Transform]) -> list[str]:
    """Of the transforms that make iterations depend on one another."""
    recursive = [describe(t) for t in transforms if isinstance(t, Momentum | Adam)]
    return [
        f"{name} makes iterations depend on one another, while tests across iterations take them for independent; its "
        "first updates start from zero"
        for name in recursive
    ]


def repeat_notices(problem: Problem, settings: HistorySettings) -> list[str]:
    """Where single samples are fewer than the iterations."""
    if settings.batch_size > 1 or settings.iterations <= problem.samples or problem.randomness == "seeded":
        return []
    noun = "batches" if problem.by_batches else "samples"
    return [
        f"{settings.iterations:,} iterations of single {noun} out of {problem.samples:,}: they repeat, and no more "
        f"than {problem.samples:,} gradients differ"
    ]
