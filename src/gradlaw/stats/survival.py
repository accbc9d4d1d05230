"""The empirical survival function of a sample, thinned to a few hundred points, and its picture."""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from torch import Tensor

from gradlaw.extras import extra

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_TAIL_POINTS, _BODY_POINTS = 200, 40
_BLUE, _RED, _GREY = "#1f5fa8", "#c0392b", "#777777"


class SurvivalPoints(NamedTuple):
    """P(X >= value) of a sample of ``length`` magnitudes at a few, descending, about evenly spaced by ln rank."""

    value: tuple[float, ...]
    share: tuple[float, ...]
    length: int


def survival_points(magnitudes: Tensor, tail: np.ndarray) -> SurvivalPoints:
    """Of magnitudes of shape (L,), the largest of which are ``tail``, descending; zeros have no place on its axes."""
    length, k, nonzero = len(magnitudes), len(tail), int(magnitudes.count_nonzero())
    inner = np.unique(np.geomspace(1, k, _TAIL_POINTS).round().astype(int))
    outer = np.unique(np.geomspace(k, max(nonzero, k), _BODY_POINTS).round().astype(int))
    outer = outer[outer > k]
    values = tail[inner - 1]
    if len(outer):  # selecting a few order statistics takes a fraction of the time of a sort
        body = np.partition(magnitudes.cpu().numpy(), length - outer)[length - outer]
        values = np.concatenate([values, body.astype(np.float64)])
    kept = values > 0
    shares = np.concatenate([inner, outer]) / length
    return SurvivalPoints(tuple(values[kept].tolist()), tuple(shares[kept].tolist()), length)


def draw_survival(
    ax: "Axes | None", points: SurvivalPoints, line: tuple[np.ndarray, np.ndarray], label: str, lambda_min: float
) -> "Axes":
    """Empirical P(X >= x) on logarithmic axes, a fitted line, and where the tail begins."""
    if ax is None:
        with extra("report", "drawing"):
            from matplotlib import pyplot  # heavy: loaded only for those who draw

        _, ax = pyplot.subplots()
    ax.plot(points.value, points.share, "o", ms=3.5, mew=0.7, mfc="none", color=_BLUE, label="all magnitudes")
    ax.plot(*line, color=_RED, lw=1.3, ls="--", label=label)
    ax.axvline(lambda_min, color=_GREY, lw=0.8, ls=":", label=rf"$\lambda_{{min}}$ = {lambda_min:.4g}")
    ax.set(xscale="log", yscale="log", xlabel="magnitude x", ylabel="P(X ≥ x)")
    ax.legend(loc="lower left")
    return ax
