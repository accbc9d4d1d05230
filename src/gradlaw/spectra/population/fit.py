"""The law of a population that makes the measured log determinants most likely.

Differences of L(tau) between neighbours of a grid of tau are nearly Gaussian with known mean and covariance (see
:mod:`gradlaw.spectra.population.log_determinants`), so that a law is fitted by generalised least squares and the
residual sum of squares is chi-squared where the population is of the family. Differences are blind to how large the
outliers are.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from scipy import special
from scipy.linalg import solve_triangular

from gradlaw.by_value import ByValue
from gradlaw.errors import choice, significance
from gradlaw.spectra.population.laws import Family, Shape, logarithms, population
from gradlaw.spectra.population.log_determinants import (
    Draws,
    expected_log_determinants,
    expected_means,
    log_determinants,
)

SPACING, FEWEST_TAUS = 3.0, 4  # ratio of neighbouring tau: closer ones tell nearly the same
BREAK_TAUS = 6  # that a law of four parameters takes, closer together where the spectrum spans little
CLOSER = (SPACING, 2.0, 1.5)
STEEPEST, LEAST = 8.0, -0.5  # exponents that are looked for
_HEIGHT, _ROUNDS, _SETTLED, _STEP = 12.0, 4, 1e-3, 1e-4
# Rounds that take more steps creep along a valley of chi^2, by less than 1e-5 of it.
_ENOUGH = {"ftol": 1e-5, "xtol": 1e-5, "gtol": 1e-5, "max_nfev": 40}
_FLOOR = 1e-6  # variance of a difference below which the closed forms are not trusted
Residuals = Callable[[np.ndarray], np.ndarray]
_STARTS = (0.35, 0.7)  # of the break, between the first rank and the last, by logarithm


@dataclass(frozen=True, eq=False)
class Measured(ByValue):
    """Eigenvalues of B that a law is fitted to.

    Attributes:
        eigenvalues: l_i, descending.
        outliers: leading ones that no law describes.
        last: number of the last that is used.
    """

    eigenvalues: np.ndarray
    outliers: int
    last: int

    @property
    def slope(self) -> float:
        """Of the line through logarithms of eigenvalue and rank: an exponent to start from."""
        ranks = np.log(np.arange(self.outliers + 1, self.last + 1))
        values = np.log(self.eigenvalues[self.outliers : self.last])
        return float(np.clip(-np.cov(ranks, values)[0, 1] / ranks.var(ddof=1), LEAST, STEEPEST))

    def taus(self, spacing: float = SPACING) -> np.ndarray:
        """A grid over the eigenvalues in use, descending, that hardly moves with single ones."""
        used = np.log(self.eigenvalues[self.outliers : self.last])
        step, middle = np.log(spacing), used.mean()
        low, high = int(np.floor((used[-1] - middle) / step)), int(np.ceil((used[0] - middle) / step))
        while high - low + 1 < FEWEST_TAUS:
            low, high = (low - 1, high) if middle - low * step < high * step - middle else (low, high + 1)
        return np.asarray(np.exp(middle + step * np.arange(high, low - 1, -1)))


@dataclass(frozen=True, eq=False)
class PopulationLaw(ByValue):
    """A law fitted to a population: lambda = c r^-s, below a break r^-s_below.

    Attributes:
        parameters: as :func:`~gradlaw.spectra.population.laws.logarithms` takes them.
        covariance: of their errors.
        chi_square: residual sum of squares, chi-squared where the population is of the family.
        degrees: its degrees of freedom.
        shape: where the law begins and ends.
    """

    parameters: np.ndarray
    covariance: np.ndarray
    chi_square: float
    degrees: int
    shape: Shape

    @property
    def s(self) -> float:
        """The exponent, with a break that of the upper part."""
        return float(self.parameters[1])

    @property
    def s_below(self) -> float:
        """The exponent below the break; s without one."""
        return float(self.parameters[2 if self.broken else 1])

    @property
    def broken(self) -> bool:
        """Whether it has a break."""
        return len(self.parameters) > 2

    @property
    def break_rank(self) -> float | None:
        """Where the break is; None without one."""
        return float(np.exp(self.parameters[3])) if self.broken else None

    @property
    def p_value(self) -> float:
        """Of a spectrum further from the law than this one, where the population is of the family."""
        return float(special.chdtrc(self.degrees, self.chi_square))

    def interval(self, name: str, level: float = 0.95) -> tuple[float, float]:
        """Of ``"s"``, ``"s_below"`` or ``"break_rank"``, for a population that is of the family: see :attr:`p_value`.

        That of the break ends at the first and the last rank of the law: from one to the other, nothing is known of it.

        Raises:
            InputError: another name, one that the law does not have, or a level outside (0, 1).
        """
        places = {"s": 1, "s_below": 2, "break_rank": 3} if self.broken else {"s": 1}
        place = places[choice(name, "name", places)]
        half = special.ndtri((1 + significance(level, "level")) / 2) * np.sqrt(self.covariance[place, place])
        ends = self.parameters[place] + np.array([-half, half])
        if name == "break_rank":
            ends = np.exp(np.clip(ends, np.log(self.shape.first), np.log(self.shape.dimensions)))
        return float(ends[0]), float(ends[1])

    def scaled(self, factor: float) -> "PopulationLaw":
        """The same law of gradients whose covariance is so many times as large."""
        parameters = self.parameters.copy()
        parameters[0] += np.log(factor)
        return replace(self, parameters=parameters)

    def eigenvalues(self, ranks: np.ndarray) -> np.ndarray:
        """Lambda at ranks from the first of the law to n."""
        return np.asarray(np.exp(logarithms(self.parameters, np.asarray(ranks, dtype=float), self.shape.pivot)))


def fit_law(measured: Measured, dimensions: int, draws: Draws, family: Family) -> PopulationLaw | None:
    """The most likely law of a family.

    Args:
        measured: what it is fitted to.
        dimensions: n.
        draws: how many, and how they were made equal in size.
        family: of laws.

    Returns:
        None where the spectrum spans too little for so many parameters, or no law of the family comes near.
    """
    first, taus = measured.outliers + 1, measured.taus()
    shape = Shape(first, dimensions, float(np.sqrt(first * measured.last)))
    slope = measured.slope
    if family == "power law":
        starts = [[slope]]
    else:
        taus = next((grid for grid in map(measured.taus, CLOSER) if len(grid) >= BREAK_TAUS), taus)
        if len(taus) < BREAK_TAUS:
            return None
        span = np.log(measured.last / first)
        bends = [(slope, slope), (slope / 2, 1.5 * slope)]
        starts = [[above, below, np.log(first) + part * span] for part in _STARTS for above, below in bends]
    height = float(np.log(measured.eigenvalues[int(shape.pivot) - 1]))
    fits = [_from(np.array([height, *start]), measured, shape, draws, taus) for start in starts]
    found = [fit for fit in fits if fit is not None]
    return min(found, key=lambda fit: fit.chi_square) if found else None


def _from(start: np.ndarray, measured: Measured, shape: Shape, draws: Draws, taus: np.ndarray) -> PopulationLaw | None:
    """Least squares from one start, with the covariance of the law found last; None where there is no such law."""
    from scipy.optimize import least_squares  # heavy: loaded where a law is fitted

    observed = np.diff(log_determinants(measured.eigenvalues, taus))
    outliers = measured.eigenvalues[: measured.outliers]
    low, high = [start[0] - _HEIGHT, LEAST], [start[0] + _HEIGHT, STEEPEST]
    if len(start) > 2:
        low, high = [*low, LEAST, np.log(shape.first)], [*high, STEEPEST, np.log(shape.dimensions)]
    parameters = start
    for _ in range(_ROUNDS):
        expected = expected_log_determinants(population(parameters, shape, outliers, draws.count), draws, taus)
        covariance = np.diff(np.diff(expected.covariance, axis=0), axis=1) + _FLOOR * np.eye(len(taus) - 1)
        if not np.isfinite(covariance).all() or np.linalg.eigvalsh(covariance)[0] <= 0:
            return None
        whitening = solve_triangular(np.linalg.cholesky(covariance), np.eye(len(observed)), lower=True)

        def residuals(at: np.ndarray, whitening: np.ndarray = whitening) -> np.ndarray:
            means = expected_means(population(at, shape, outliers, draws.count), draws, taus)
            return np.asarray((observed - np.diff(means)) @ whitening.T)

        def slopes(at: np.ndarray, residuals: Residuals = residuals) -> np.ndarray:
            return _forward_differences(residuals, at, np.array(high))

        solution = least_squares(residuals, parameters, slopes, bounds=(low, high), **_ENOUGH)
        moved = float(np.max(np.abs(solution.x - parameters)))
        parameters = solution.x
        if moved < _SETTLED:
            break
    information = solution.jac.T @ solution.jac
    if not np.isfinite(information).all() or np.linalg.cond(information) > 1 / np.finfo(float).eps:
        return None
    degrees = len(observed) - len(parameters)
    return PopulationLaw(parameters, np.linalg.inv(information), float(2 * solution.cost), degrees, shape)


def _forward_differences(function: Residuals, at: np.ndarray, highest: np.ndarray) -> np.ndarray:
    """The Jacobian (m, p) of a function of several points at once: all p steps take little longer than one."""
    steps = _STEP * np.maximum(1, np.abs(at))  # not less, or rounding would show
    steps = np.where(at + steps > highest, -steps, steps)
    points = at + np.vstack([np.zeros(len(at)), np.diag(steps)])
    values = function(points)
    return np.asarray((values[1:] - values[0]).T / (points[1:].diagonal() - at))
