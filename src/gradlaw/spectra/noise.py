"""Gradient noise in the numbers that practitioners use, each with its standard error.

Of T gradients g(t) of B samples each, with mean gbar, for the whole model or the dimensions of one layer:

    tr S      = sum |g(t) - gbar|^2 / (T - 1)    trace of the covariance of one iteration's gradient
    |g|^2     = |gbar|^2 - c tr Sigma            squared mean gradient, unbiased
    tr Sigma  = tr S / a                         trace of the covariance of one sample's gradient
    B_simple  = tr Sigma / |gbar|^2              gradient noise scale (McCandlish et al. 2018, Eq. 2.9), in samples
    SNR       = |g|^2 / tr S                     signal to noise of one iteration; 1 where B is the noise scale
    tr C / lambda_1                              stable rank of the covariance
    (tr C)^2 / tr C^2                            participation ratio of the covariance

Independent samples have a = 1/B and c = 1/(TB). Minibatches drawn from epochs of N samples without replacement repel
one another: two of one epoch have covariance -Sigma/N. With f the share of such pairs among all pairs of iterations,

    a = (1/B - 1/N) + f/N,    c = (1/B - 1/N)/T - f (T - 1)/(T N)

and Sigma the covariance over the data set (divided by N - 1). In whole epochs c = 0: their mean is the full gradient.

Everything comes from the T x T Gram matrix. Standard errors are jackknife ones: each iteration left out in turn, by
formulas in O(T^2) together. They take iterations for independent and err on the large side: for |g|^2 and its ratios
where epochs repeat, and by up to sqrt(2) where the mean is lost in noise (Efron and Stein 1981).
"""

import math
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from scipy.sparse.linalg import eigsh
from torch import Tensor

from gradlaw.argument_types import checked
from gradlaw.errors import InputError
from gradlaw.spectra.access import gradients_of, layout_of, own_columns, own_layout, rounding_of
from gradlaw.spectra.eigenvectors import check_gram
from gradlaw.spectra.gram.dense import centre, gram_matrix, gram_of_blocks
from gradlaw.spectra.gram.memory import zero_gram
from gradlaw.spectra.layers import layer_blocks

if TYPE_CHECKING:
    import pandas as pd

FEWEST_ITERATIONS = 5  # one more than the distinct iterations in the unbiased tr Sigma^2, to leave one out


class Estimate(NamedTuple):
    """A value and its standard error; both may be infinite, none is NaN."""

    value: float
    standard_error: float


@dataclass(frozen=True)
class GradientNoise:
    """Signal and noise of a gradient; the formulas head this module.

    Attributes:
        trace: tr S of one iteration, in squared units of the gradient.
        sample_trace: tr Sigma of one sample.
        mean_square: |gbar|^2, which noise makes larger than |g|^2.
        mean_square_unbiased: |g|^2 without that bias; may fall below 0 where the mean is lost in noise.
        noise_scale: tr Sigma / |gbar|^2 in samples, too small by the bias of |gbar|^2.
        noise_scale_unbiased: tr Sigma over the unbiased |g|^2 (McCandlish et al. 2018, appendix A.1: each part is
            unbiased, their ratio nearly); infinite where that is not above 0.
        signal_to_noise: unbiased |g|^2 / tr S.
        stable_rank: tr C / lambda_1, from 1 to T - 1.
        participation_ratio: (tr C)^2 / tr C^2 of the measured covariance, from 1 to T - 1.
        participation_ratio_corrected: the same with tr C^2 estimated without the bias that T << n gives it (Chen,
            Zhang, Zhong 2010), for any distribution of the gradients; infinite where that is not above 0.
        batch_size: B.
        iterations: T.
        degenerate: the variation is not above rounding: trace, noise scales and ranks are 0. Where gradients are
            nothing but rounding errors, all is 0.
    """

    trace: Estimate
    sample_trace: Estimate
    mean_square: Estimate
    mean_square_unbiased: Estimate
    noise_scale: Estimate
    noise_scale_unbiased: Estimate
    signal_to_noise: Estimate
    stable_rank: Estimate
    participation_ratio: Estimate
    participation_ratio_corrected: Estimate
    batch_size: int
    iterations: int
    degenerate: bool

    def scalars(self) -> dict[str, Any]:
        """Every estimate under its name and its standard error under ``NAME_error``, then the rest."""
        row: dict[str, Any] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            row[field.name] = value.value if isinstance(value, Estimate) else value
            if isinstance(value, Estimate):
                row[f"{field.name}_error"] = value.standard_error
        return row


