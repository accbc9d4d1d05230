"""Simulate the null distributions behind the calibrated verdicts; writes src/gradlaw/stats/null_tables.npz.

Two statistics, both distribution-free under their null, so that the sample size alone decides:

ks_power_law  sqrt(K) times the Kolmogorov-Smirnov distance between the K largest values of a Pareto sample and the
              Pareto law fitted to them. ln(x / lambda_min) of the K - 1 values above the K-th are independent
              standard exponentials up to the rate, which is estimated, so any Pareto gives the same distribution.
normaltest    the D'Agostino-Pearson K^2 of k independent normal values.

Order statistics of exponentials come from normalised spacings (Renyi), so nothing is sorted. Quantiles for the larger
sizes are smoothed over K by a weighted cubic in K^(-1/2): the simulation noise of one size is larger than what the
distribution moves between neighbouring sizes.

    python tools/make_null_tables.py            # about ten minutes on two cores
"""

import argparse
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from scipy import stats

SEED = 20240517
TABLE = Path(__file__).parents[1] / "src/gradlaw/stats/null_tables.npz"
KS_SIZES = [*range(2, 21), 25, 30, 40, 50, 70, 100, 150, 200, 300, 500, 700, 1000, 1500, 2000, 3000,
            5000, 10_000, 20_000, 50_000, 100_000]  # fmt: skip
NORMAL_SIZES = [*range(8, 21), 25, 30, 40, 50, 60, 70, 80, 90, 100, 150, 200, 300, 500, 1000, 2000, 5000, 10_000]
SMOOTH_FROM = 100  # sizes from here on are smoothed over
VALUES_PER_SIZE = 1_200_000_000
MOST_SAMPLES = 4_000_000
# Survival probabilities at which quantiles are kept: dense where verdicts are taken, and both tails.
LEVELS = np.unique(np.round(np.concatenate([
    [1e-4, 2e-4, 5e-4], np.arange(0.001, 0.02, 0.001), np.arange(0.02, 0.2, 0.0025), np.arange(0.2, 0.99, 0.01),
    [0.99, 0.995, 0.999, 0.9999]]), 6))  # fmt: skip


def ks_distances(k: int, samples: int, rng: np.random.Generator) -> np.ndarray:
    spacings = rng.standard_exponential((samples, k - 1)) / np.arange(k - 1, 0, -1)
    log_ratios = np.cumsum(spacings, axis=1)  # ascending; the K-th value itself stands at zero
    rate = k / log_ratios.sum(axis=1, keepdims=True)
    cdf = -np.expm1(-rate * log_ratios)
    above = (np.arange(2, k + 1) / k - cdf).max(axis=1)
    below = (cdf - np.arange(1, k) / k).max(axis=1)
    return np.maximum(np.maximum(above, below), 1 / k)


def k_squared(k: int, samples: int, rng: np.random.Generator) -> np.ndarray:
    return stats.normaltest(rng.standard_normal((samples, k)), axis=1).statistic


def quantiles_of_size(task: tuple[str, int]) -> tuple[np.ndarray, int]:
    statistic, k = task
    rng = np.random.default_rng([SEED, statistic == "ks_power_law", k])
    samples = min(MOST_SAMPLES, VALUES_PER_SIZE // k // (1 if statistic == "ks_power_law" else 3))
    chunk = max(1, 400_000 // k)
    draw, scale = (ks_distances, np.sqrt(k)) if statistic == "ks_power_law" else (k_squared, 1.0)
    parts = [draw(k, min(chunk, samples - done), rng) for done in range(0, samples, chunk)]
    return scale * np.quantile(np.concatenate(parts), 1 - LEVELS), samples


def smooth(sizes: np.ndarray, quantiles: np.ndarray, samples: np.ndarray, limit: np.ndarray | None) -> np.ndarray:
    """Replace the rows from SMOOTH_FROM on by a weighted cubic in K^(-1/2) and append a row for K = infinity.

    ``limit`` is that last row where it is known; the cubic then starts from it.
    """
    large = sizes >= SMOOTH_FROM
    root, weights = sizes[large] ** -0.5, np.sqrt(samples[large])
    powers = np.vander(root, 4, increasing=True)
    known = np.zeros(len(LEVELS)) if limit is None else limit
    fitted = powers if limit is None else powers[:, 1:]
    rest = (quantiles[large] - known) * weights[:, None]
    coefficients, *_ = np.linalg.lstsq(fitted * weights[:, None], rest, rcond=None)
    smoothed = quantiles.copy()
    smoothed[large] = known + fitted @ coefficients
    return np.vstack([smoothed, coefficients[0] if limit is None else limit])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, default=2)
    workers = parser.parse_args().workers
    arrays = {"levels": LEVELS, "seed": np.array(SEED)}
    limits = {"ks_power_law": None, "normaltest": stats.chi2(2).isf(LEVELS)}
    with ProcessPoolExecutor(workers) as pool:
        for statistic, sizes in (("ks_power_law", KS_SIZES), ("normaltest", NORMAL_SIZES)):
            quantiles, samples = zip(*pool.map(quantiles_of_size, [(statistic, k) for k in sizes]), strict=True)
            arrays[f"{statistic}_sizes"] = np.append(sizes, np.inf)
            arrays[f"{statistic}_quantiles"] = smooth(
                np.array(sizes, dtype=float), np.array(quantiles), np.array(samples, dtype=float), limits[statistic]
            )
    np.savez_compressed(TABLE, **arrays)
    print(f"wrote {TABLE}")


if __name__ == "__main__":
    main()
