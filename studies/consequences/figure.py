"""The figures of the page."""

from typing import Any

import pandas as pd

from gradlaw.report.figure import encode_figure, new_figure
from gradlaw.report.palette import BLACK, BLUE, GREY, ORANGE, VERMILLION
from studies.consequences.design import BULK, DOMINANT, NETWORKS, REFRESH, SGD, SUBSPACES

_COLOURS = {SGD: BLACK, DOMINANT: VERMILLION, BULK: BLUE}


def edge_figure(edge: pd.DataFrame) -> bytes:
    """Batch sharpness and largest eigenvalue along the training beside 2 / eta, a panel a seed."""
    seeds = sorted(edge.seed.unique())
    with new_figure(7.0, 2.7) as drawn:
        axes = drawn.subplots(1, len(seeds), sharex=True, sharey=True, squeeze=False)
        for ax, seed in zip(axes.flat, seeds, strict=True):
            rows = edge[edge.seed == seed].sort_values("step")
            ax.axhline(rows.threshold.iloc[0], color=GREY, lw=1, label="2 / eta")
            ax.errorbar(rows.step, rows.batch_sharpness, 2 * rows.batch_sharpness_error, color=VERMILLION,
                        marker="o", ms=3, lw=1, label="batch sharpness, 2 standard errors")  # fmt: skip
            ax.plot(rows.step, rows.ratio_of_means, ":", color=ORANGE, lw=1, label="ratio of means")
            ax.plot(rows.step, rows.top_eigenvalue, "s-", color=BLUE, ms=3, lw=1, label="largest eigenvalue")
            ax.set(title=f"seed {seed}", xlabel="step", ylim=(0, None))
        axes.flat[0].set_ylabel("curvature")
        _legend_below(drawn, axes.flat[0])
    return encode_figure(drawn, "png", "gradlaw study of consequences: edge of stability")


def projected_figure(losses: pd.DataFrame) -> bytes:
    """The loss under SGD, Dom-SGD and Bulk-SGD, a panel a subspace and a line a seed."""
    with new_figure(7.0, 2.7) as drawn:
        axes = drawn.subplots(1, len(SUBSPACES), sharey=True, squeeze=False)
        for ax, subspace in zip(axes.flat, SUBSPACES, strict=True):
            for way, colour in _COLOURS.items():
                rows = losses[(losses.way == way) & losses.subspace.isin([subspace, ""])]
                for place, (_, line) in enumerate(rows.groupby("seed")):
                    ax.plot(line.step, line.loss, color=colour, lw=1, label=way if place == 0 else None)
            ax.set(title=f"subspace of the {subspace}", xlabel="step", yscale="log")
        axes.flat[0].set_ylabel("training loss")
        _legend_below(drawn, axes.flat[0])
    return encode_figure(drawn, "png", "gradlaw study of consequences: projected SGD")


def rotation_figure(rotation: pd.DataFrame) -> bytes:
    """Sine of the largest angle over some steps of SGD beside the bound, a panel a subspace."""
    with new_figure(7.0, 2.7) as drawn:
        axes = drawn.subplots(1, len(SUBSPACES), sharey=True, squeeze=False)
        for ax, subspace in zip(axes.flat, SUBSPACES, strict=True):
            rows = rotation[(rotation.subspace == subspace) & (rotation.span == REFRESH)]
            for place, (_, line) in enumerate(rows.groupby("seed")):
                named = place == 0
                ax.plot(line.step, line.sine, "o-", color=BLUE, ms=2, lw=1, label="measured sine" if named else None)
                ax.plot(line.step, line.bound, "-", color=VERMILLION, lw=1, label="bound" if named else None)
            ax.axhline(1, color=GREY, lw=1, ls="--", label="says nothing above")
            ax.set(title=f"subspace of the {subspace}", xlabel="step", yscale="log")
        _legend_below(drawn, axes.flat[0])
    return encode_figure(drawn, "png", "gradlaw study of consequences: rotation")


def block_figure(blocks: pd.DataFrame, matrices: pd.DataFrame) -> bytes:
    """Distances between blocks by network, and the exponents of their gradients."""
    with new_figure(7.0, 2.2) as drawn:
        left, right = drawn.subplots(1, 2, sharey=True)
        for place, network in enumerate(NETWORKS):
            rows, its = blocks[blocks.network == network], matrices[matrices.network == network]
            for column, colour, mark in (("distance", VERMILLION, "o"), ("shape_distance", BLUE, "s")):
                label = {"distance": "as they are", "shape_distance": "over the largest"}[column]
                left.plot(rows[column], [place] * len(rows), mark, mfc="none", color=colour,
                          label=label if place == 0 else None)  # fmt: skip
            right.plot(its.s, [place] * len(its), "o", mfc="none", color=BLACK, ms=4)
        left.set_yticks(range(len(NETWORKS)), NETWORKS)
        left.set(xlabel="mean Jensen-Shannon distance of Hessian spectra", ylim=(len(NETWORKS) - 0.5, -0.5))
        _legend_below(drawn, left)
        right.set(xlabel="s of the gradients of each weight matrix")
    return encode_figure(drawn, "png", "gradlaw study of consequences: blocks")


def _legend_below(figure: Any, axes: Any) -> None:
    """One for all panels, away from the data."""
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=4)
