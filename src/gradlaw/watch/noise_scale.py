"""The gradient noise scale of a training run, from squared norms of parts of its batches.

A step's gradient is the mean over B samples. Parts of the batch, of b_i samples each (microbatches, ranks, single
samples), have gradients g_i of their own, whose mean weighted by b_i is the gradient G of the step. As
E|g_i|^2 = |g|^2 + tr Sigma / b_i and E|G|^2 = |g|^2 + tr Sigma / B (McCandlish et al. 2018, appendix A.1),

    tr Sigma = (sum b_i |g_i|^2 / sum b_i - |G|^2) / (1/b - 1/B)    with b = sum b_i / number of parts
    |g|^2    = |G|^2 - tr Sigma / B

are unbiased at every step, whatever the sizes of the parts (other weights w_i in the mean put sum w_i |g_i|^2 for the
first term, 1/b = sum w_i / b_i and 1/B = sum w_i^2 / b_i); with parts of one sample this is the estimate of Gray et
al. (2024). The noise scale is the mean of the first over that of the second: their means over steps are unbiased, the
ratio of one step means nothing. Names and units are those of :class:`~gradlaw.spectra.noise.GradientNoise`.

What it assumes: each part is a random draw of the samples (sorted batches are none), and gradients are means, so that
no sample counts more than another. Steps along training need not be alike. Given the parameters, a fresh batch makes
an error that no earlier step tells, so that errors of different steps are uncorrelated, and the spread over steps, to
which the way of the true values adds, gives standard errors that err on the large side. What is estimated is then the
mean tr Sigma over the mean |g|^2 of these very steps. Where steps are taken as a sample of a longer stretch, their
true values are correlated, and ``block`` averages that many consecutive steps before standard errors are taken.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from gradlaw.errors import InputError, count
from gradlaw.spectra.noise import Estimate, jackknife, quotient
from gradlaw.stats.ratio_interval import ratio_interval

if TYPE_CHECKING:
    import pandas as pd

FEWEST_BLOCKS = 5  # of which standard errors and an interval are made
RELIABLE_BLOCKS = 20  # from which on the interval was measured to hold its level
WHOLE = "all"  # the name of the whole model

Numbers = float | Sequence[float] | np.ndarray | Tensor


@dataclass(frozen=True)
class NoiseScale:
    """Signal and noise of the gradients of some steps of a run.

    Attributes:
        mean_square_unbiased: |g|^2, the signal, mean over the steps; may fall below 0 where it is lost in noise.
        sample_trace: tr Sigma, the noise of one sample, mean over the steps.
        noise_scale_unbiased: their ratio in samples; infinite where the signal is not above 0.
        interval: limits of the ratio that cover it with probability ``level``; an upper limit of infinity says that
            the signal is not significantly above 0. None where there is no interval.
        level: of the interval.
        steps: how many it is of.
        blocks: of consecutive steps, of which standard errors were made.
        autocorrelation: of tr Sigma - ratio |g|^2 between one block and the next; 0 for independent ones. None where
            it has no value.
        reason: why there is no interval or no upper limit, or why not to trust it; None if nothing speaks against it.
    """

    mean_square_unbiased: Estimate
    sample_trace: Estimate
    noise_scale_unbiased: Estimate
    interval: tuple[float, float] | None
    level: float
    steps: int
    blocks: int
    autocorrelation: float | None
    reason: str | None

    def scalars(self) -> dict[str, Any]:
        """Every value by name; an estimate's standard error is ``NAME_error``, limits end in ``_low`` and ``_high``."""
        row: dict[str, Any] = {}
        for name in ("mean_square_unbiased", "sample_trace", "noise_scale_unbiased"):
            row[name], row[f"{name}_error"] = getattr(self, name)
        row["interval_low"], row["interval_high"] = self.interval or (None, None)
        return row | {name: getattr(self, name) for name in ("level", "steps", "blocks", "autocorrelation", "reason")}


