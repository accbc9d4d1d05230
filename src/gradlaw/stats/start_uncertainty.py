"""How well is an exponent determined where the beginning of the tail was chosen by the same data?"""

from dataclasses import dataclass

import numpy as np

from gradlaw import random_streams
from gradlaw.errors import InputError, count, significance
from gradlaw.errors import seed as checked_seed
from gradlaw.stats.arrays import Array
from gradlaw.stats.nan_policy import NanPolicy
from gradlaw.stats.sample import Side, magnitudes
from gradlaw.stats.tail_start import scan_tail_start


@dataclass(frozen=True)
class StartUncertainty:
    """The tail that a scan chose, and intervals of confidence ``level`` that include the choice of k.

    The intervals are percentiles of ``samples`` resampled samples, each scanned anew. ``beta_interval`` and
    ``s_interval`` are the same statement in both exponents.
    """

    k: int
    k_interval: tuple[int, int]
    beta: float
    beta_interval: tuple[float, float]
    s: float
    s_interval: tuple[float, float]
    level: float
    samples: int
    seed: int


def tail_start_uncertainty(
    values: Array,
    smallest: int = 10,
    largest: int | None = None,
    points: int | None = 50,
    *,
    level: float = 0.95,
    tail: Side = "both",
    samples: int = 200,
    seed: int = 0,
    nan_policy: NanPolicy = "raise",
) -> StartUncertainty:
    """Intervals of the exponents that :func:`scan_tail_start` finds, with its choice of k in them.

    The bootstrap of Clauset, Shalizi, Newman 2009, end of section 3.3: samples of L values are drawn with replacement,
    scanned with the same settings, and the spread of what they choose is the uncertainty. The interval of
    :meth:`PowerLawFit.beta_interval` at the chosen k is too narrow: it takes k for fixed beforehand. Of 338 samples of
    2,000 values, a quarter of them a power law above uniform ones, the interval at 95% held the true exponent in 94%
    (80 resampled samples each), that other one in 90%.

    Args:
        values: array of shape (L,).
        smallest: the smallest k, as in :func:`scan_tail_start`.
        largest: the largest k, by default all nonzero magnitudes; lowered in a resampled sample that has fewer.
        points: how many k to try, in geometric progression; None tries them all.
        level: confidence level of the two-sided, equal-tailed intervals.
        tail: "both" takes magnitudes, "right" positive values, "left" the magnitudes of negative ones.
        samples: how many resampled samples, at least 2 / (1 - level), so that their percentiles exist.
        seed: of the draws.
        nan_policy: "raise" refuses NaN, "omit" leaves them out.

    Raises:
        InputError: as :func:`scan_tail_start`, level outside (0, 1), too few samples, or a resampled sample without
            any tail to try.

    Example:
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> result = tail_start_uncertainty(np.concatenate([rng.pareto(1.5, 1000) + 1, rng.random(3000)]))
        >>> result.beta_interval[0] < 2.5 < result.beta_interval[1]
        True
    """
    level, samples, seed = significance(level, "level"), count(samples, "samples"), checked_seed(seed)
    if samples * (1 - level) < 2 * (1 - 1e-9):
        raise InputError(f"level={level} needs at least {round(2 / (1 - level))} samples, got {samples}")
    sample = magnitudes(values, tail, nan_policy).double().cpu().numpy()
    best = scan_tail_start(sample, smallest, largest, points).best
    rng = np.random.default_rng([random_streams.START_BOOTSTRAP, seed])
    chosen = np.empty((samples, 2))
    for i in range(samples):
        resampled = sample[rng.integers(len(sample), size=len(sample))]
        nonzero = int(np.count_nonzero(resampled))
        fit = scan_tail_start(resampled, smallest, nonzero if largest is None else min(largest, nonzero), points).best
        chosen[i] = fit.k, fit.s
    ends = [(1 - level) / 2, (1 + level) / 2]
    k_low, k_high = np.quantile(chosen[:, 0], ends, method="nearest")
    s_low, s_high = (float(end) for end in np.quantile(chosen[:, 1], ends))
    return StartUncertainty(
        k=best.k,
        k_interval=(int(k_low), int(k_high)),
        beta=best.beta,
        beta_interval=(1 + 1 / s_high, 1 + 1 / s_low),
        s=best.s,
        s_interval=(s_low, s_high),
        level=level,
        samples=samples,
        seed=seed,
    )
