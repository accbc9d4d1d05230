"""The tests of every series of a gradient history in one direction, and the rates at which they pass."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from gradlaw.by_value import ByValue
from gradlaw.choices import Axis
from gradlaw.errors import InputError, count, significance
from gradlaw.errors import seed as check_seed
from gradlaw.stats.arrays import Array, as_matrix
from gradlaw.stats.calibration import gaussian_pass_rate
from gradlaw.stats.gaussian import SHORTEST, gaussian_test_rows
from gradlaw.stats.power import GAUSSIAN_K, K, false_alarm_rates, lowered_k, no_verdict
from gradlaw.stats.powerlaw import PowerLawFits, check_k, fit_series
from gradlaw.stats.series import series_blocks, series_shape

if TYPE_CHECKING:
    import pandas as pd

_FIT_COLUMNS = ("beta", "s", "lambda_min", "d_ks", "p_value", "is_power_law", "is_power_law_calibrated")
RATES = ("power_law_rate", "power_law_rate_calibrated", "gaussian_rate")
_SCALARS = (
    "series", "degenerate", "mean_d_ks", "mean_d_ks_all", "mean_s", "mean_p_value",
    "power_law_rate", "power_law_rate_calibrated", "power_law_rate_corrected",
    "power_law_rate_of_gaussian", "power_law_rate_calibrated_of_gaussian", "no_verdict", "no_verdict_calibrated",
    "gaussian_rate", "gaussian_rate_corrected",
)  # fmt: skip
SERIES_COLUMNS = (*_FIT_COLUMNS, "degenerate_series", "gaussian_p_value")


@runtime_checkable
class SeriesSource(Protocol):
    """A (T, n) matrix that streams its series: a GradientHistory, or anything like it."""

    @property
    def shape(self) -> tuple[int, int]: ...

    def blocks(self, axis: Axis) -> Iterator[tuple[int, Tensor]]: ...


@runtime_checkable
class OwnTests(Protocol):
    """A history that no one place has whole, and that tests its own series; arguments as of :func:`gradient_tests`."""

    @property
    def shape(self) -> tuple[int, int]: ...

    def tested(
        self,
        axis: Axis,
        k: int,
        gaussian_k: int | None,
        alpha: float,
        seed: int,
        advance: Callable[[int], None] | None = None,
    ) -> "GradientTests": ...


@dataclass(frozen=True, eq=False)
class GradientTests(ByValue):
    """The outcome of both tests on m series: arrays of shape (m,), and the rates over them.

    Degenerate series (see :class:`~gradlaw.stats.powerlaw.PowerLawFits`) cannot be tested: they count in both rates as
    not passing and are left out of the means. ``mean_d_ks_all`` counts them in at their limiting distance; the
    published iteration-wise means are of this kind.

    A power-law rate is to be read beside the share of Gaussian series of the same length and k that pass the same
    verdict (``..._of_gaussian``). Where more than 20% do, or k is more than a third of the length, the rate is no
    finding, and ``no_verdict`` says which sizes would make it one. ``notices`` says which default sizes were lowered to
    fit the series; ``str`` is a few sentences.
    """

    axis: str
    length: int
    k: int
    gaussian_k: int | None
    alpha: float
    seed: int
    d_critical: float
    d_critical_calibrated: float
    gaussian_ceiling: float | None
    beta: np.ndarray
    s: np.ndarray
    lambda_min: np.ndarray
    d_ks: np.ndarray
    p_value: np.ndarray
    is_power_law: np.ndarray
    is_power_law_calibrated: np.ndarray
    degenerate_series: np.ndarray
    gaussian_p_value: np.ndarray | None
    notices: tuple[str, ...] = ()

    def __str__(self) -> str:
        rates = f"power law in {self.power_law_rate:.1%} (calibrated {self.power_law_rate_calibrated:.1%})"
        if self.gaussian_rate is not None:
            rates += f", Gaussian in {self.gaussian_rate:.1%}"
        head = f"{self.axis}-wise: {self.series:,} series of {self.length:,} values, K = {self.k:,}: {rates}"
        remarks = [f"{self.degenerate:.1%} cannot be tested and count as failing"] if self.degenerate else []
        remarks += [self.no_verdict] if self.no_verdict else []
        return "\n".join([head, *(f"note: {remark}" for remark in (*remarks, *self.notices))])

    @property
    def series(self) -> int:
        """m, how many series were tested."""
        return len(self.d_ks)

    @property
    def degenerate(self) -> float:
        """Share of the series that cannot be tested."""
        return float(self.degenerate_series.mean())

    @property
    def power_law_rate(self) -> float:
        """Share of the series with d_ks below the published critical distance."""
        return float(self.is_power_law.mean())

    @property
    def power_law_rate_calibrated(self) -> float:
        """Share of the series with d_ks below the critical distance for a fitted exponent."""
        return float(self.is_power_law_calibrated.mean())

    @property
    def power_law_rate_of_gaussian(self) -> float:
        """Share of Gaussian series of this length and k that pass ``power_law_rate``'s verdict: its false alarms."""
        return false_alarm_rates(self.length, self.k, self.alpha).published

    @property
    def power_law_rate_calibrated_of_gaussian(self) -> float:
        """The same for ``power_law_rate_calibrated``."""
        return false_alarm_rates(self.length, self.k, self.alpha).calibrated

    @property
    def no_verdict(self) -> str | None:
        """Why ``power_law_rate`` is no finding, and which sizes would give one; None if it is one.

        See :func:`~gradlaw.stats.power.no_verdict`.
        """
        return no_verdict(self.length, self.k, self.alpha)

    @property
    def no_verdict_calibrated(self) -> str | None:
        """The same for ``power_law_rate_calibrated``."""
        return no_verdict(self.length, self.k, self.alpha, calibrated=True)

    @property
    def gaussian_rate(self) -> float | None:
        """Share of the series for which Gaussianity is not rejected; None without that test."""
        if self.gaussian_p_value is None:
            return None
        return float(((self.gaussian_p_value > self.alpha) & ~self.degenerate_series).mean())

    @property
    def mean_d_ks(self) -> float | None:
        """Mean KS distance of the series that can be tested; None if there is none."""
        return self._mean(self.d_ks)

    @property
    def mean_d_ks_all(self) -> float:
        """Mean KS distance with the degenerate series counted at their limit."""
        return float(self.d_ks.mean())

    @property
    def mean_s(self) -> float | None:
        """Mean Zipf exponent of the series that can be tested; None if there is none."""
        return self._mean(self.s)

    @property
    def mean_p_value(self) -> float | None:
        """Mean Gaussian p-value of the series that can be tested; None if there is none, or without that test."""
        return None if self.gaussian_p_value is None else self._mean(self.gaussian_p_value)

    @property
    def power_law_rate_corrected(self) -> float:
        """Share of the series for which the power law is not rejected, false discoveries controlled at ``alpha``.

        Benjamini and Hochberg 1995, on the p-values under the fitted null of the series that can be tested.
        """
        return self._not_rejected(self.p_value)

    @property
    def gaussian_rate_corrected(self) -> float | None:
        """Share of the series for which Gaussianity is not rejected, false discoveries controlled at ``alpha``."""
        return None if self.gaussian_p_value is None else self._not_rejected(self.gaussian_p_value)

    def interval(self, rate: float | None, level: float = 0.95) -> tuple[float, float] | None:
        """The Wilson interval of one of the rates; None for None.

        It takes the series as independent, which gradients of one model are not: the true uncertainty is larger.
        """
        from scipy import stats  # half a second to load

        if rate is None:
            return None
        found = stats.binomtest(round(rate * self.series), self.series).proportion_ci(level, method="wilson")
        return float(found.low), float(found.high)

    def _not_rejected(self, p_values: np.ndarray) -> float:
        from scipy import stats  # half a second to load

        tested = ~self.degenerate_series
        adjusted = stats.false_discovery_control(p_values[tested], method="bh")
        return float((adjusted > self.alpha).sum() / self.series)

    def _mean(self, values: np.ndarray) -> float | None:
        tested = ~self.degenerate_series
        return float(values[tested].mean()) if tested.any() else None

    def scalars(self) -> dict[str, Any]:
        """Every setting, every rate with its Wilson 95% interval, and every mean, by name."""
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in (*SERIES_COLUMNS, "notices")}
        values |= {name: getattr(self, name) for name in _SCALARS}
        return values | {f"{name}_interval": self.interval(values[name]) for name in RATES}

    def part(self, chosen: np.ndarray) -> "GradientTests":
        """The tests of some of the series, by index or mask."""
        columns = {name: getattr(self, name) for name in SERIES_COLUMNS}
        fewer: dict[str, Any] = {name: c if c is None else c[chosen] for name, c in columns.items()}
        return replace(self, **fewer)

    @staticmethod
    def joined(parts: Sequence["GradientTests"]) -> "GradientTests":
        """The tests of all series, in the order of the parts, which were made with the same settings."""
        columns = {name: [getattr(part, name) for part in parts] for name in SERIES_COLUMNS}
        every: dict[str, Any] = {name: c[0] if c[0] is None else np.concatenate(c) for name, c in columns.items()}
        return replace(parts[0], **every)

    def to_frame(self) -> "pd.DataFrame":
        """One row a series, one column an array."""
        import pandas as pd  # loaded for those who ask for a table

        columns = {name: getattr(self, name) for name in SERIES_COLUMNS}
        return pd.DataFrame({name: column for name, column in columns.items() if column is not None})


