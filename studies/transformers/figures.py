"""The figures of the page, drawn from the committed results."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gradlaw.report.figure import encode_figure, new_figure
from gradlaw.report.palette import BLUE, GREEN, GREY, ORANGE, SKY, VERMILLION
from studies.transformers.design import (
    ADAM,
    CONTEXT,
    CURVATURE,
    EPOCHS,
    FOLDED,
    LARGE,
    POINTS,
    SMALL,
    SPECTRUM,
    TESTS,
    VOCABULARY,
    Measurement,
)
from studies.transformers.networks import KINDS
from studies.transformers.noise import NOISE, PUBLISHED
from studies.transformers.tables import Results

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLOURS = dict(zip(POINTS, (GREY, BLUE, VERMILLION), strict=True))
_WORDS = {0: "random", 1: "1 epoch", EPOCHS: f"{EPOCHS} epochs"}
_VOCABULARY_COLOURS = (BLUE, SKY, GREEN, ORANGE, VERMILLION)


def figures(results: Results) -> dict[str, bytes]:
    """PNG files by name."""
    drawn = {
        "spectra": _spectra(results),
        "layers": _layers(results),
        "vocabulary": _vocabulary(results),
        "curvature": _curvature(results),
        "noise": _noise(results),
    }
    files = {}
    for name, figure in drawn.items():
        if figure is not None:
            files[f"{name}.png"] = encode_figure(figure, "png", f"gradlaw study of transformers: {name}")
    return files


def _spectra(results: Results) -> Figure:
    """Covariance eigenvalues by rank: along training, by optimiser, and of the large network."""
    with new_figure(9.6, 3.3) as figure:
        left, middle, right = figure.subplots(1, 3)
        for measurement in results.of(TESTS, network=SMALL, optimiser=ADAM):
            label = _WORDS[measurement.point] if measurement.seed == 0 else ""
            _line(left, results, measurement, _COLOURS[measurement.point], label)
        for name, colour in ((ADAM, VERMILLION), ("momentum", BLUE), ("sgd", GREEN)):
            for measurement in results.of(TESTS, network=SMALL, optimiser=name, point=EPOCHS):
                _line(middle, results, measurement, colour, name if measurement.seed == 0 else "")
        colours = dict(zip((0, 60, 120, 240), (GREY, BLUE, GREEN, VERMILLION), strict=True))
        for measurement in results.of(TESTS, network=LARGE):
            label = f"step {measurement.point}" if measurement.point else "random"
            _line(right, results, measurement, colours[measurement.point], label)
        titles = "small, along Adam", f"small, after {EPOCHS} epochs", "large, along nanoGPT's training"
        for axes, title in zip((left, middle, right), titles, strict=True):
            axes.set(xscale="log", yscale="log", xlabel="rank", title=title)
            if axes.lines:
                axes.legend(loc="lower left")
        left.set_ylabel("eigenvalue of the covariance")
        return figure


def _line(axes: Axes, results: Results, measurement: Measurement, colour: str, label: str, **style: Any) -> None:
    rows = results.spectra[results.spectra.measurement == measurement.name]
    axes.plot(rows["rank"], rows.eigenvalue, color=colour, lw=1.0, label=label or None, **style)


def _layers(results: Results) -> Figure:
    """Rates by kind of layer: dimension-wise power laws by both verdicts, iteration-wise Gaussians."""
    groups = ("model", *KINDS)
    panels = (
        ("dimension", "power_law_rate", "across parameters:\npower law, published"),
        ("dimension", "power_law_rate_calibrated", "across parameters:\npower law, calibrated"),
        ("iteration", "gaussian_rate", "across iterations:\nGaussian"),
    )
    with new_figure(9.6, 3.1) as figure:
        for axes, (axis, column, title) in zip(figure.subplots(1, 3, sharey=True), panels, strict=True):
            for offset, point in enumerate(POINTS):
                for measurement in results.of(TESTS, network=SMALL, optimiser=ADAM, point=point):
                    rows = results.rates[(results.rates.measurement == measurement.name) & (results.rates.axis == axis)]
                    rates = rows.set_index("group")[column].reindex(groups)
                    places = [i + 0.22 * (offset - 1) for i in range(len(groups))]
                    label = _WORDS[point] if measurement.seed == 0 else None
                    axes.plot(places, rates, "o", ms=4, mfc="none", color=_COLOURS[point], label=label)
            axes.set(title=title, ylim=(-0.03, 1.03))
            axes.set_xticks(range(len(groups)), groups, rotation=25, ha="right", rotation_mode="anchor")
        figure.axes[0].set_ylabel("share of the series")
        figure.axes[-1].legend(loc="lower left")
        return figure


def _vocabulary(results: Results) -> Figure:
    """Leading eigenvalues at random for vocabularies of several sizes, with the rank where the paper has the break."""
    with new_figure(9.6, 3.6) as figure:
        panels = zip(figure.subplots(1, 2), (False, True), strict=True)
        for axes, single in panels:
            for vocabulary, colour in zip((*FOLDED, VOCABULARY), _VOCABULARY_COLOURS, strict=True):
                values = {"seed": 0, "vocabulary": vocabulary, "point": 0, "updates": "", "single": single}
                found = [m for kind in (TESTS, SPECTRUM) for m in results.of(kind, network=SMALL, **values)]
                for measurement in found:
                    _line(axes, results, measurement, colour, f"{vocabulary} characters", marker=".", ms=3)
                    rows = results.spectra[results.spectra.measurement == measurement.name].set_index("rank")
                    height = rows.eigenvalue[vocabulary - 1]
                    axes.plot([vocabulary - 1], [height], "o", ms=8, mfc="none", color=colour)
            title = "a sample is one prediction" if single else f"a sample is a window of {CONTEXT} predictions"
            axes.set(xscale="log", yscale="log", xlabel="rank", title=title)
            if axes.lines:
                axes.legend(loc="lower left")
        figure.axes[0].set_ylabel("eigenvalue of the covariance")
        return figure


def _curvature(results: Results) -> Figure | None:
    """Leading eigenvalues of Hessian and covariance, their ratios, and the overlap of their spaces."""
    measured = results.of(CURVATURE)
    if not measured:
        return None
    with new_figure(9.6, 3.2) as figure:
        left, middle, right = figure.subplots(1, 3)
        for measurement in measured:
            rows = results.curvature[results.curvature.measurement == measurement.name].sort_values("k")
            colour, first = _COLOURS[measurement.point], measurement.seed == 0
            word = _WORDS[measurement.point]
            left.plot(rows.k, rows.hessian, "o-", ms=3, lw=0.8, color=colour, label=f"H, {word}" if first else None)
            label = f"C, {word}" if first else None
            left.plot(rows.k, rows.covariance, "s--", ms=3, lw=0.8, mfc="none", color=colour, label=label)
            middle.plot(rows.k, rows.ratio, "o-", ms=3, lw=0.8, color=colour, label=word if first else None)
            right.plot(rows.k, rows.overlap, "o-", ms=3, lw=0.8, color=colour, label=word if first else None)
        left.set(xscale="log", yscale="log", xlabel="rank", ylabel="eigenvalue")
        middle.set(xscale="log", yscale="log", xlabel="rank", ylabel="Hessian over covariance")
        right.set(xlabel="leading vectors", ylabel="overlap of the two spaces", ylim=(0, 1))
        for axes in (left, middle, right):
            axes.legend()
        return figure


def _noise(results: Results) -> Figure | None:
    """The noise scale along nanoGPT's training, from the pieces of each minibatch."""
    if not len(results.noise):
        return None
    with new_figure(6.4, 3.4) as figure:
        axes = figure.subplots()
        for (configuration, seed), rows in results.noise.groupby(["configuration", "seed"]):
            large = configuration == NOISE[0].name
            label, colour = configuration if seed == 0 else None, BLUE if large else GREY
            axes.plot(rows.step, rows.noise_scale, "o-", ms=3, lw=1, color=colour, label=label)
            low, high = (rows.noise_scale + sign * rows.noise_scale_error for sign in (-1, 1))
            axes.fill_between(rows.step, low, high, color=colour, alpha=0.15, lw=0)
        step, scale = PUBLISHED["step"], PUBLISHED["noise scale"]
        axes.plot([step], [scale], "*", ms=11, color=VERMILLION, label="published")
        axes.set(yscale="log", xlabel="step", ylabel="noise scale, in windows")
        axes.legend(loc="lower right")
        return figure
