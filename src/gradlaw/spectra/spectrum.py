"""A spectrum of the gradient second moment or covariance: all eigenvalues, and what they were computed from."""

from dataclasses import InitVar, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from gradlaw.by_value import ByValue
from gradlaw.errors import InputError
from gradlaw.extras import extra
from gradlaw.html_repr import html_table, rank_picture
from gradlaw.spectra.access import Origin
from gradlaw.spectra.eigenvectors import Eigenvectors, eigenvectors_of
from gradlaw.spectra.matrices import MATRICES
from gradlaw.stats.powerlaw import PowerLawFit, fit_power_law

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

_COLOUR = "#009E73"  # of the covariance in every figure
_AGREEMENT = 1e-8  # of eigenvalues computed twice, relative to the largest


@dataclass(frozen=True, eq=False)
class Spectrum(ByValue):
    """Eigenvalues of (1/T) sum g g^T, or of the same with the mean over the iterations taken off (``centred``).

    Attributes:
        eigenvalues: all min(T, n), descending, float64; those of the T x T Gram matrix divided by T.
        centred: False for the second moment, True for the covariance.
        iterations: T.
        dimensions: n.
        trace: sum of the eigenvalues, from the diagonal.
        floor: eigenvalues up to here cannot be told from rounding: the larger of T eps64 lambda_1, the precision of
            the eigenvalue solver, and rounding^2 trace, the power of the relative rounding error of the gradients.
        origin: gradients and Gram matrix, for :meth:`eigenvectors`; no field. Copies and ``dataclasses.replace`` share
            it; it is neither saved nor pickled, and takes no part in comparisons.
    """

    eigenvalues: np.ndarray
    centred: bool
    iterations: int
    dimensions: int
    trace: float
    floor: float
    origin: InitVar[Origin | None] = None

    def __post_init__(self, origin: Origin | None) -> None:
        object.__setattr__(self, "origin", origin)  # where dataclasses.replace looks for it
        negative = np.flatnonzero(~(self.eigenvalues >= -self.floor))
        if len(negative):
            rank, value = negative[0] + 1, self.eigenvalues[negative[0]]
            raise InputError(
                f"eigenvalue {rank} of {len(self.eigenvalues)} is {value:.6g}, below "
                f"the rounding floor of -{self.floor:.3g}: a {self.matrix} has no negative eigenvalues"
            )

    @property
    def matrix(self) -> str:
        """``"second moment"`` or ``"covariance"``."""
        return MATRICES[self.centred]

    @property
    def rank(self) -> int:
        """Numerical rank: how many eigenvalues are above the floor."""
        return int((self.eigenvalues > self.floor).sum())

    def to_frame(self) -> "pd.DataFrame":
        """A table of one row an eigenvalue: ``rank``, from 1, ``eigenvalue``, and whether it is ``above_rounding``."""
        import pandas as pd  # loaded for those who ask for a table

        ranks = np.arange(1, len(self.eigenvalues) + 1)
        return pd.DataFrame({"rank": ranks, "eigenvalue": self.eigenvalues, "above_rounding": ranks <= self.rank})

    def plot(self, ax: "Axes | None" = None, k: int | None = None) -> "Axes":
        """Draw the eigenvalues above rounding against their rank, on logarithmic axes.

        Args:
            ax: matplotlib axes to draw on; None makes a new figure.
            k: also fit a power law to so many of the largest and draw it over the ranks and values of the fit. Default:
                no fit.

        Returns:
            The axes.

        Raises:
            InputError: k above the numerical rank, or below 2.
        """
        fit = None if k is None else self.power_law(k)
        with extra("report", "drawing"):
            if ax is None:
                from matplotlib import pyplot  # heavy: loaded only for those who draw

                _, ax = pyplot.subplots()
        values = self.eigenvalues[: self.rank]
        ax.plot(np.arange(1, len(values) + 1), values, "o", ms=3, mew=0.7, mfc="none", color=_COLOUR, label=self.matrix)
        if fit is not None and not fit.degenerate:
            first = max(1.0, fit.k * (fit.lambda_min / values[0]) ** (1 / fit.s))
            ranks = np.array([first, fit.k])
            label = f"s = {fit.s:.2f}, d_KS = {fit.d_ks:.3g}"
            ax.plot(ranks, fit.lambda_min * (fit.k / ranks) ** fit.s, "--", lw=1.3, color=_COLOUR, label=label)
        ax.set(xscale="log", yscale="log", xlabel="rank", ylabel="eigenvalue")
        ax.legend()
        return ax

    def __repr__(self) -> str:
        largest = f"{self.eigenvalues[0]:.4g}" if len(self.eigenvalues) else "none"
        return (
            f"Spectrum({self.matrix}, T={self.iterations:,}, n={self.dimensions:,}, rank={self.rank:,}, "
            f"lambda_1={largest}, trace={self.trace:.4g})"
        )

    def _repr_html_(self) -> str:
        rows: dict[str, object] = {
            "iterations, T": f"{self.iterations:,}",
            "parameters, n": f"{self.dimensions:,}",
            "eigenvalues above rounding": f"{self.rank:,} of {len(self.eigenvalues):,}",
            "largest": f"{self.eigenvalues[0]:.4g}" if len(self.eigenvalues) else "none",
            "trace": f"{self.trace:.4g}",
        }
        picture = rank_picture(self.eigenvalues[: self.rank], f"Eigenvalues of the {self.matrix} by rank, log-log")
        return html_table(f"Spectrum of the {self.matrix}", rows, picture)

    def power_law(self, k: int = 1000, alpha: float = 0.05) -> PowerLawFit:
        """The power-law fit of the k largest eigenvalues.

        A spectrum is not a sample: eigenvalues repel one another, so that passing means "as straight as a power law on
        log-log axes", and the p-value is descriptive.

        Raises:
            InputError: some of the k largest eigenvalues are rounding errors.
        """
        if k > self.rank:
            raise InputError(f"k={k} but the {self.matrix} spectrum has numerical rank {self.rank}")
        return fit_power_law(self.eigenvalues, k, alpha)

    def eigenvectors(self, k: int) -> Eigenvectors:
        """The k leading eigenvectors u_k = G^T v_k / sqrt(T lambda_k) in parameter space, computed anew at each call.

        Arguments and result as for :func:`~gradlaw.spectra.eigenvectors.gradient_eigenvectors`. The gradients are
        read, or collected, once more.

        Raises:
            InputError: k < 1, k above the numerical rank, or a spectrum that does not know its gradients: one that was
                loaded, or computed from a Gram matrix alone.
        """
        origin: Origin | None = self.__dict__.get("origin")
        if origin is None:
            raise InputError(
                "this spectrum does not know its gradients (it was loaded, or comes from a Gram matrix alone): use "
                "gradient_spectrum(history).eigenvectors(k)"
            )
        found = eigenvectors_of(origin, k, self.centred)
        # A part of rounding is left to another algorithm for the same eigenvalues.
        tolerance = _AGREEMENT * self.eigenvalues[0] + self.floor
        if not np.allclose(found.eigenvalues, self.eigenvalues[:k], rtol=0, atol=tolerance):
            raise InputError(
                "the eigenvalues of this spectrum are not those of the gradients that it was computed from (were they "
                "replaced?): use gradient_spectrum(history).eigenvectors(k)"
            )
        return found

    def __copy__(self) -> "Spectrum":
        return replace(self)

    def __deepcopy__(self, memo: dict[int, Any]) -> "Spectrum":
        return replace(self, eigenvalues=self.eigenvalues.copy())

    def __getstate__(self) -> dict[str, Any]:
        """For pickle: without the gradients, which may be many gigabytes, or computed by a model."""
        return {name: value for name, value in self.__dict__.items() if name != "origin"}
