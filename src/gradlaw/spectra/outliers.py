"""Outliers of a spectrum: the few leading eigenvalues that stand off the line of a power law (the paper's c - 1)."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from gradlaw.by_value import ByValue
from gradlaw.errors import InputError, significance
from gradlaw.errors import count as check_count
from gradlaw.spectra.spectrum import Spectrum
from gradlaw.stats.arrays import as_sample
from gradlaw.stats.power import K, lowered_k

MOST_OUTLIERS = 50  # the largest count that is looked for, unless another is asked for
FEWEST_BELOW = 21  # eigenvalues below them, whose 20 spacings determine the slope


@dataclass(frozen=True, eq=False)
class Outliers(ByValue):
    """How many leading eigenvalues a break in the spectrum sets apart, and why.

    Attributes:
        count: outliers; 0 if no drop is significant.
        drops: shape (most,), for r = 1..most the drop from the r-th to the next eigenvalue, r ln(lambda_r /
            lambda_(r+1)), in units of what a power law predicts, s: about 1 on a straight line.
        critical_drop: what the largest of them must exceed.
        p_value: of the largest drop, for all ``most`` ranks together.
        excess: shape (most,), lambda_r over the line fitted to the eigenvalues below and drawn on to rank r.
        s: slope of that line, from the spacings below rank ``most``.
        k: how many eigenvalues were used.
        most: how many outliers there could have been.
        notices: which default sizes were lowered to fit the spectrum, in words.
    """

    count: int
    drops: np.ndarray
    critical_drop: float
    p_value: float
    excess: np.ndarray
    s: float
    k: int
    most: int
    notices: tuple[str, ...] = ()


def count_outliers(spectrum: Any, k: int | None = None, most: int | None = None, alpha: float = 0.01) -> Outliers:
    """Count the leading eigenvalues above the largest drop of a spectrum, if that drop is too large for a power law.

    For independent draws from any power law the scaled spacings r ln(lambda_r / lambda_(r+1)) are independent
    exponentials of mean s, exactly (Renyi 1953). The k - 1 - ``most`` spacings below rank ``most`` give s, so that
    outliers cannot tilt the line, and each drop above in units of s follows F(2, 2 (k - 1 - most)). The rule: find the
    rank r <= ``most`` of the largest drop; if its p-value, corrected for ``most`` ranks (Sidak, which is conservative
    here by Kimball's inequality), is at most ``alpha``, the first r eigenvalues are outliers. A pure power law of
    independent draws gives a count other than 0 with probability at most alpha; the eigenvalues of a matrix repel one
    another and drop less, so that for them it is rarer still. At the defaults a drop must be 8.6 times what the line
    predicts: nine outliers are found when the ninth eigenvalue is above exp(0.95 s) times the tenth (3.4 at s = 1.3;
    the paper speaks of an order of magnitude). A first eigenvalue alone would have to be exp(8.6 s) times the second,
    for the largest of independent draws is that uncertain: there, read ``excess``. Of several drops the largest in
    these units counts, and with it all eigenvalues above, on the line or not.

    Args:
        spectrum: a Spectrum, or an array of shape (L,) of positive eigenvalues in descending order.
        k: how many eigenvalues make up the power law, outliers included. Default: 1000, as in the paper, and at most a
            third of the min(T, n) of a Spectrum, as in :func:`gradlaw.analyze`, or all of an array; with a notice.
        most: the largest count that can be found: above the c - 1 in question, and at most k - 21. Default: 50, lowered
            to that with a notice.
        alpha: how often a pure power law may show outliers.

    Raises:
        InputError: k above the numerical rank or the number of eigenvalues, ``most`` outside 1..k - 21, alpha outside
            (0, 1), eigenvalues that do not descend or are not positive and finite, or equal ones below rank ``most``.

    Example:
        >>> import numpy as np
        >>> line = np.arange(1, 1001) ** -1.3
        >>> count_outliers(line).count, count_outliers(np.where(np.arange(1000) < 9, 10 * line, line)).count
        (0, 9)
    """
    k, most, notices = _sizes(spectrum, k, most)
    most, alpha = check_count(most, "most", 0), significance(alpha)
    if not 1 <= most <= k - FEWEST_BELOW:
        raise InputError(
            f"most={most} outliers of k={k} eigenvalues: between 1 and k - {FEWEST_BELOW} are possible, for "
            f"the slope needs {FEWEST_BELOW - 1} spacings below them"
        )
    log = np.log(_leading(spectrum, k))
    spacings = np.arange(1, k) * -np.diff(log)
    below = len(spacings) - most
    s = float(spacings[most:].mean())
    if s <= 0:
        raise InputError(f"eigenvalues {most + 1} to {k} are equal: there is no slope to compare with")
    drops = spacings[:most] / s
    largest = int(drops.argmax())
    p_value = float(-np.expm1(most * np.log1p(-((1 + drops[largest] / below) ** -float(below)))))
    return Outliers(
        count=largest + 1 if p_value <= alpha else 0,
        drops=drops,
        critical_drop=_critical_drop(most, below, alpha),
        p_value=p_value,
        excess=_excess(log, s, most),
        s=s,
        k=k,
        most=most,
        notices=notices,
    )


def _sizes(spectrum: Any, k: int | None, most: int | None) -> tuple[int, int, tuple[str, ...]]:
    """K and ``most``, as large as the spectrum allows where they are not given, and what was lowered in words."""
    notices = []
    if k is None:
        if isinstance(spectrum, Spectrum):
            eigenvalues = min(spectrum.iterations, spectrum.dimensions)
            k, all_of = lowered_k(K, eigenvalues), f"a third of the {eigenvalues:,} eigenvalues"
        else:
            k = min(K, len(as_sample(spectrum)))
            all_of = "all eigenvalues there are"
        if k < K:
            notices.append(f"K lowered from {K:,} to {k:,}: {all_of}")
    k = check_count(k, "k", 0)
    if most is None:
        most = min(MOST_OUTLIERS, k - FEWEST_BELOW) if k > FEWEST_BELOW else MOST_OUTLIERS
        if most < MOST_OUTLIERS:
            notices.append(f"at most {most} outliers are looked for instead of {MOST_OUTLIERS}: K is {k:,}")
    return k, most, tuple(notices)


def _critical_drop(most: int, below: int, alpha: float) -> float:
    """The drop whose corrected p-value is alpha: 1 - (1 - (1 + x / below)^-below)^most = alpha."""
    single = -np.expm1(np.log1p(-alpha) / most)
    return float(below * np.expm1(-np.log(single) / below))


def _excess(log: np.ndarray, s: float, most: int) -> np.ndarray:
    """Eigenvalues over the line ln lambda = c - s ln r, c the mean over the ranks below ``most``."""
    heights = log + s * np.log(np.arange(1, len(log) + 1))
    return np.exp(heights[:most] - heights[most:].mean())


def _leading(spectrum: Any, k: int) -> np.ndarray:
    """The checked k largest eigenvalues."""
    if isinstance(spectrum, Spectrum):
        if k > spectrum.rank:
            raise InputError(f"k={k} but the {spectrum.matrix} spectrum has numerical rank {spectrum.rank}")
        return spectrum.eigenvalues[:k]
    values = as_sample(spectrum).double().cpu().numpy()
    if len(values) < k:
        raise InputError(f"k={k} eigenvalues were asked for, got an array of shape {values.shape}")
    leading = values[:k]
    if not (np.isfinite(leading).all() and leading[-1] > 0 and (np.diff(leading) <= 0).all()):
        raise InputError(f"the first {k} eigenvalues must be finite, positive and in descending order")
    return leading