@checked
def gradient_noise(
    history: Any, batch_size: int | None = None, samples: int | None = None, *, gram: Tensor | None = None
) -> GradientNoise:
    """Trace of the covariance, noise scale, signal-to-noise, stable rank and participation ratio of a history.

    Args:
        history: a GradientHistory, in memory or on disk, or a (T, n) array or tensor of gradients, in the order of
            collection.
        batch_size: B. Default: the one of the history.
        samples: N, if minibatches were drawn from epochs without replacement. Default: that of the history; of an
            array, or with replacement, draws are taken for independent.
        gram: G G^T of the uncentred gradients as :func:`~gradlaw.spectra.gram.dense.gram_matrix` makes it, if at hand.

    Raises:
        InputError: fewer than 5 iterations, a value that is not finite, no batch size, one below 1, or, without
            replacement, one that is not below N: full batches tell nothing of the spread of samples.

    Example:
        >>> import numpy as np
        >>> gradients = 1 + 3 * np.random.default_rng(0).standard_normal((2000, 50))  # |g|^2 = 50, tr S = 450
        >>> noise = gradient_noise(gradients, batch_size=10)
        >>> abs(noise.noise_scale_unbiased.value / 90 - 1) < 0.1
        True
    """
    gradients = gradients_of(history)
    batch_size, samples = sizes_of(history, batch_size, samples)
    gram = gram_matrix(gradients) if gram is None else gram
    check_gram(gram, len(gradients))
    return noise_of_gram(gram, batch_size, samples, rounding_of(history))


def gradient_noise_by_layer(history: Any, batch_size: int | None = None, samples: int | None = None) -> "pd.DataFrame":
    """:func:`gradient_noise` of the whole model and of each parameter tensor.

    Args:
        history: a GradientHistory.
        batch_size: see :func:`gradient_noise`.
        samples: see :func:`gradient_noise`.

    Returns:
        Indexed by ``group`` and ``name``: first ``("model", "all")``, then ``("tensor", ...)`` in the order of the
        layout; columns as :meth:`GradientNoise.scalars` has them, and ``dimensions``.

    Raises:
        InputError: as :func:`gradient_noise`, or an array, which has no layout.
    """
    import pandas as pd  # loaded for those who ask for a table

    own, layout, rounding = own_columns(history), layout_of(history), rounding_of(history)
    batch_size, samples = sizes_of(history, batch_size, samples)
    alone, iterations, device = tensors_of_rounding_alone(history), len(own.gradients), own.gradients.device
    total = zero_gram(iterations, device)
    rows: dict[tuple[str, str], dict[str, Any]] = {("model", "all"): {}}
    here = {part.name for part in own_layout(history)}
    parts = layer_blocks(own.gradients, own_layout(history))
    for part in layout:
        blocks = next(parts)[1] if part.name in here else ()
        gram = own.ranks.sum(gram_of_blocks(blocks, iterations, device))
        total += gram
        noise = noise_of_gram(gram, batch_size, samples, math.inf if part.name in alone else rounding)
        rows[("tensor", part.name)] = {"dimensions": part.stop - part.start, **noise.scalars()}
    noise = noise_of_gram(total, batch_size, samples, rounding)
    rows[("model", "all")] = {"dimensions": own.dimensions, **noise.scalars()}
    index = pd.MultiIndex.from_tuples(rows, names=["group", "name"])
    return pd.DataFrame(list(rows.values()), index=index)


def noise_of_gram(gram: Tensor, batch_size: int, samples: int | None = None, rounding: float = 0.0) -> GradientNoise:
    """:func:`gradient_noise` from the Gram matrix G G^T of the uncentred gradients.

    ``rounding`` is the relative rounding error of a gradient, ||error|| / ||g||; infinite where it is nothing else.
    """
    estimates, degenerate = noise_of_sums(gram.diagonal(), gram.sum(dim=1), batch_size, samples, rounding)
    ranks = _no_ranks(len(gram)) if degenerate else _ranks(centre(gram))
    estimates |= {name: jackknife(series) for name, series in ranks.items()}
    return GradientNoise(**estimates, batch_size=batch_size, iterations=len(gram), degenerate=degenerate)


