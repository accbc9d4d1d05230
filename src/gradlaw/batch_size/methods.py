"""The noise scale of the whole model by each method, side by side."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from gradlaw._torch import BatchNorm
from gradlaw.batch_size.by_layer import MODEL, NORMALISATION, scale_of
from gradlaw.batch_size.forms import SignalAndNoise, signal_and_noise, two_batch_sizes
from gradlaw.batch_size.groups import GroupMeans
from gradlaw.batch_size.scale import ScaleEstimate, noise_scale_of
from gradlaw.curvature import hessian
from gradlaw.errors import InputError
from gradlaw.history import GradientHistory
from gradlaw.problem import Problem
from gradlaw.progress import Progress
from gradlaw.spectra.noise import Estimate, sizes_of

if TYPE_CHECKING:
    import pandas as pd

HISTORY, TWO_SIZES, HESSIAN, NORM_LAYERS = "history", "two batch sizes", "Hessian-weighted", "normalisation layers"


@dataclass(frozen=True)
class MethodEstimate:
    """What one method gives for the whole model.

    Attributes:
        method: its name.
        noise_scale: None where there is none.
        reason: why there is none; else what it was taken from.
    """

    method: str
    noise_scale: ScaleEstimate | None
    reason: str


@dataclass(frozen=True)
class AlongHessian:
    """What the products with the Hessian tell beside a noise scale.

    Attributes:
        estimate: the method's.
        best_rate: |G|^2 / G^T H G, the learning rate that lowers a quadratic loss most with the full gradient
            (McCandlish et al. 2018, Eq. 2.4); None where the loss does not curve upwards along it.
    """

    estimate: MethodEstimate
    best_rate: float | None


def from_two_sizes(history: GradientHistory, groups: GroupMeans, level: float) -> MethodEstimate:
    """The ratio tr Sigma / |G|^2 from |G|^2 at two batch sizes, as a training loop measures it."""
    batch_size, _ = sizes_of(history, None, None)
    found = two_batch_sizes(groups.small, groups.big, groups.size, batch_size)
    taken = f"batches of {batch_size:,} and of {batch_size * groups.size:,}, {found.groups} of the latter"
    return MethodEstimate(TWO_SIZES, _scale(found, level), taken)


def from_norm_layers(problem: Problem, layers: "pd.DataFrame") -> MethodEstimate:
    """That of the normalisation layers alone (Gray et al. 2024), for their gradients cost nothing to square."""
    key = (NORMALISATION, "all")
    if key not in layers.index:
        return MethodEstimate(NORM_LAYERS, None, "the model has none among the parameters analysed")
    if couples_samples(problem):
        return MethodEstimate(NORM_LAYERS, None, "batch norm in training mode: no gradients of single samples")
    row = layers.loc[key]
    scale = scale_of(row)
    if scale is None:
        return MethodEstimate(NORM_LAYERS, None, "their gradients do not vary above rounding")
    share = row["dimensions"] / layers.loc[(MODEL, "all"), "dimensions"]
    return MethodEstimate(NORM_LAYERS, scale, f"{int(row['dimensions']):,} parameters, {share:.1%} of the model")


def from_hessian(
    problem: Problem, history: GradientHistory, groups: GroupMeans, samples: int, level: float, progress: Progress
) -> AlongHessian:
    """The ratio tr(H Sigma) / G^T H G, which predicts the gain of a step (McCandlish et al. 2018, Eq. 2.8)."""
    batch_size, of_data = sizes_of(history, None, None)
    coupled = batch_size if couples_samples(problem) else None
    used = min(samples, problem.samples)
    try:
        with progress.stage("linearise the Hessian"):
            operator = hessian(problem, used - used % (coupled or 1), batch_size=coupled, ranks="one")
    except InputError as error:
        return AlongHessian(MethodEstimate(HESSIAN, None, f"no Hessian: {error}"), None)
    found = signal_and_noise(groups.forms(operator, progress), groups.size, batch_size, of_data)
    plain = signal_and_noise(_products(groups), groups.size, batch_size, of_data)
    degrees, reason = found.groups - 1, _not_positive(found, level)
    if reason:
        return AlongHessian(MethodEstimate(HESSIAN, None, reason), None)
    rate = plain.signal.value / found.signal.value if found.signal.value > 0 and plain.signal.value > 0 else None
    taken = f"H of {used:,} samples, {found.groups} products"
    return AlongHessian(MethodEstimate(HESSIAN, noise_scale_of(found.inverse, degrees, level), taken), rate)


def couples_samples(problem: Problem) -> bool:
    """Whether a batch norm takes the statistics of the minibatch."""
    return any(isinstance(m, BatchNorm) and (m.training or m.running_mean is None) for m in problem.model.modules())


def _products(groups: GroupMeans) -> np.ndarray:
    means = groups.means.double()
    return (means @ means.T).cpu().numpy()


def _scale(found: SignalAndNoise, level: float) -> ScaleEstimate:
    return noise_scale_of(found.inverse, found.groups - 1, level)


def _not_positive(found: SignalAndNoise, level: float) -> str | None:
    """Why the ratio means nothing: it needs noise that costs, that is, lies where the loss curves upwards."""
    from scipy import stats  # half a second to load

    reach = float(stats.t.ppf((1 + level) / 2, found.groups - 1)) * found.noise.standard_error
    if found.noise.value > reach:
        return None
    return f"tr(H Sigma) = {_with(found.noise)} is not significantly above 0: noise does not raise the loss"


def _with(estimate: Estimate) -> str:
    return f"{estimate.value:.3g} +- {estimate.standard_error:.2g}"
