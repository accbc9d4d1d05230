"""Figures of what to compare a spectrum with: noise of the same shape, and itself at fewer iterations."""

import matplotlib
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator, StrMethodFormatter

from gradlaw.analysis.result import AnalysisResult
from gradlaw.report.drawing import BLUE, GREEN, GREY, RED, STYLE, finish, fitted_line, scatter

_DRAWN_EIGENVALUES = (1, 2, 5, 10)


def draw_controls(analysis: AnalysisResult) -> Figure:
    """The measured covariance spectrum over those of its controls, log-log by rank."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(5.6, 4.0), layout="constrained")
        axes = figure.add_subplot()
        measured, *controls = analysis.control_verdicts()
        # As lines, and the first ones broad: permuted and diagonal noise lie on one another.
        for verdict, colour, width in zip(controls, (GREY, BLUE, GREEN), (1.6, 4.0, 1.2), strict=True):
            spectrum = analysis.controls[verdict.matrix]
            values = spectrum.eigenvalues[: spectrum.rank]
            axes.plot(range(1, len(values) + 1), values, color=colour, lw=width, alpha=0.7, label=verdict.matrix)
        spectrum = analysis.spectra["covariance"]
        scatter(axes, spectrum.eigenvalues[: spectrum.rank], RED, "measured")
        if measured.fit:
            fitted_line(axes, measured.fit, RED)
        finish(axes, measured.k, "eigenvalue of the covariance")
        axes.set_title("The covariance spectrum over its controls", loc="left")
        return figure


def draw_over_iterations(analysis: AnalysisResult) -> Figure:
    """Leading eigenvalues of the covariance, and the exponent, against the number of iterations."""
    frame = analysis.over_iterations
    assert frame is not None
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(7.2, 2.7), layout="constrained")
        left, right = figure.subplots(1, 2)
        for rank, colour in zip(_DRAWN_EIGENVALUES, (RED, BLUE, GREEN, GREY), strict=True):
            values = frame[f"lambda_{rank}"]
            left.plot(frame["iterations"], values.where(values > 0), "o-", ms=4, color=colour, label=f"rank {rank}")
        left.set(yscale="log", ylabel="eigenvalue")
        left.legend(ncols=2)
        left.set_title("Leading eigenvalues", loc="left")
        right.plot(frame["iterations"], frame["s"], "o-", ms=4, color=RED)
        right.set(ylabel=f"s of the top {int(frame['k'].iloc[0]):,}")
        right.set_title("Exponent", loc="left")
        for axes in (left, right):
            axes.set(xscale="log", xlabel="iterations, T", xticks=frame["iterations"])
            axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
            axes.xaxis.set_minor_locator(NullLocator())
        return figure