def gradient_tests(
    history: SeriesSource | Any,
    axis: Axis = "dimension",
    k: int | None = None,
    gaussian_k: int | Literal["auto"] | None = "auto",
    alpha: float = 0.05,
    seed: int = 0,
    *,
    advance: Callable[[int], None] | None = None,
) -> GradientTests:
    """Test every series of a gradient history for a power-law tail and for Gaussianity.

    Args:
        history: a GradientHistory, or a (T, n) array or tensor.
        axis: ``"dimension"`` tests the T rows (the n gradients of one iteration each), ``"iteration"`` the n columns
            (the T gradients of one parameter each).
        k: how many of the largest magnitudes the power-law test uses. Default: 1000, as in the paper, and at most a
            third of a series, with a notice.
        gaussian_k: how many values, drawn at random, the Gaussian test uses; None leaves it out. Default: 100, as in
            the paper, lowered to the length of a series with a notice; left out below 8 values.
        alpha: significance level of all verdicts.
        seed: of the draws of the Gaussian test.
        advance: called with the number of series just tested.

    Raises:
        InputError: k or gaussian_k do not fit the length of a series, or a value is not finite (row and column are
            those of the history).
    """
    source = history if isinstance(history, OwnTests) else as_source(history)
    length = series_shape(source.shape, axis)[1]
    used, drawn, notices = _sizes(length, k, gaussian_k)
    if isinstance(source, OwnTests):
        return replace(source.tested(axis, used, drawn, alpha, seed, advance), notices=notices)
    tester = SeriesTester(axis, length, used, drawn, alpha, seed)
    for first, block in source.blocks(axis):
        tester.add(first, block)
        if advance:
            advance(len(block))
    return replace(tester.result(), notices=notices)


