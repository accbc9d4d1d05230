"""The power law with an exponential cut-off, for many tails at once."""

import numpy as np

from gradlaw.stats.alternatives.tail import SAME_AS_LIMIT, FittedRows, TailRows, growth

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(16)
_PART_NODES, _PART_WEIGHTS = np.polynomial.legendre.leggauss(12)
_NEGLIGIBLE = 45.0  # a density e^-45 below its peak adds nothing in float64
_LARGEST_LOG = 709.0  # exp of more overflows
_STEPS = 2.0 ** np.arange(-50, 11)
_SMALLEST_LOG_RATE = -600.0
_MOST_STEPS = 60
_NEAR = 0.05  # relative, of the mean of ln y: close enough for a step of the rate
_TOLERANCE = 1e-10  # relative, of both means; the likelihood is off by its square
_BLOCK = 2**19  # nodes that are worked on at once
_DRAWING_POINTS = 20_001


def fit_cutoff_rows(tails: TailRows) -> FittedRows:
    """Roots of the two equations for the means, which are all that the likelihood has from the data.

    Given the rate, the mean of ln y falls with the tilt, and on the curve of the right tilt the mean of growth(ln y)
    falls with the rate: Newton's steps, the second only once the first equation is nearly met, kept inside brackets.
    """
    mean_log, mean_growth = tails.mean, growth(tails.log_ratio).mean(axis=1)
    at_limit = mean_growth * (1 - mean_log) >= mean_log**2 * (1 - SAME_AS_LIMIT)
    search = _Search(mean_log, mean_growth)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):  # a row that overflows does not converge
        converged = search.run(np.flatnonzero(~at_limit))
    rate = np.exp(search.log_rate)
    parameters = {"beta": 1 + search.tilt - rate, "rate": rate, "tilt": search.tilt}
    return FittedRows(parameters, at_limit, converged | at_limit)


class _Search:
    """Tilts and rates on their way, and the brackets they are kept in."""

    def __init__(self, mean_log: np.ndarray, mean_growth: np.ndarray):
        self.wanted = np.stack([mean_log, mean_growth])
        self.tilt, self.log_rate = 1 / mean_log, -np.log(mean_growth)
        self.tilt_low, self.tilt_high = np.full_like(mean_log, -np.inf), np.full_like(mean_log, np.inf)
        self.rate_low, self.rate_high = self.tilt_low.copy(), self.tilt_high.copy()

    def run(self, active: np.ndarray) -> np.ndarray:
        """Search for the rows ``active``; returns where it came to its end."""
        converged = np.zeros(self.wanted.shape[1], bool)
        for _ in range(_MOST_STEPS):
            moments = _moments(self.tilt[active], self.log_rate[active])
            surplus = np.log(moments.means / self.wanted[:, active])
            done = np.abs(surplus).max(axis=0) <= _TOLERANCE
            converged[active[done]] = True
            going = ~done & np.isfinite(surplus).all(axis=0) & np.isfinite(moments.covariance).all(axis=0)
            going &= self.log_rate[active] > _SMALLEST_LOG_RATE
            active, moments, surplus = active[going], moments.part(going), surplus[:, going]
            if not len(active):
                break
            self._move(active, moments, surplus)
        return converged

    def _move(self, active: np.ndarray, moments: "_Moments", surplus: np.ndarray) -> None:
        a, b, c = moments.covariance
        mean_log, mean_growth = moments.means
        rate = np.exp(self.log_rate[active])
        # Newton's step for 1 / mean, which for a power law is linear in the tilt.
        tilt_step = (1 / self.wanted[0, active] - 1 / mean_log) * mean_log**2 / a
        near = np.abs(surplus[0]) < _NEAR
        above = surplus[0] > 0  # the mean is too large: the tilt is too small
        self.tilt_low[active] = np.where(above, self.tilt[active], self.tilt_low[active])
        self.tilt_high[active] = np.where(above, self.tilt_high[active], self.tilt[active])
        ahead = surplus[1] - b / mean_growth * tilt_step  # on the curve of the right tilt, to first order
        slope = rate * (c - b * b / a) / mean_growth  # of -ln mean_growth along it, by ln rate
        rate_step = self._rate_step(active, near, ahead, slope)
        along = np.where(near, -b / a * rate * np.expm1(np.minimum(rate_step, 1.0)), 0.0)
        self.log_rate[active] += np.where(near, rate_step, 0.0)
        wanted = self.tilt[active] + tilt_step
        low, high = self.tilt_low[active], self.tilt_high[active]
        middle = np.where(np.isinf(low), 2 * self.tilt[active] - high, (low + high) / 2)
        middle = np.where(np.isinf(low) | np.isinf(high), wanted, middle)
        inside = (wanted > low) & (wanted < high)
        self.tilt[active] = np.where(near, wanted + along, np.where(inside, wanted, middle))
        # With another rate the bracket of the tilt says nothing.
        self.tilt_low[active[near]], self.tilt_high[active[near]] = -np.inf, np.inf

    def _rate_step(self, active: np.ndarray, near: np.ndarray, ahead: np.ndarray, slope: np.ndarray) -> np.ndarray:
        here = self.log_rate[active]
        sure = near & (np.abs(ahead) > 2 * _NEAR**2)
        self.rate_low[active] = np.where(sure & (ahead > 0), here, self.rate_low[active])
        self.rate_high[active] = np.where(sure & (ahead < 0), here, self.rate_high[active])
        step = ahead / slope
        # Downwards Newton's step in the rate itself, nearly exact for a slight cut-off, unless it is too long.
        step = np.where((step < 0) & (step > -0.9), np.log1p(np.maximum(step, -0.9)), np.clip(step, -4.0, 4.0))
        inside = (here + step > self.rate_low[active]) & (here + step < self.rate_high[active])
        bracketed = np.isfinite(self.rate_low[active]) & np.isfinite(self.rate_high[active])
        middle = (self.rate_low[active] + self.rate_high[active]) / 2
        return np.where(inside | ~bracketed, step, middle - here)


