"""The tests of every series of a gradient history in one direction, and the rates at which they pass."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any, Protocol, runtime_checkable

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from gradlaw.stats.arrays import Array, as_matrix, refuse_non_finite
from gradlaw.stats.calibration import gaussian_pass_rate
from gradlaw.stats.gaussian import gaussian_test_rows
from gradlaw.stats.powerlaw import PowerLawFits, check_k, fit_power_law_rows
from gradlaw.stats.series import series_blocks, series_shape

_FIT_COLUMNS = ("beta", "s", "lambda_min", "d_ks", "p_value", "is_power_law", "is_power_law_calibrated")
SERIES_COLUMNS = (*_FIT_COLUMNS, "degenerate_series", "gaussian_p_value")


@runtime_checkable
class SeriesSource(Protocol):
    """A (T, n) matrix that streams its series: a GradientHistory, or anything like it."""

    @property
    def shape(self) -> tuple[int, int]: ...

    def blocks(self, axis: str) -> Iterator[tuple[int, Tensor]]: ...


@dataclass(frozen=True)
class GradientTests:
    """The outcome of both tests on m series: arrays of shape (m,), and the rates over them.

    Degenerate series (see :class:`~gradlaw.stats.powerlaw.PowerLawFits`) cannot be tested: they count in both rates as
    not passing and are left out of the means. ``mean_d_ks_all`` counts them in at their limiting distance; the
    published iteration-wise means are of this kind.
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

    def _mean(self, values: np.ndarray) -> float | None:
        tested = ~self.degenerate_series
        return float(values[tested].mean()) if tested.any() else None

    def scalars(self) -> dict[str, Any]:
        """Every setting and every rate and mean, by name."""
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in SERIES_COLUMNS}
        properties = ("series", "degenerate", "mean_d_ks", "mean_d_ks_all", "power_law_rate",
                      "power_law_rate_calibrated", "mean_s", "mean_p_value", "gaussian_rate")  # fmt: skip
        return values | {name: getattr(self, name) for name in properties}

    def to_frame(self) -> pd.DataFrame:
        """One row a series, one column an array."""
        columns = {name: getattr(self, name) for name in SERIES_COLUMNS}
        return pd.DataFrame({name: column for name, column in columns.items() if column is not None})


def gradient_tests(
    history: SeriesSource | Any,
    axis: str = "dimension",
    k: int = 1000,
    gaussian_k: int | None = 100,
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
        k: how many of the largest magnitudes the power-law test uses (paper: 1000).
        gaussian_k: how many values, drawn at random, the Gaussian test uses (paper: 100); None leaves it out.
        alpha: significance level of all verdicts.
        seed: of the draws of the Gaussian test.
        advance: called with the number of series just tested.

    Raises:
        InputError: k or gaussian_k do not fit the length of a series, or a value is not finite (row and column are
            those of the history).
    """
    source: SeriesSource = history if isinstance(history, SeriesSource) else _ArraySource.checked(history)
    _, length = series_shape(source.shape, axis)
    check_k(k, length)
    parts: list[PowerLawFits] = []
    gaussian = []
    for first, block in source.blocks(axis):
        parts.append(fit_power_law_rows(block, k, alpha))
        if gaussian_k is not None:
            gaussian.append(gaussian_test_rows(block, gaussian_k, seed, first))
        if advance:
            advance(len(block))
    columns = {name: _joined([getattr(part, name) for part in parts]) for name in _FIT_COLUMNS}
    return GradientTests(
        axis=axis,
        length=length,
        k=k,
        gaussian_k=gaussian_k,
        alpha=alpha,
        seed=seed,
        d_critical=parts[0].d_critical,
        d_critical_calibrated=parts[0].d_critical_calibrated,
        gaussian_ceiling=None if gaussian_k is None else gaussian_pass_rate(gaussian_k, alpha),
        degenerate_series=_joined([part.degenerate for part in parts]),
        gaussian_p_value=_joined(gaussian) if gaussian else None,
        **columns,
    )


def _joined(parts: Sequence[Array]) -> np.ndarray:
    return torch.cat([torch.as_tensor(part) for part in parts]).cpu().numpy()


@dataclass(frozen=True)
class _ArraySource:
    matrix: Tensor

    @classmethod
    def checked(cls, array: Any) -> "_ArraySource":
        matrix = as_matrix(array, "history")
        refuse_non_finite(matrix)
        return cls(matrix)

    @property
    def shape(self) -> tuple[int, int]:
        return self.matrix.shape[0], self.matrix.shape[1]

    def blocks(self, axis: str) -> Iterator[tuple[int, Tensor]]:
        return series_blocks(self.matrix, axis)
