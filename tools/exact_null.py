"""The exact distribution of the distance between a Pareto tail of K values and the power law fitted to it.

With y = ln(x / lambda_min) the fitted law is exponential with rate K / sum y, and the N = K - 1 ratios u = y / sum y
above lambda_min are uniform on the simplex whatever the exponent. D <= d holds the j-th smallest of them between

    a_j = -ln(1 - (j + 1) / K + d) / K     and     b_j = -ln(1 - j / K - d) / K      (0 and infinity where void).

N independent exponentials of rate r given their sum are uniform on a simplex too. So the probability is the density at
1 of their sum on that region, over its density without it; and this is a Laplace transform inverted (Durbin 1975): for
each complex rate the probability of the region follows from counts between neighbouring boundaries, point by point.
The integrand is analytic on the line Re r = N, where the trapezoidal rule converges fast, and no term is larger there
than the probability itself: the result is good to about 1e-14, absolute (1e-12 at K = 4).
"""

import math

import numpy as np

_NEGLIGIBLE = 1e-17


def distance_cdf(k: int, d: float) -> float:
    """P(D <= d) for a tail of k values; the atom at d = 1/k is included."""
    if d < 1 / k:
        return 0.0
    if k == 2 or d >= 1 - 1 / k:
        return 1.0
    if k == 3:
        return _three(d)
    low, high = _boundaries(k, d)
    if (low > high).any():
        return 0.0
    n = k - 1
    scale = math.exp(math.lgamma(n) + math.lgamma(n + 1) - 2 * n * math.log(n) + 2 * n) / math.pi
    step = 2 * math.pi / (14 / math.sqrt(n) + 40 / n)  # the sum is within this period of its mean but for e^-40
    total = _transform(low, high, np.zeros(1), n)[0].real / 2
    chunk = 64 if n > 12 else 1 << 14
    for start in range(1, 1 << 21, chunk):
        y = step * np.arange(start, start + chunk)
        terms = _transform(low, high, y, n)
        total += float((np.exp(1j * y) * terms).real.sum())
        if np.abs(terms[-8:]).max() * step * scale < _NEGLIGIBLE * max(1, start):
            break
    return scale * step * total


def _three(d: float) -> float:
    """Of three values u_1 is uniform on (0, 1/2) and u_2 = 1 - u_1: the length of an interval."""
    (low, low_2), (high, high_2) = _boundaries(3, d)
    return max(0.0, 2 * (min(high, 1 - low_2, 0.5) - max(low, 1 - high_2)))


def _boundaries(k: int, d: float) -> tuple[np.ndarray, np.ndarray]:
    j = np.arange(1, k)
    low = -np.log(np.minimum(1 - (j + 1) / k + d, 1)) / k
    room = 1 - j / k - d
    high = np.where(room > 1e-15, -np.log(np.maximum(room, 1e-300)) / k, np.inf)
    return np.maximum(low, 0), high


def _transform(low: np.ndarray, high: np.ndarray, y: np.ndarray, n: int) -> np.ndarray:
    """The Laplace transform of the region at n + iy, scaled: a sum over counts of points between boundaries."""
    rate = n + 1j * y
    times = np.unique(np.concatenate([low[low > 0], high[np.isfinite(high)]]))
    most = np.searchsorted(low, times, side="left")  # points before this time, at most and at least
    least = np.searchsorted(high, times, side="right")
    ends = np.append(times, np.inf)
    counts = np.ones((1, len(y)), dtype=complex)  # row i: first + i points so far
    first, start = 0, 0.0
    for end, top, bottom in zip(ends, [*most, n], [*least, n], strict=True):
        share = math.exp(-n * start) - math.exp(-n * end)
        weight = n * n * (np.exp(-rate * start) - (np.exp(-rate * end) if end < np.inf else 0)) / rate
        grown = np.zeros((top - bottom + 1, len(y)), dtype=complex)
        term = np.full(len(y), math.exp(-n * share), dtype=complex)
        for added in range(top - first + 1):
            lowest, highest = max(bottom, first + added), min(top, first + added + len(counts) - 1)
            if lowest <= highest:
                part = slice(lowest - first - added, highest - first - added + 1)
                grown[lowest - bottom : highest - bottom + 1] += term * counts[part]
            term = term * (weight / (added + 1))
            if added > n * share and np.abs(term).max() < 1e-40:
                break
        counts, first, start = grown, bottom, end
    return counts[0]
