"""Compute the null distributions behind the calibrated verdicts; writes src/gradlaw/stats/null_tables.npz.

Two statistics, both distribution-free under their null, so that the sample size alone decides:

ks_power_law  sqrt(K) times the Kolmogorov-Smirnov distance between the K largest values of a Pareto sample and the
              Pareto law fitted to them: exact to 1e-13 up to EXACT_UP_TO (see exact_null.py), from there on by a
              polynomial in K^(-1/2) through the exact quantiles.
normaltest    the D'Agostino-Pearson K^2 of k independent normal values: simulated, quantiles of the larger sizes
              smoothed over K by a weighted cubic in K^(-1/2), for the simulation noise of one size is larger than what
              the distribution moves between neighbouring sizes.

    python tools/make_null_tables.py                      # about ten minutes on two cores
    python tools/make_null_tables.py --only ks_power_law  # keeps the other table
"""

import argparse
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from exact_null import distance_cdf
from scipy import interpolate, stats

SEED = 20240517
TABLE = Path(__file__).parents[1] / "src/gradlaw/stats/null_tables.npz"
KS_SIZES = [*range(2, 21), 25, 30, 40, 50, 70, 100, 150, 200, 300, 500, 700, 1000, 1500, 2000, 3000,
            5000, 10_000, 20_000, 50_000, 100_000]  # fmt: skip
NORMAL_SIZES = [*range(8, 21), 25, 30, 40, 50, 60, 70, 80, 90, 100, 150, 200, 300, 500, 1000, 2000, 5000, 10_000]
EXACT_UP_TO = 700
SMOOTH_CURVE_FROM = 12
SMOOTH_FROM = 100  # sizes from here on are smoothed over
VALUES_PER_SIZE = 1_200_000_000
MOST_SAMPLES = 4_000_000
# Survival probabilities at which quantiles are kept: dense where verdicts are taken, and both tails.
NORMAL_LEVELS = np.unique(np.round(np.concatenate([
    [1e-4, 2e-4, 5e-4], np.arange(0.001, 0.02, 0.001), np.arange(0.02, 0.2, 0.0025), np.arange(0.2, 0.99, 0.01),
    [0.99, 0.995, 0.999, 0.9999]]), 6))  # fmt: skip
KS_LEVELS = np.unique(np.concatenate([
    np.multiply.outer(10.0 ** np.arange(-10, -3), [1, 1.5, 2, 3, 4, 5, 6, 8]).ravel(), NORMAL_LEVELS]))  # fmt: skip


def ks_quantiles(k: int) -> tuple[np.ndarray, float]:
    """sqrt(k) D exceeded with each probability of KS_LEVELS, and P(D > 1/k): what is above the atom."""
    atom = 1 / k
    above = 1 - distance_cdf(k, atom)
    if k == 2:
        return np.full(len(KS_LEVELS), k**-0.5), 0.0
    inside = above > KS_LEVELS
    quantiles = np.full(len(KS_LEVELS), atom)
    quantiles[inside] = (_short if k < SMOOTH_CURVE_FROM else _long)(k, -np.log(KS_LEVELS[inside]))
    return np.sqrt(k) * quantiles, above


def _short(k: int, wanted: np.ndarray) -> np.ndarray:
    """The distances of these negative log survivals, from a piecewise polynomial that ends at 1 - 1/k."""
    near = 1 - 1 / k - (1 - 2 / k) * np.geomspace(1e-11, 0.5, 60)
    points = np.unique(np.concatenate([np.linspace(1 / k, 1 - 1 / k, 80)[:-1], near]))
    log_survival, points = _seen(k, points)
    falls = np.append(True, np.diff(np.minimum.accumulate(log_survival)) < 0)  # rounding may repeat a value, not more
    return interpolate.PchipInterpolator(-log_survival[falls], points[falls])(wanted)


def _long(k: int, wanted: np.ndarray) -> np.ndarray:
    """The same where the root of the negative log survival is smooth, nearly a straight line in the distance."""
    points = np.linspace(max(1 / k, 0.2 / np.sqrt(k)), min(2.75 / np.sqrt(k), 1 - 1.001 / k), 28)
    log_survival, points = _seen(k, points)
    dense = np.linspace(points[0], points[-1], 40_001)
    root = interpolate.CubicSpline(points, np.sqrt(-log_survival))(dense)
    return np.interp(np.sqrt(wanted), np.maximum.accumulate(root), dense)