def noise_of_sums(
    squares: Tensor, row_sums: Tensor, batch_size: int, samples: int | None = None, rounding: float = 0.0
) -> tuple[dict[str, Estimate], bool]:
    """All of :class:`GradientNoise` but the ranks, by name, and whether it is degenerate.

    Args:
        squares: |g(t)|^2, the diagonal of the Gram matrix; shape (T,).
        row_sums: g(t) . sum_s g(s), the sums of its rows; shape (T,).
        batch_size: B.
        samples: see :func:`gradient_noise`.
        rounding: see :func:`noise_of_gram`.
    """
    iterations = len(squares)
    _check_sizes(iterations, batch_size, samples)
    whole, without = _factors(iterations, batch_size, samples), _factors(iterations - 1, batch_size, samples)
    first = _first_order(squares, row_sums)
    floor = max(rounding**2, iterations * float(np.finfo(np.float64).eps)) * float(squares.mean())
    degenerate = float(first.trace[0]) <= floor
    if degenerate:
        first = first._replace(trace=np.zeros_like(first.trace))
    if math.isinf(rounding):
        first = first._replace(mean_square=np.zeros_like(first.mean_square))
    return {name: jackknife(series) for name, series in _derived(first, whole, without).items()}, degenerate


class _FirstOrder(NamedTuple):
    """tr S and |gbar|^2 of all iterations, and then with each left out: shape (T + 1,)."""

    trace: np.ndarray
    mean_square: np.ndarray


def _first_order(squares: Tensor, row_sums: Tensor) -> _FirstOrder:
    """Leaving g(i) out takes K_ii off sum |g|^2, and 2 (K 1)_i - K_ii off |sum g|^2."""
    d, r = squares.cpu().numpy(), row_sums.cpu().numpy()
    counts = np.concatenate([[len(d)], np.full(len(d), len(d) - 1)])
    power = np.concatenate([[0.0], -d]) + d.sum()
    sums = (np.concatenate([[0.0], d - 2 * r]) + r.sum()).clip(min=0)
    return _FirstOrder((power - sums / counts).clip(min=0) / (counts - 1), sums / counts**2)


class _Factors(NamedTuple):
    """a and c of the module's formulas."""

    trace: float
    mean: float


def _factors(iterations: int, batch_size: int, samples: int | None) -> _Factors:
    if samples is None:
        return _Factors(1 / batch_size, 1 / (iterations * batch_size))
    spread = 1 / batch_size - 1 / samples
    per_epoch = samples // batch_size
    epochs, rest = divmod(iterations, per_epoch)
    pairs = epochs * per_epoch * (per_epoch - 1) + rest * (rest - 1)
    f = pairs / (iterations * (iterations - 1))
    mean = (spread - f * (iterations - 1) / samples) / iterations
    return _Factors(spread + f / samples, max(0.0, mean))


def _derived(first: _FirstOrder, whole: _Factors, without: _Factors) -> dict[str, np.ndarray]:
    ones = np.ones(len(first.trace) - 1)
    sample_trace = first.trace / np.concatenate([[whole.trace], without.trace * ones])
    unbiased = first.mean_square - np.concatenate([[whole.mean], without.mean * ones]) * sample_trace
    return {
        "trace": first.trace,
        "sample_trace": sample_trace,
        "mean_square": first.mean_square,
        "mean_square_unbiased": unbiased,
        "noise_scale": quotient(sample_trace, first.mean_square),
        "noise_scale_unbiased": quotient(sample_trace, unbiased),
        "signal_to_noise": quotient(unbiased, first.trace),
    }


def _ranks(centred: Tensor) -> dict[str, np.ndarray]:
    """Stable rank and participation ratios of the covariance, whole and with each iteration left out.

    The matrix is overwritten: a copy takes as long as what is computed of it.
    """
    d = centred.diagonal().cpu().numpy().copy()
    left = len(d) - 1
    # The others' mean moves by -x_i / (T - 1), and with it their scatter.
    scatter = np.concatenate([[d.sum()], d.sum() - d - d / left])
    counts = np.concatenate([[left + 1], np.full(left + 1, left)])
    return {
        "stable_rank": quotient(scatter, _largest(centred)),
        "participation_ratio": quotient(scatter**2, _frobenius_squared(centred)),
        "participation_ratio_corrected": quotient((scatter / (counts - 1)) ** 2, _trace_of_square(centred)),  # the last
    }


def _no_ranks(iterations: int) -> dict[str, np.ndarray]:
    names = ("stable_rank", "participation_ratio", "participation_ratio_corrected")
    return {name: np.zeros(iterations + 1) for name in names}


