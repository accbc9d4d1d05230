"""The exponential, truncated to a tail."""

import math

import numpy as np

from gradlaw.stats.alternatives.tail import Fitted, FittedRows, Tail, TailRows


def fit_exponential(tail: Tail) -> Fitted:
    rate = 1 / float(tail.excess.mean())
    return Fitted({"rate": rate}, math.log(rate) - rate * tail.excess, "converged")


def fit_exponential_rows(tails: TailRows) -> FittedRows:
    rate = 1 / tails.excess.mean(axis=1)
    return FittedRows({"rate": rate}, np.zeros(len(rate), bool), np.ones(len(rate), bool))


def exponential_log_density_rows(tails: TailRows, fits: FittedRows) -> np.ndarray:
    rate = fits.parameters["rate"][:, None]
    return np.log(rate) - rate * tails.excess


def exponential_survival_rows(tails: TailRows, fits: FittedRows) -> np.ndarray:
    return np.exp(-fits.parameters["rate"][:, None] * tails.excess)


def draw_exponential(parameters: dict[str, float], surprise: np.ndarray) -> np.ndarray:
    """Ln y of which the survival probability is exp(-surprise)."""
    return np.log1p(surprise / parameters["rate"])