def _seen(k: int, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Log survival at the distances where it is not lost in rounding, and these."""
    survival = np.array([1 - distance_cdf(k, d) for d in points])
    seen = survival > KS_LEVELS[0] / 10
    return np.log(np.minimum(survival[seen], 1.0)), points[seen]


def extend(sizes: np.ndarray, quantiles: np.ndarray) -> np.ndarray:
    """The rows of the exact sizes, continued to the other sizes and infinity by a quartic in K^(-1/2)."""
    exact = sizes <= EXACT_UP_TO
    used = exact & (sizes >= SMOOTH_FROM)
    coefficients = np.polynomial.polynomial.polyfit(sizes[used] ** -0.5, quantiles[used[exact]], 4)
    rest = np.polynomial.polynomial.polyval(np.append(sizes[~exact] ** -0.5, 0.0), coefficients).T
    return np.vstack([quantiles, rest])


def k_squared(k: int, samples: int, rng: np.random.Generator) -> np.ndarray:
    return stats.normaltest(rng.standard_normal((samples, k)), axis=1).statistic


def simulated_quantiles(k: int) -> tuple[np.ndarray, int]:
    rng = np.random.default_rng([SEED, 0, k])
    samples = min(MOST_SAMPLES, VALUES_PER_SIZE // k // 3)
    chunk = max(1, 400_000 // k)
    parts = [k_squared(k, min(chunk, samples - done), rng) for done in range(0, samples, chunk)]
    return np.quantile(np.concatenate(parts), 1 - NORMAL_LEVELS), samples


def smooth(sizes: np.ndarray, quantiles: np.ndarray, samples: np.ndarray, limit: np.ndarray) -> np.ndarray:
    """Replace the rows from SMOOTH_FROM on by a weighted cubic in K^(-1/2) that starts from ``limit``; append that."""
    large = sizes >= SMOOTH_FROM
    root, weights = sizes[large] ** -0.5, np.sqrt(samples[large])
    powers = np.vander(root, 4, increasing=True)[:, 1:]
    rest = (quantiles[large] - limit) * weights[:, None]
    coefficients, *_ = np.linalg.lstsq(powers * weights[:, None], rest, rcond=None)
    smoothed = quantiles.copy()
    smoothed[large] = limit + powers @ coefficients
    return np.vstack([smoothed, limit])


def ks_table(pool: ProcessPoolExecutor) -> dict[str, np.ndarray]:
    exact = [k for k in KS_SIZES if k <= EXACT_UP_TO]
    quantiles, above = zip(*reversed(list(pool.map(ks_quantiles, exact[::-1]))), strict=True)  # the longest first
    sizes = np.array(KS_SIZES, dtype=float)
    rows = extend(sizes, np.array(quantiles))
    above = np.concatenate([above, np.ones(len(rows) - len(above))])
    return {"levels": KS_LEVELS, "sizes": np.append(sizes, np.inf), "quantiles": rows, "above_smallest": above}


def normal_table(pool: ProcessPoolExecutor) -> dict[str, np.ndarray]:
    quantiles, samples = zip(*pool.map(simulated_quantiles, NORMAL_SIZES), strict=True)
    sizes = np.array(NORMAL_SIZES, dtype=float)
    limit = stats.chi2(2).isf(NORMAL_LEVELS)
    rows = smooth(sizes, np.array(quantiles), np.array(samples, dtype=float), limit)
    return {"levels": NORMAL_LEVELS, "sizes": np.append(sizes, np.inf), "quantiles": rows}


def main() -> None:
    tables = {"ks_power_law": ks_table, "normaltest": normal_table}
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--only", choices=tables)
    arguments = parser.parse_args()
    arrays = dict(np.load(TABLE)) if arguments.only else {"seed": np.array(SEED)}
    with ProcessPoolExecutor(arguments.workers) as pool:
        for name in [arguments.only] if arguments.only else tables:
            arrays |= {f"{name}_{part}": array for part, array in tables[name](pool).items()}
    np.savez_compressed(TABLE, **arrays)
    print(f"wrote {TABLE}")


if __name__ == "__main__":
    main()