def _sizes(
    length: int, k: int | None, gaussian_k: int | Literal["auto"] | None
) -> tuple[int, int | None, tuple[str, ...]]:
    """K and the number of drawn values of series of this length, and which defaults were lowered for it, in words."""
    notices = []
    used = lowered_k(K, length) if k is None else k
    if k is None and used < K:
        notices.append(f"K lowered from {K:,} to {used:,}: a tail is at most a third of the {length:,} values")
    if gaussian_k != "auto":
        return used, gaussian_k, tuple(notices)
    if length < SHORTEST:
        notices.append(f"Gaussian test left out: it needs {SHORTEST} values, a series has {length}")
        return used, None, tuple(notices)
    if length < GAUSSIAN_K:
        notices.append(f"Gaussian test on all {length} values of a series instead of {GAUSSIAN_K}")
    return used, min(GAUSSIAN_K, length), tuple(notices)


class SeriesTester:
    """Both tests of series that come in blocks."""

    def __init__(self, axis: str, length: int, k: int, gaussian_k: int | None, alpha: float, seed: int):
        k, alpha, seed = check_k(k, length), significance(alpha), check_seed(seed)
        gaussian_k = None if gaussian_k is None else count(gaussian_k, "gaussian_k")
        self.axis, self.length, self.k, self.gaussian_k, self.alpha, self.seed = (
            axis,
            length,
            k,
            gaussian_k,
            alpha,
            seed,
        )
        self._fits: list[PowerLawFits] = []
        self._gaussian: list[Array] = []

    def add(self, first: int, block: Tensor) -> None:
        """Test the series ``first`` onwards, the rows of ``block``."""
        fits = fit_series(block, self.k, self.alpha, block, first, transposed=self.axis == "iteration")
        drawn = None if self.gaussian_k is None else gaussian_test_rows(block, self.gaussian_k, self.seed, first)
        self.take(fits, drawn)

    def take(self, fits: PowerLawFits, gaussian_p_values: Array | None) -> None:
        """The tests of the next series, made elsewhere; no p-values without ``gaussian_k``."""
        self._fits.append(fits)
        if gaussian_p_values is not None:
            self._gaussian.append(gaussian_p_values)

    def result(self) -> GradientTests:
        """The tests of all blocks added, in their order."""
        ceiling = None if self.gaussian_k is None else gaussian_pass_rate(self.gaussian_k, self.alpha)
        columns: dict[str, Any] = {name: _joined([getattr(f, name) for f in self._fits]) for name in _FIT_COLUMNS}
        return GradientTests(
            axis=self.axis,
            length=self.length,
            k=self.k,
            gaussian_k=self.gaussian_k,
            alpha=self.alpha,
            seed=self.seed,
            d_critical=self._fits[0].d_critical,
            d_critical_calibrated=self._fits[0].d_critical_calibrated,
            gaussian_ceiling=ceiling,
            degenerate_series=_joined([fits.degenerate for fits in self._fits]),
            gaussian_p_value=_joined(self._gaussian) if self._gaussian else None,
            **columns,
        )


def as_source(history: SeriesSource | Any) -> SeriesSource:
    """The history itself, or a (T, n) array that streams its series likewise.

    Raises:
        InputError: an array that is refused as any other is, or no series at all.
    """
    # Arrays of zarr and dask have ``blocks`` too, of another kind: nothing that is called.
    streams_series = isinstance(history, SeriesSource) and callable(history.blocks)
    source = history if streams_series else _ArraySource(as_matrix(history, "history"))
    if 0 in source.shape:
        raise InputError(f"history is empty: its shape is {tuple(source.shape)}, iterations by dimensions")
    return source


def _joined(parts: Sequence[Array]) -> np.ndarray:
    return torch.cat([torch.as_tensor(part) for part in parts]).cpu().numpy()


@dataclass(frozen=True)
class _ArraySource:
    matrix: Tensor

    @property
    def shape(self) -> tuple[int, int]:
        return self.matrix.shape[0], self.matrix.shape[1]

    def blocks(self, axis: Axis) -> Iterator[tuple[int, Tensor]]:
        return series_blocks(self.matrix, axis)
