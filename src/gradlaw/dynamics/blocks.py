"""How unlike the Hessian spectra of a model's weights are (Zhang et al. 2024, "Why transformers need Adam")."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial.distance import jensenshannon

from gradlaw.by_value import ByValue
from gradlaw.curvature.eigensolver.density import SpectralDensity
from gradlaw.errors import InputError, count

if TYPE_CHECKING:
    import pandas as pd

_LINEAR = 1e-3  # of the largest magnitude: below it the scale of the bins is linear


@dataclass(frozen=True, eq=False)
class BlockDistances(ByValue):
    """Jensen-Shannon distances between the spectra of blocks.

    Attributes:
        names: of the b blocks.
        distances: shape (b, b), symmetric, from 0 (the same) to 1 (no bin in common), with logarithms to base 2.
        normalised: whether each spectrum was divided by its largest magnitude, so that shapes alone are compared.
    """

    names: tuple[str, ...]
    distances: np.ndarray
    normalised: bool

    @property
    def mean(self) -> float:
        """Over all pairs of blocks."""
        return float(self.distances[np.triu_indices(len(self.names), 1)].mean())

    def to_frame(self) -> "pd.DataFrame":
        """The matrix with the names of the blocks."""
        import pandas as pd  # loaded for those who ask for a table

        return pd.DataFrame(self.distances, index=list(self.names), columns=list(self.names))


def block_distances(
    spectra: Mapping[str, SpectralDensity | np.ndarray], *, normalise: bool = False, bins: int = 100
) -> BlockDistances:
    """Jensen-Shannon distances between spectra of blocks, from histograms on common bins.

    The bins are equal on the scale asinh(x / e), e a thousandth of the largest magnitude of all: linear near zero and
    logarithmic beyond, of either sign, because eigenvalues of blocks differ by orders of magnitude. The distance
    depends on bins and scale, so that it can be compared between models with the same settings alone, and not with
    distances of other papers. With a handful of probes, the outermost eigenvalues of a density are exact and its bulk
    is coarse.

    Args:
        spectra: by the name of the block: a ``SpectralDensity`` (of
            :func:`gradlaw.curvature.block_densities`), or an array of eigenvalues.
        normalise: divide each spectrum by its largest magnitude first.
        bins: how many, at least 2.

    Raises:
        InputError: fewer than two blocks, fewer than two bins, a spectrum of zeros alone or one that is not finite.

    Example:
        >>> import numpy as np
        >>> spectra = {"a": np.array([1.0, 2.0]), "b": np.array([100.0, 200.0])}
        >>> block_distances(spectra).mean, block_distances(spectra, normalise=True).mean
        (1.0, 0.0)
    """
    bins = count(bins, "bins", 2)
    if len(spectra) < 2:
        raise InputError(f"distances need at least two blocks, got {len(spectra)}")
    weighted = {name: _weighted(name, spectrum, normalise) for name, spectrum in spectra.items()}
    largest = max(float(np.abs(values).max()) for values, _ in weighted.values())
    edges = np.linspace(-1, 1, bins + 1) * np.arcsinh(1 / _LINEAR)
    shares = []
    for values, weights in weighted.values():
        scaled = np.arcsinh(values / (_LINEAR * largest)).clip(edges[0], edges[-1])
        shares.append(np.histogram(scaled, edges, weights=weights)[0])
    distances = np.array([[jensenshannon(a, b, base=2) for b in shares] for a in shares])
    np.fill_diagonal(distances, 0.0)
    return BlockDistances(tuple(spectra), distances, bool(normalise))


def _weighted(name: str, spectrum: SpectralDensity | np.ndarray, normalise: bool) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues and their weights, of sum 1."""
    if isinstance(spectrum, SpectralDensity):
        values, weights = spectrum.nodes.ravel(), spectrum.weights.ravel()
    else:
        values = np.asarray(spectrum, dtype=np.float64).ravel()
        weights = np.ones_like(values)
    seen = weights > 0
    values, weights = values[seen], weights[seen] / weights.sum()
    if not (len(values) and np.isfinite(values).all() and np.abs(values).max() > 0):
        raise InputError(f"the spectrum of {name} is empty, zero or not finite: nothing to compare")
    return (values / np.abs(values).max() if normalise else values), weights
