"""When not to trust a noise scale: each reason, and whether the numbers show it."""

import math
from dataclasses import dataclass

import numpy as np

from gradlaw.batch_size.methods import HESSIAN, HISTORY, MethodEstimate, couples_samples
from gradlaw.batch_size.scale import ScaleEstimate
from gradlaw.history import GradientHistory
from gradlaw.problem import Problem
from gradlaw.stats.powerlaw import fit_power_law

ADAPTIVE = ("adam", "adamw", "rmsprop", "adagrad", "lion", "adafactor", "lamb")
_TAIL = 20  # a tail is this part of the iterations
_OFF = 3.0  # times: learning rates that differ by more are not tuned; noise scales that do, do not agree


@dataclass(frozen=True)
class Caution:
    """One reason not to trust a noise scale.

    Attributes:
        name: of the reason.
        applies: whether the numbers show it; None where they cannot.
        text: with the numbers.
    """

    name: str
    applies: bool | None
    text: str


@dataclass(frozen=True)
class Training:
    """What is known of the training that the parameters are from; None where it is not.

    Attributes:
        batch_size: in use, in samples.
        optimizer: its name, such as ``"adam"``.
        learning_rate: in use.
    """

    batch_size: int | None = None
    optimizer: str | None = None
    learning_rate: float | None = None


def cautions(
    problem: Problem,
    history: GradientHistory,
    methods: dict[str, MethodEstimate],
    best_rate: float | None,
    training: Training,
) -> tuple[Caution, ...]:
    """Every reason there is, those that apply first."""
    scale = methods[HISTORY].noise_scale
    found = [
        _signal(scale, history),
        _end_of_training(scale, problem),
        _heavy_tails(history),
        _optimizer(training),
        _learning_rate(methods[HESSIAN].noise_scale, best_rate, training),
        _disagreement(scale, methods[HESSIAN]),
        _coupled(problem),
        Caution("noise scale grows in training", None, "this is one point of the training; measure later ones too "
                "(--checkpoint), for noise scales commonly grow by ten times and more as the loss falls"),
    ]  # fmt: skip
    return tuple(sorted(found, key=lambda caution: {True: 0, None: 1, False: 2}[caution.applies]))


def _signal(scale: ScaleEstimate | None, history: GradientHistory) -> Caution:
    name, drawn = "signal lost in noise", len(history) * history.settings.batch_size
    if scale is None:
        return Caution(name, True, "the gradients do not vary above rounding: there is neither noise nor noise scale")
    if scale.has_signal:
        return Caution(name, False, f"the signal of {drawn:,} samples is significantly above 0")
    at_least = f"; the noise scale is at least {scale.low:,.0f}" if math.isfinite(scale.low) else ""
    return Caution(name, True, f"the signal of {drawn:,} samples is not significantly above 0{at_least}; measure with "
                   "more iterations or a larger batch size")  # fmt: skip


def _end_of_training(scale: ScaleEstimate | None, problem: Problem) -> Caution:
    name = "near a stationary point"
    if scale is None:
        return Caution(name, None, "no noise scale to compare with the data set")
    size = f"{'no value' if math.isinf(scale.value) else f'{scale.value:,.0f}'}"
    applies = scale.value > problem.samples
    relation = "above" if applies else "not above"
    return Caution(name, applies, f"noise scale ({size}) {relation} the {problem.samples:,} samples of the data set"
                   + ("; the mean gradient is nearly zero, as at the end of a training, and says little about how to "
                      "reach it" if applies else ""))  # fmt: skip


def _heavy_tails(history: GradientHistory) -> Caution:
    """Standard errors need a finite variance of |g|^2, a tail index above 2."""
    name = "heavy tails"
    squares = np.concatenate(
        [rows.double().square().sum(dim=1).cpu().numpy() for _, rows in history.blocks("dimension")]
    )
    k = max(10, len(squares) // _TAIL)
    largest = np.sort(squares)[::-1]
    share = float(largest[: max(1, len(squares) // 100)].sum() / max(largest.sum(), np.finfo(float).tiny))
    if len(squares) <= k or not 0 < largest[k - 1] < largest[0]:
        return Caution(name, None, "too few iterations to see a tail")
    index = 1 / fit_power_law(squares, k).s
    low, high = index * (1 - 2 / math.sqrt(k)), index * (1 + 2 / math.sqrt(k))
    numbers = f"tail index of |g|^2 {index:.2f} ({low:.2f} to {high:.2f}, k = {k}); the largest 1% of the iterations " \
              f"hold {share:.0%} of the sum"  # fmt: skip
    if index < 2:
        return Caution(
            name, True, f"{numbers}: below 2 its variance is infinite, and the error bars here are too short"
        )
    return Caution(name, False, numbers)


def _optimizer(training: Training) -> Caution:
    name = "adaptive optimiser"
    if training.optimizer is None:
        return Caution(name, None, "the optimiser is not known (--optimiser says it); the theory is for plain SGD")
    if training.optimizer.lower() in ADAPTIVE:
        return Caution(name, True, f"{training.optimizer} scales each coordinate: its noise scale is not that of the "
                       "plain gradients measured here")  # fmt: skip
    return Caution(name, False, f"{training.optimizer} does not scale coordinates")


def _learning_rate(scale: ScaleEstimate | None, best_rate: float | None, training: Training) -> Caution:
    """The theory has each batch size at its best learning rate: best / (1 + B_noise / B), Hessian-weighted."""
    name = "learning rate not tuned"
    if training.learning_rate is None:
        return Caution(name, None, "the learning rate is not known (--learning-rate says it)")
    if best_rate is None or scale is None or training.batch_size is None or math.isinf(scale.value):
        return Caution(name, None, "no best learning rate to compare with: it takes a batch size in use, a signal, and "
                       "a loss that curves upwards along the gradient")  # fmt: skip
    best = best_rate / (1 + scale.value / training.batch_size)
    ratio = training.learning_rate / best
    text = f"{training.learning_rate:.3g} in use, {best:.3g} best for one step at this batch size ({ratio:.2g} times)"
    return Caution(name, not 1 / _OFF < ratio < _OFF, text)


def _disagreement(scale: ScaleEstimate | None, weighted: MethodEstimate) -> Caution:
    name = "simple and Hessian-weighted differ"
    of_hessian = weighted.noise_scale
    if scale is None or of_hessian is None or math.isinf(scale.value) or math.isinf(of_hessian.value):
        return Caution(name, None, "one of them has no value")
    ratio = of_hessian.value / scale.value
    apart = of_hessian.low > scale.high or of_hessian.high < scale.low
    text = f"the Hessian-weighted one is {ratio:.2g} times the simple one"
    return Caution(name, apart and not 1 / _OFF < ratio < _OFF, text + ("" if apart else ", within their errors"))


def _coupled(problem: Problem) -> Caution:
    name = "samples coupled by batch norm"
    if couples_samples(problem):
        return Caution(name, True, "batch norm takes statistics of the minibatch: noise is not that of single samples "
                       "over B, and other batch sizes have another mean gradient")  # fmt: skip
    return Caution(name, False, "no batch norm in training mode")
