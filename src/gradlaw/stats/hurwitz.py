"""The Hurwitz zeta function in logarithms, with the mean that it is the normaliser of.

zeta(s, q) = sum over n >= 0 of (q + n)^(-s). ``scipy.special.zeta`` underflows for large s and has no derivative.
"""

import numpy as np

# B_2j / (2j)! of the Euler-Maclaurin formula.
_BERNOULLI = (
    1 / 12, -1 / 720, 1 / 30240, -1 / 1209600, 1 / 47900160, -691 / 1307674368000, 1 / 74724249600,
    -3617 / 10670622842880000,
)  # fmt: skip
_SUMMED_TO = 12.0  # q + N, plus s: there the terms of that formula fall below rounding


def log_zeta(s: np.ndarray, q: np.ndarray) -> np.ndarray:
    """Ln zeta(s, q) for s > 1 and q > 0, elementwise, to about 1e-14 of its size or of 1."""
    s, q = np.broadcast_arrays(np.asarray(s, dtype=np.float64), np.asarray(q, dtype=np.float64))
    total, _ = _scaled(s, q)
    return np.log(total) - s * np.log(q)


def mean_log_ratio(s: np.ndarray, q: np.ndarray) -> np.ndarray:
    """-d/ds ln zeta(s, q) - ln q: the mean of ln(x / q) under p(x) ~ x^(-s) on q, q + 1, ..."""
    s, q = np.broadcast_arrays(np.asarray(s, dtype=np.float64), np.asarray(q, dtype=np.float64))
    total, slope = _scaled(s, q)
    return slope / total


def _scaled(s: np.ndarray, q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """q^s zeta(s, q) and its weighted sum, that of ((q + n) / q)^(-s) ln((q + n) / q): Euler-Maclaurin."""
    direct = max(0, int(np.ceil((_SUMMED_TO + 1.2 * s - q).max(initial=0.0))))
    total, slope = np.zeros(s.shape), np.zeros(s.shape)
    for n in range(direct):
        log = np.log1p(n / q)
        term = np.exp(-s * log)
        total += term
        slope += log * term
    end = q + direct
    log = np.log1p(direct / q)
    first = np.exp(-s * log)  # of the rest, beginning with the integral from `end` and half of the term there
    total += first * (end / (s - 1) + 0.5)
    slope += first * (end / (s - 1) * (log + 1 / (s - 1)) + 0.5 * log)
    # f^(m)(end) = -+ (s)_m end^-m f(end), (s)_m the rising factorial; its logarithmic derivative is a sum of 1/(s + i).
    factor, harmonic = s / end, 1 / s
    for j, coefficient in enumerate(_BERNOULLI):
        total += coefficient * factor * first
        slope += coefficient * factor * first * (log - harmonic)
        i = 2 * j + 1
        factor = factor * (s + i) * (s + i + 1) / end**2
        harmonic = harmonic + 1 / (s + i) + 1 / (s + i + 1)
    return total, slope
