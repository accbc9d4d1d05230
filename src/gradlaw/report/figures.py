"""The figures of an analysis: gradients by rank (paper Fig. 1), spectra by rank (paper Fig. 4), and all others."""

from collections.abc import Callable

import matplotlib
from matplotlib.figure import Figure

from gradlaw.analysis.result import AnalysisResult
from gradlaw.report.control_figures import draw_controls, draw_over_iterations
from gradlaw.report.drawing import BLUE, GREEN, RED, STYLE, finish, fitted_line, scatter
from gradlaw.report.extended_figures import draw_gaussianity, draw_tail_indices
from gradlaw.stats import fit_power_law

KINDS = ("png", "svg")
_DECADES_SHOWN = 1e-5


def draw_gradients(analysis: AnalysisResult) -> Figure:
    """Magnitude against rank, log-log: one iteration and one dimension, each that of median KS distance."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(5.2, 3.7), layout="constrained")
        axes = figure.add_subplot()
        names = {"dimension": "dimension-wise, iteration", "iteration": "iteration-wise, parameter"}
        for (axis, example), colour in zip(analysis.examples.items(), (RED, BLUE), strict=True):
            tests = analysis.tests[axis]
            drawn = scatter(axes, example.magnitudes, colour, f"{names[axis]} {example.index:,}")
            if drawn and not tests.degenerate_series[example.index]:
                fit = fit_power_law(example.magnitudes.astype(float), tests.k, tests.alpha)
                fitted_line(axes, fit, colour)
        finish(axes, [tests.k for tests in analysis.tests.values()], "magnitude of the gradient")
        largest = max(float(example.magnitudes[0]) for example in analysis.examples.values())
        if largest > 0:  # gradients that are zero but for rounding would stretch the axis over many empty decades
            axes.set_ylim(bottom=max(axes.get_ylim()[0], largest * _DECADES_SHOWN))
        axes.set_title("The two directions of the gradient history", loc="left")
        return figure


def draw_spectra(analysis: AnalysisResult) -> Figure:
    """Eigenvalues against rank, log-log, of the second moment and the covariance, and the covariance's eigengaps."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(9.2, 3.7), layout="constrained")
        left, right = figure.subplots(1, 2)
        second, covariance, gaps = analysis.spectral_verdicts()
        for name, verdict, colour, marker in (
            ("second moment", second, RED, "o"),
            ("covariance", covariance, BLUE, "x"),
        ):
            spectrum = analysis.spectra[name]
            scatter(left, spectrum.eigenvalues[: spectrum.rank], colour, name, marker)
            if verdict.fit:
                fitted_line(left, verdict.fit, colour)
        finish(left, covariance.k, "eigenvalue")
        left.set_title("Gradient spectra", loc="left")
        found = analysis.eigengaps
        scatter(right, found.sorted[: found.rank], GREEN, "eigengaps of the covariance, sorted")
        if gaps.fit:
            fitted_line(right, gaps.fit, GREEN)
        finish(right, gaps.k, "eigengap")
        right.set_title("Eigengaps", loc="left")
        return figure


_DRAW: dict[str, Callable[[AnalysisResult], Figure]] = {
    "gradients": draw_gradients,
    "spectra": draw_spectra,
    "controls": draw_controls,
    "over_iterations": draw_over_iterations,
    "tail_indices": draw_tail_indices,
    "gaussianity": draw_gaussianity,
}
NAMES = tuple(_DRAW)


def figures_of(analysis: AnalysisResult) -> dict[str, Callable[[AnalysisResult], Figure]]:
    """What draws the figures that an analysis has, by name."""
    absent = set()
    if not analysis.controls:
        absent |= {"controls"}
    if analysis.over_iterations is None:
        absent |= {"over_iterations"}
    if analysis.extended is None:
        absent |= {"tail_indices", "gaussianity"}
    return {name: draw for name, draw in _DRAW.items() if name not in absent}