def _largest(centred: Tensor) -> np.ndarray:
    """Largest eigenvalue of the centred Gram matrix; left-one-out ones are Rayleigh quotients of its eigenvector.

    With p the projections of the gradients on u_1, sum p^2 = lambda and sum p = 0, it becomes lambda - p_i^2 T/(T-1).
    """
    gram = centred.cpu().numpy()
    start = np.random.default_rng(0).standard_normal(len(gram))
    values, vectors = eigsh(gram, k=1, which="LA", v0=start)
    p_squared = values[0] * vectors[:, 0] ** 2
    return np.concatenate([values, values[0] - p_squared * len(gram) / (len(gram) - 1)])


def _frobenius_squared(centred: Tensor) -> np.ndarray:
    """||K||_F^2 of the centred Gram matrix, whole and with each iteration left out and the rest centred anew."""
    d, q = centred.diagonal().cpu().numpy(), _row_squares(centred)
    m = len(d) - 1
    without = q.sum() - 2 * q + d**2 - 2 * (q - d**2) / m + (d / m) ** 2
    return np.concatenate([[q.sum()], without])


def _trace_of_square(centred: Tensor) -> np.ndarray:
    """Unbiased tr Sigma^2: the mean over distinct i, j, k, l of K_ij^2 - 2 K_ij K_jk + K_ij K_kl, and left-one-out.

    Of K with a zero diagonal only three sums are needed: F = sum K_ij^2, R = |K 1|^2 and S = sum K_ij. The diagonal is
    overwritten.
    """
    t = len(centred)
    off = centred.fill_diagonal_(0)
    sums = off.sum(dim=1)
    f, r, mixed = _row_squares(off), sums.cpu().numpy(), (off @ sums).cpu().numpy()
    count = np.concatenate([[t], np.full(t, t - 1)])
    squares = np.concatenate([[0.0], -2 * f]) + f.sum()
    rows = np.concatenate([[0.0], f - r**2 - 2 * mixed]) + (r**2).sum()
    total = np.concatenate([[0.0], -2 * r]) + r.sum()
    pairs = count * (count - 1.0)
    triples, quadruples = pairs * (count - 2), pairs * (count - 2) * (count - 3)
    return squares / pairs - 2 * (rows - squares) / triples + (total**2 - 4 * rows + 2 * squares) / quadruples


def _row_squares(matrix: Tensor) -> np.ndarray:
    return torch.linalg.vector_norm(matrix, dim=1).square().cpu().numpy()


def quotient(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """``above / below``: 0 where nothing is above, infinite where only below is not positive."""
    quotient = above / np.where(below > 0, below, 1)
    return np.where(below > 0, quotient, np.where(above > 0, np.inf, 0.0))


def jackknife(series: np.ndarray) -> Estimate:
    """From the value of all T iterations and the T values with one left out."""
    value, without = float(series[0]), series[1:]
    if not np.isfinite(series).all():
        return Estimate(value, math.inf)
    return Estimate(value, float(np.sqrt((len(without) - 1) * without.var())))


def _check_sizes(iterations: int, batch_size: int, samples: int | None) -> None:
    if iterations < FEWEST_ITERATIONS:
        raise InputError(f"gradient noise needs at least {FEWEST_ITERATIONS} iterations, got {iterations}")
    if batch_size < 1:
        raise InputError(f"batch_size must be at least 1, got {batch_size}")
    if samples is not None and batch_size >= samples:
        raise InputError(
            f"batch_size={batch_size} of {samples} samples: every gradient is of the whole data set, and the spread of "
            "its samples does not show; collect with a smaller batch size"
        )


def tensors_of_rounding_alone(history: Any) -> list[str]:
    """Names of the tensors whose gradients are rounding errors (a bias before a batch norm), if the history knows."""
    return getattr(history, "settings", {}).get("rounding_alone", [])


def sizes_of(history: Any, batch_size: int | None, samples: int | None) -> tuple[int, int | None]:
    """B and N: those given, else those of the history; no N for draws with replacement."""
    settings = getattr(history, "settings", {})
    if batch_size is None:
        batch_size = settings.get("batch_size")
    if batch_size is None:
        raise InputError("the noise scale counts samples: pass batch_size, how many each gradient is the mean of")
    if samples is None and not settings.get("replacement", True):
        samples = settings.get("samples")
    return batch_size, samples
