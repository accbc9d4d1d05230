"""Hessian spectra beside those of the gradients (paper Fig. 5), and covariances beside H / B (paper Fig. 6)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gradlaw.curvature.eigensolver.eigenpairs import Eigenpairs
from gradlaw.report.drawing import BLUE, GREEN, RED, STYLE, finish, fitted_line, scatter
from gradlaw.spectra import Spectrum
from gradlaw.stats import fit_power_law


class CurvatureSpectra(NamedTuple):
    """The three spectra of one problem at one theta; ``hessian`` has ``which="LA"``."""

    second_moment: Spectrum
    covariance: Spectrum
    hessian: Eigenpairs


def draw_curvature_spectra(panels: Mapping[str, CurvatureSpectra], k: int = 1000) -> Figure:
    """Second moment, covariance and Hessian by rank, log-log: one panel a problem, titled by its key (paper Fig. 5).

    A line is drawn where k eigenvalues are above rounding; see the verdicts beside it for whether it fits.
    """
    with matplotlib.rc_context(STYLE):
        figure, flat = _grid(len(panels))
        for axes, (title, spectra) in zip(flat, panels.items(), strict=True):
            second, covariance = spectra.second_moment, spectra.covariance
            _draw(axes, second.eigenvalues[: second.rank], k, RED, "second moment", "o")
            _draw(axes, covariance.eigenvalues[: covariance.rank], k, BLUE, "covariance", "x")
            _draw(axes, spectra.hessian.eigenvalues[: spectra.hessian.positive], k, GREEN, "Hessian", "s")
            finish(axes, k, "eigenvalue")
            axes.set_title(title, loc="left")
        return figure


def draw_batch_sizes(covariances: Mapping[int, Spectrum], hessian: Eigenpairs, k: int = 1000) -> Figure:
    """The covariance at each batch size B, by rank, beside the Hessian's eigenvalues over B (paper Fig. 6)."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(5.2, 4.2), layout="constrained")
        axes = figure.add_subplot()
        colours = matplotlib.colormaps["viridis"](np.linspace(0, 0.85, len(covariances)))
        values = hessian.eigenvalues[: hessian.positive]
        ranks = np.arange(1, len(values) + 1)
        for colour, (batch_size, spectrum) in zip(colours, sorted(covariances.items()), strict=True):
            hex_colour = matplotlib.colors.to_hex(colour)
            scatter(axes, spectrum.eigenvalues[: spectrum.rank], hex_colour, f"covariance, B = {batch_size:,}", "x")
            axes.plot(ranks, values / batch_size, color=hex_colour, lw=1.0, label=f"Hessian / {batch_size:,}")
        finish(axes, k, "eigenvalue")
        axes.set_title("Covariance of the gradient noise, and H / B", loc="left")
        return figure


def _draw(axes: Axes, values: np.ndarray, k: int, colour: str, label: str, marker: str) -> None:
    scatter(axes, values, colour, label, marker)
    if len(values) >= k:
        fitted_line(axes, fit_power_law(values, k), colour)


def _grid(count: int) -> tuple[Figure, list[Axes]]:
    columns = min(2, count)
    rows = -(-count // columns)
    figure = Figure(figsize=(4.6 * columns, 3.7 * rows), layout="constrained")
    flat = list(figure.subplots(rows, columns, squeeze=False).flat)
    for unused in flat[count:]:
        unused.remove()
    return figure, flat[:count]