class NoiseScaleAccumulator:
    """Collects squared norms step by step, for each layer and so for the whole model, and estimates when asked.

    It keeps two numbers a layer and step. A step with a norm that is not finite, as loss scaling tries, is left out
    and counted in ``skipped``.

    Args:
        layers: their names; "all" is kept for the whole model, of which they are all the parts.
        window: how many of the latest steps are kept; None for all.
        samples: N, if batches are drawn from epochs of that many samples without replacement and |g|^2 should be that
            of the mean gradient of the data set, as :func:`~gradlaw.spectra.noise.gradient_noise` has it. None: of the
            population.
        rounding: relative error that a squared norm may have. Parts whose squared norms are smaller on average than
            that of the whole batch by more are refused: no parts of one batch are.

    Raises:
        InputError: no layer, one named twice or "all", a window below 1, or ``rounding`` that is not positive.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> noise = NoiseScaleAccumulator(["weight"])
        >>> for _ in range(300):  # |g|^2 = 4, tr Sigma = 100: a noise scale of 25 samples
        ...     parts = 0.2 + rng.standard_normal((8, 2, 100)).mean(axis=1)
        ...     noise.add((parts**2).sum(axis=1), 2, (parts.mean(axis=0) ** 2).sum(), 16)
        >>> found = noise.estimate()["weight"]
        >>> low, high = found.interval
        >>> low < 25 < high < 28, round(found.sample_trace.value)
        (True, 100)
    """

    def __init__(
        self, layers: Sequence[str], window: int | None = None, samples: int | None = None, rounding: float = 1e-4
    ):
        self.layers = list(layers)
        if not self.layers or len(set(self.layers)) < len(self.layers) or WHOLE in self.layers:
            raise InputError(f"layers must be different names, none of them {WHOLE!r}, got {self.layers}")
        if not rounding > 0:
            raise InputError(f"rounding must be above 0, got {rounding}")
        self.window = None if window is None else count(window, "window")
        self.samples = None if samples is None else count(samples, "samples", minimum=2)
        self.rounding = rounding
        self.skipped = 0
        self._rows: deque[np.ndarray] = deque(maxlen=self.window)  # (2, layers): tr Sigma, |g|^2

    def __len__(self) -> int:
        return len(self._rows)

    def add(
        self,
        small_squared_norms: Numbers,
        small_batch: Numbers,
        big_squared_norm: Numbers,
        big_batch: float,
        weights: Numbers | None = None,
    ) -> None:
        """One step.

        Args:
            small_squared_norms: |g_i|^2 of the mean gradients of the parts, shape (parts, layers), or (parts,) for one
                layer.
            small_batch: b_i, samples of a part: one number, or one for each.
            big_squared_norm: |G|^2 of the mean gradient of the batch, shape (layers,), or a number for one.
            big_batch: B, samples of the batch. The parts are all of it, or some.
            weights: w_i of the parts in the batch's gradient, where they are all of it but do not count by their sizes;
                taken relative to their sum.

        Raises:
            InputError: shapes that do not fit, sizes or weights that are not positive, parts that are together larger
                than the batch or no smaller than it each, or norms that no parts of one batch have.
        """
        small, sizes, big = self._checked(small_squared_norms, small_batch, big_squared_norm, big_batch)
        if not (np.isfinite(small).all() and np.isfinite(big).all()):
            self.skipped += 1
            return
        whole = bool(np.isclose(sizes.sum(), big_batch, rtol=1e-9))
        w = sizes / sizes.sum() if weights is None else _checked_weights(weights, len(sizes), whole)
        mean, inverse_small = w @ small, w @ (1 / sizes)
        inverse_big = w**2 @ (1 / sizes) if whole else 1 / big_batch
        if whole:
            self._refuse_impossible(mean, big)
        trace = (mean - big) / (inverse_small - inverse_big)
        self._rows.append(np.stack([trace, big - (inverse_big - (1 / self.samples if self.samples else 0)) * trace]))

    def estimate(self, level: float = 0.95, block: int = 1) -> dict[str, NoiseScale]:
        """By layer, and under "all" for the whole model.

        Args:
            level: of the intervals, inside (0, 1).
            block: how many consecutive steps are averaged before standard errors are taken; see the module. Those at
                the beginning that do not fill a block are left out.

        Raises:
            InputError: no steps yet, a level outside (0, 1), or a block below 1 or of more steps than there are.
        """
        if not self._rows:
            raise InputError("no step was added yet, so there is no noise scale" + self._skipped())
        rows = np.stack(self._rows)
        rows = np.concatenate([rows.sum(axis=2, keepdims=True), rows], axis=2)
        return dict(zip([WHOLE, *self.layers], estimates(rows, level, count(block, "block")), strict=True))

    def to_frame(self, level: float = 0.95, block: int = 1) -> "pd.DataFrame":
        """:meth:`estimate` as a table, a row for the whole model and each layer."""
        import pandas as pd  # loaded for those who ask for a table

        found = self.estimate(level, block)
        return pd.DataFrame([value.scalars() for value in found.values()], index=pd.Index(found, name="layer"))

    def state_dict(self) -> dict[str, Any]:
        """All that was collected, for :meth:`load_state_dict`."""
        rows = np.stack(self._rows) if self._rows else np.empty((0, 2, len(self.layers)))
        return {"layers": list(self.layers), "rows": torch.from_numpy(rows), "skipped": self.skipped}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where another accumulator was.

        Raises:
            InputError: it has other layers.
        """
        if list(state["layers"]) != self.layers:
            raise InputError(f"the state is of layers {state['layers']}, this accumulator of {self.layers}")
        self._rows = deque(state["rows"].numpy().copy(), maxlen=self.window)
        self.skipped = int(state["skipped"])

    def _checked(
        self, small: Numbers, small_batch: Numbers, big: Numbers, big_batch: float
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        layers = len(self.layers)
        norms, whole = _array(small), np.atleast_1d(_array(big))
        norms = norms[:, None] if norms.ndim == 1 and layers == 1 else norms
        if norms.ndim != 2 or norms.shape[1] != layers or whole.shape != (layers,) or len(norms) < 1:
            raise InputError(
                f"squared norms of {layers} layers have shapes (parts, {layers}) and ({layers},), got {norms.shape} "
                f"and {whole.shape}"
            )
        sizes = (
            np.broadcast_to(_array(small_batch), len(norms)) if _array(small_batch).ndim == 0 else _array(small_batch)
        )
        if sizes.shape != (len(norms),) or not (sizes > 0).all():
            raise InputError(f"small_batch must be a positive size, or {len(norms)} of them, got {small_batch}")
        if sizes.sum() > big_batch * (1 + 1e-9) or sizes.sum() >= big_batch * len(sizes):
            raise InputError(
                f"{len(sizes)} parts of {sizes.sum():g} samples in all do not divide a batch of {big_batch:g}: at "
                "least two parts are needed that are together no larger than the batch, or one that is smaller"
            )
        return norms, sizes, whole

    def _refuse_impossible(self, mean: np.ndarray, big: np.ndarray) -> None:
        """The squared norm of a mean is at most the mean of the squared norms."""
        wrong = np.flatnonzero(big - mean > self.rounding * big)
        if len(wrong):
            at = wrong[0]
            raise InputError(
                f"layer {self.layers[at]!r}: the batch's gradient has squared norm {big[at]:.6g}, more than its parts' "
                f"{mean[at]:.6g} on average, which no mean of them has. Were the parts divided by the number of "
                "accumulation steps, or the loss scaled, in one of the two only?"
            )

    def _skipped(self) -> str:
        return f" ({self.skipped} had norms that are not finite)" if self.skipped else ""


def estimates(rows: np.ndarray, level: float, block: int = 1) -> list[NoiseScale]:
    """The noise scale of m series from tr Sigma and |g|^2 of each step, shape (T, 2, m)."""
    if len(rows) < block:
        raise InputError(f"block={block} steps were asked for, and only {len(rows)} were added; use a smaller block")
    blocks = len(rows) // block
    rows = rows[len(rows) - blocks * block :]
    means = rows.reshape(blocks, block, 2, -1).mean(axis=1)
    low, high = ratio_interval(means[:, 0], means[:, 1], level) if blocks >= FEWEST_BLOCKS else (None, None)
    found = []
    for i in range(rows.shape[2]):
        limits = None if low is None or high is None else (float(low[i]), float(high[i]))
        found.append(_estimate(rows[:, :, i], means[:, :, i], limits, level))
    return found


def _estimate(rows: np.ndarray, means: np.ndarray, interval: tuple[float, float] | None, level: float) -> NoiseScale:
    trace, signal = rows.mean(axis=0)
    values = {"sample_trace": trace, "mean_square_unbiased": signal, "noise_scale_unbiased": _ratio(trace, signal)}
    errors = {name: _error(means, name) for name in values}
    found = {name: Estimate(float(value), errors[name]) for name, value in values.items()}
    interval, reason = _trusted(interval, found["mean_square_unbiased"], len(means))
    return NoiseScale(
        **found,
        interval=interval,
        level=level,
        steps=len(rows),
        blocks=len(means),
        autocorrelation=_autocorrelation(means, found["noise_scale_unbiased"].value),
        reason=reason,
    )


def _ratio(trace: float, signal: float) -> float:
    return float(quotient(np.asarray(trace), np.asarray(signal)))


def _error(means: np.ndarray, name: str) -> float:
    """The jackknife standard error over blocks; infinite where there are too few of them."""
    if len(means) < FEWEST_BLOCKS:
        return float("inf")
    sums = np.concatenate([[means.sum(axis=0)], means.sum(axis=0) - means])
    counts = np.concatenate([[len(means)], np.full(len(means), len(means) - 1)])
    traces, signals = (sums / counts[:, None]).T
    series = {"sample_trace": traces, "mean_square_unbiased": signals}.get(name)
    return jackknife(quotient(traces, signals) if series is None else series).standard_error


def _trusted(
    interval: tuple[float, float] | None, signal: Estimate, blocks: int
) -> tuple[tuple[float, float] | None, str | None]:
    """The interval and what there is to say against it."""
    if interval is None:
        return None, f"{blocks} blocks are too few for standard errors and an interval: at least {FEWEST_BLOCKS}"
    size = f"{signal.value:.3g} +- {signal.standard_error:.2g}"
    if interval[0] == np.inf:
        return (
            None,
            f"the squared mean gradient comes out significantly below 0 ({size}), which no assumption here allows",
        )
    if interval[1] == np.inf:
        return interval, f"no upper limit: the squared mean gradient is not significantly above 0 ({size})"
    if blocks < RELIABLE_BLOCKS:
        return (
            interval,
            f"{blocks} blocks are few: intervals were measured to hold their level from {RELIABLE_BLOCKS} on",
        )
    return interval, None


def _autocorrelation(means: np.ndarray, ratio: float) -> float | None:
    if len(means) < FEWEST_BLOCKS or not np.isfinite(ratio):
        return None
    d = means[:, 0] - ratio * means[:, 1]
    d = d - d.mean()
    power = float(d @ d)
    return float(d[1:] @ d[:-1]) / power if power > 0 else None


def _checked_weights(weights: Numbers, parts: int, whole: bool) -> np.ndarray:
    w = _array(weights)
    if not whole:
        raise InputError("weights are of parts that are the whole batch; of some of it, the rest's would be unknown")
    if w.shape != (parts,) or not (w > 0).all():
        raise InputError(f"weights must be {parts} positive numbers, one a part, got {weights}")
    return w / w.sum()


def _array(values: Numbers) -> np.ndarray:
    if isinstance(values, Tensor):
        values = values.detach().cpu().double().numpy()
    return np.asarray(values, dtype=np.float64)
