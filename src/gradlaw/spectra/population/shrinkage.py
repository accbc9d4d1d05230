"""Linear shrinkage of a sample covariance (Ledoit and Wolf 2004), as a reference."""

from typing import NamedTuple

from torch import Tensor

from gradlaw.errors import count
from gradlaw.spectra.gram.dense import centre


class Shrinkage(NamedTuple):
    """The sample covariance S becomes (1 - intensity) S + intensity target I, with target = tr S / n."""

    intensity: float
    target: float

    def shrunk(self, eigenvalues: Tensor) -> Tensor:
        """Eigenvalues of the covariance, divided by T, after shrinking; the n - T others are intensity target."""
        return (1 - self.intensity) * eigenvalues + self.intensity * self.target


def ledoit_wolf(gram: Tensor, dimensions: int) -> Shrinkage:
    """The intensity with the least expected squared error of all entries, as scikit-learn estimates it.

    It moves every eigenvalue by one rule, toward one value: it cannot make a line of another slope. Where T is far
    below n nearly all that it adds is n - T equal eigenvalues.

    Args:
        gram: G G^T of uncentred gradients, (T, T) float64.
        dimensions: n.

    Raises:
        InputError: no dimension.
    """
    dimensions = count(dimensions, "dimensions")
    centred = centre(gram)
    iterations = len(gram)
    squares = float(centred.square().sum()) / iterations**2  # |S|^2
    target = float(centred.diagonal().sum()) / (iterations * dimensions)
    distance = squares - dimensions * target**2
    noise = (float(centred.diagonal().square().sum()) / iterations - squares) / iterations
    intensity = min(1.0, max(0.0, noise / distance)) if distance > 0 else 1.0
    return Shrinkage(intensity, target)