class _Moments:
    """ln of the integral of exp(-tilt t - rate growth(t)); means and covariance of t = ln y and growth(t) under it."""

    def __init__(self, log_integral: np.ndarray, means: np.ndarray, covariance: np.ndarray):
        self.log_integral, self.means, self.covariance = log_integral, means, covariance

    def part(self, chosen: np.ndarray) -> "_Moments":
        return _Moments(self.log_integral[chosen], self.means[:, chosen], self.covariance[:, chosen])


def _moments(tilt: np.ndarray, log_rate: np.ndarray) -> _Moments:
    rate = np.exp(log_rate)
    low = _ends_of_density(tilt, rate, -1)
    high = _ends_of_density(tilt - 2, rate, 1)  # of the density times e^2t, which reaches farther
    panels = 8 * np.ceil((9 + 1.25 * (high - low)) / 8).astype(int)
    result = np.empty((6, len(tilt)))
    for count in np.unique(panels):
        rows = np.flatnonzero(panels == count)
        for part in np.array_split(rows, max(1, len(rows) * count * len(_NODES) // _BLOCK)):
            result[:, part] = _block_moments(tilt[part], rate[part], low[part], high[part], int(count))
    return _Moments(result[0], result[1:3], result[3:])


def _block_moments(tilt: np.ndarray, rate: np.ndarray, low: np.ndarray, high: np.ndarray, panels: int) -> np.ndarray:
    half = (high - low) / panels / 2
    places = (2 * np.arange(panels)[:, None] + 1 + _NODES).ravel()
    t = low[:, None] + half[:, None] * places
    grown = growth(t)
    density = -tilt[:, None] * t - rate[:, None] * grown
    largest = density.max(axis=1)
    density = np.exp(density - largest[:, None]) * np.tile(_WEIGHTS, panels)
    total = density.sum(axis=1)
    density /= total[:, None]
    mean_log, mean_growth = np.einsum("ij,ij->i", density, t), np.einsum("ij,ij->i", density, grown)
    t -= mean_log[:, None]
    grown -= mean_growth[:, None]
    weighted = density * t
    variances = [np.einsum("ij,ij->i", weighted, t), np.einsum("ij,ij->i", weighted, grown)]
    variances.append(np.einsum("ij,ij,ij->i", density, grown, grown))
    return np.stack([largest + np.log(total * half), mean_log, mean_growth, *variances])


def _ends_of_density(tilt: np.ndarray, rate: np.ndarray, side: int) -> np.ndarray:
    """:func:`~gradlaw.stats.alternatives.cutoff.end_of_density` of arrays."""
    mode = np.log1p(np.maximum(-tilt, 0) / rate)
    slope, curvature = np.where(mode > 0, 0.0, tilt), np.where(mode > 0, rate - tilt, rate)
    last = 0.0 if side < 0 else _LARGEST_LOG
    points = np.clip(mode[:, None] + side * _STEPS, 0.0, _LARGEST_LOG)
    distance = np.minimum(points - mode[:, None], 600)
    drop = slope[:, None] * distance + curvature[:, None] * growth(distance)
    chosen = np.argmax((drop > _NEGLIGIBLE) | (points == last), axis=1)
    return points[np.arange(len(mode)), chosen]


def cutoff_log_density_rows(tails: TailRows, fits: FittedRows) -> np.ndarray:
    tilt, rate = fits.parameters["tilt"], fits.parameters["rate"]
    log_integral = _moments(tilt, np.log(rate)).log_integral
    return -(1 + tilt)[:, None] * tails.log_ratio - rate[:, None] * growth(tails.log_ratio) - log_integral[:, None]


def cutoff_survival_rows(tails: TailRows, fits: FittedRows) -> np.ndarray:
    survival = np.empty_like(tails.log_ratio)
    parts = max(1, tails.log_ratio.size * len(_PART_NODES) // (4 * _BLOCK))
    for rows in np.array_split(np.arange(len(survival)), min(parts, len(survival))):
        tilt, rate = fits.parameters["tilt"][rows], fits.parameters["rate"][rows]
        survival[rows] = _survival(tilt, rate, tails.log_ratio[rows])
    return survival


def _survival(tilt: np.ndarray, rate: np.ndarray, log_ratio: np.ndarray) -> np.ndarray:
    """The integral from each t to the end of its panel, and of all panels behind it, as shares of the whole."""
    low, high = _ends_of_density(tilt, rate, -1), _ends_of_density(tilt, rate, 1)
    panels = int(np.ceil(9 + 1.25 * (high - low)).max())
    width = (high - low)[:, None] / panels
    # Before `low` the density is negligible, so that all integrals may begin there.
    peak = _log_density(tilt, rate, np.linspace(low, high, 8 * panels, axis=1)).max(axis=1)[:, None]
    t = (low[:, None] + width / 2 * (2 * np.arange(panels)[:, None] + 1 + _NODES).ravel()).reshape(len(low), -1)
    density = np.exp(_log_density(tilt, rate, t) - peak).reshape(len(low), panels, -1) @ (_WEIGHTS / 2) * width
    behind = np.zeros((len(low), panels + 1))
    behind[:, :-1] = density[:, ::-1].cumsum(axis=1)[:, ::-1]
    inside = np.clip(log_ratio, low[:, None], high[:, None])
    panel = np.minimum((inside - low[:, None]) / width, panels - 1).astype(int)
    end = low[:, None] + (panel + 1) * width
    half = (end - inside) / 2
    t = inside[..., None] + half[..., None] * (1 + _PART_NODES)
    part = np.exp(_log_density(tilt, rate, t.reshape(len(low), -1)) - peak).reshape(t.shape) @ _PART_WEIGHTS * half
    return np.clip((np.take_along_axis(behind, panel + 1, axis=1) + part) / behind[:, :1], 0, 1)


def _log_density(tilt: np.ndarray, rate: np.ndarray, t: np.ndarray) -> np.ndarray:
    return -tilt[:, None] * t - rate[:, None] * growth(t)


def draw_cutoff(parameters: dict[str, float], surprise: np.ndarray) -> np.ndarray:
    """Ln y of which the survival probability is exp(-surprise), by interpolation of -ln of it on 20,001 points."""
    tilt, rate = np.array([parameters["tilt"]]), np.array([parameters["rate"]])
    low, high = _ends_of_density(tilt, rate, -1), _ends_of_density(tilt, rate, 1)
    grid = np.linspace(low[0], high[0], _DRAWING_POINTS)
    survival = _survival(tilt, rate, grid[None])[0]
    inside = survival > 0
    return np.interp(surprise, -np.log(survival[inside]), grid[inside])
