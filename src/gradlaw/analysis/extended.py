"""The extended statistics: layers, other tail indices, other families of tails, Gaussianity in full."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np

from gradlaw.by_value import ByValue

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class ExtendedStatistics(ByValue):
    """What :func:`~gradlaw.analysis.measure_extended.measure_extended` measured, as tables.

    Attributes:
        layers: every rate and mean, by axis and for the whole model, each parameter tensor and each type of layer.
        tail_indices: one row a series of either axis: the alpha-stable index of the noise (the gradients less their
            mean over the iterations) with the entries in their order and permuted, Hill's alpha and the moment
            estimator's gamma of the gradients; infinite where there is none.
        gaussianity: one row a dimension: skewness, excess kurtosis and three tests on all T values.
        exponents: of the same samples: s with its 95% intervals (exact under the law, and bootstrap), and the k that
            the scan over lambda_min chooses, with its s and distance.
        comparisons: likelihood-ratio tests of the power law against other families: the two example series and the
            spectra, one row each and family.
    """

    layers: pd.DataFrame
    tail_indices: pd.DataFrame
    gaussianity: pd.DataFrame
    exponents: pd.DataFrame
    comparisons: pd.DataFrame

    def median_stable_index(self, axis: str, permuted: bool = True) -> float | None:
        """The median alpha-stable index of the series that have one, or None."""
        column = "alpha_stable_permuted" if permuted else "alpha_stable"
        values = self.tail_indices.loc[self.tail_indices["axis"] == axis, column]
        values = values[np.isfinite(values)]
        return float(values.median()) if len(values) else None


TABLES = tuple(field.name for field in fields(ExtendedStatistics))
