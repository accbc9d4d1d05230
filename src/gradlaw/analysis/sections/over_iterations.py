"""The covariance spectrum of fewer iterations."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradlaw.analysis.section import Run, TableSection, register
from gradlaw.spectra import spectrum_over_iterations
from gradlaw.spectra.controls import SpectraOverIterations
from gradlaw.spectra.matrices import COVARIANCE

if TYPE_CHECKING:
    import pandas as pd

_PARTS = (8, 4)  # of T, whose spectra are compared with that of T; a half would cost what these cost three times
_FEWEST_EIGENVALUES = 4  # to fit at each of them


@register
class OverIterations(TableSection):
    """Covariance spectra of T/8, T/4 and T iterations, one row each (see
    :meth:`~gradlaw.spectra.SpectraOverIterations.to_frame`), all with the same k; None if T is too small.
    """

    name, place, by_ranks = "over_iterations", 6, True

    def measure(self, run: Run) -> pd.DataFrame | None:
        history, covariance = run.gradients, run.measured["spectra"][COVARIANCE]
        sizes = [history.shape[0] // part for part in _PARTS]
        # Half of the smallest spectrum at each size: an exponent depends on how far down the spectrum it is fitted.
        k = min(run.sizes.of_spectra, sizes[0] // 2)
        if k < _FEWEST_EIGENVALUES:
            return None
        gram = run.gram.gram
        with run.progress.stage("spectra of fewer iterations"):
            fewer = run.ranks.first(lambda: spectrum_over_iterations(history, sizes, k=k, seed=run.seed, gram=gram))
        spectra = SpectraOverIterations((*fewer.sizes, history.shape[0]), (*fewer.spectra, covariance), k)
        return spectra.to_frame().reset_index() if min(s.rank for s in spectra.spectra) >= k else None
