"""The page along training, from the table of results."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from gradlaw.atomic import write_files
from gradlaw.report.formatting import percent
from gradlaw.reproduction.along.rows import EPOCH, NETWORK, OPTIMISER, REASON, SEED
from gradlaw.reproduction.along.study import Study
from gradlaw.reproduction.along.words import findings, plain_number
from gradlaw.reproduction.formats import markdown
from gradlaw.reproduction.formatting import DASH

FIGURE, RESULTS = Path("along_training/structure.png"), Path("along_training/measurements.csv")  # beside the page
# Of the tables: what it is, its column, and whether it is a share.
_STATISTICS = (
    ("training accuracy", "accuracy", True),
    ("covariance, s", "s", False),
    ("covariance, d_KS", "d_ks", False),
    ("eigengaps, s", "gap_s", False),
    ("dimension-wise power-law rate", "dimension_power_law_rate", True),
    ("iteration-wise Gaussian rate", "iteration_gaussian_rate", True),
    ("outliers", "outliers", False),
    ("noise scale, samples", "noise_scale", False),
    ("Hessian, largest eigenvalue", "hessian_1", False),
)
_SHOWN = (0, 0.1, 1, 5, 10, 20, 50)  # epochs of the tables, as far as they were measured


def write_page(rows: pd.DataFrame, study: Study, path: Path) -> list[Path]:
    """Write the page, and its figure at ``FIGURE`` beside it; returns both.

    Raises:
        InputError: the disk is full.
    """
    from gradlaw.report.figure import encode_figure
    from gradlaw.reproduction.along.draw import draw_along  # matplotlib

    figure = encode_figure(draw_along(rows, list(study.networks)), "png", study.profile.meaning)
    files: dict[Path, str | bytes] = {path: page(rows, study), path.parent / FIGURE: figure}
    return write_files(files)


def page(rows: pd.DataFrame, study: Study) -> str:
    """The page in Markdown."""
    networks = [name for name in study.networks if (rows[NETWORK] == name).any()]
    parts = [
        f"# Structure along training\n\n{_introduction(rows, study)}\n",
        f"![Statistics of stochastic gradients along training]({FIGURE.as_posix()})\n",
        f"## What moves, and what does not\n\n{findings(rows)}\n",
        f"## Numbers\n\n{_meaning(study)}\n",
        *(f"### {name}\n\n{_table(rows[rows[NETWORK] == name], study)}" for name in networks),
        f"## What was measured, and what was not\n\n{_extent(rows, study)}",
    ]
    return "\n".join(parts).rstrip("\n") + "\n"


def _introduction(rows: pd.DataFrame, study: Study) -> str:
    return (
        "How the structure of stochastic gradients moves while a network learns: the same statistics at random "
        "parameters, within the first epoch, and on. Written by `gradlaw along --from-results --markdown FILE`; "
        f"{study.profile.meaning}; seeds {_list(rows[SEED])}; results: [{RESULTS.name}]({RESULTS.as_posix()}), one row "
        "for each network, optimiser, seed and epoch. The recipes are the paper's ([training.md](training.md)): the "
        "learning rate is constant up to epoch 20 on MNIST and 80 on CIFAR-10. T is smaller than in the "
        "[reproduction](reproduction.md), and K with it: exponents and distances are not those there."
    )


def _meaning(study: Study) -> str:
    names = " / ".join(study.optimisers)
    return (
        f"Cells are {names}, means over the seeds; at epoch 0 the three are one. The last column is the median, over "
        "all epochs and optimisers, of the standard deviation between seeds, where there are two or more. A dash is a "
        "fit that was refused or a measurement that was not made."
    )


def _table(rows: pd.DataFrame, study: Study) -> str:
    epochs = [epoch for epoch in _SHOWN if (rows[EPOCH] == epoch).any()]
    header = ("statistic", *(f"epoch {epoch:g}" for epoch in epochs), "between seeds")
    lines = []
    for name, column, share in _STATISTICS:
        cells = [_cell(rows[rows[EPOCH] == epoch], column, study.optimisers, epoch == 0, share) for epoch in epochs]
        if set(cells) != {DASH}:
            lines.append((name, *cells, _spread(rows, column, share)))
    return markdown(header, lines)


def _cell(rows: pd.DataFrame, column: str, optimisers: Sequence[str], same: bool, share: bool) -> str:
    means = [rows.loc[rows[OPTIMISER] == optimiser, column].mean() for optimiser in optimisers]
    cells = [_number(mean, share) for mean in (means[:1] if same else means)]
    return DASH if set(cells) == {DASH} else " / ".join(cells)


def _spread(rows: pd.DataFrame, column: str, share: bool) -> str:
    deviations = rows.groupby([OPTIMISER, EPOCH])[column].std().dropna()
    return _number(deviations.median(), share) if len(deviations) else DASH


def _number(value: float, share: bool) -> str:
    return percent(value) if share else plain_number(value)


def _extent(rows: pd.DataFrame, study: Study) -> str:
    """How far each network and optimiser was followed with each seed."""
    lines = []
    for name in study.networks:
        for optimiser in study.optimisers:
            found = rows[(rows[NETWORK] == name) & (rows[OPTIMISER] == optimiser) & rows[REASON].isna()]
            last = {int(seed): f"{of_seed[EPOCH].max():g}" for seed, of_seed in found.groupby(SEED)}
            hessians = found.loc[found["hessian_1"].notna(), EPOCH]
            lines.append(
                (name, optimiser, *(last.get(seed, DASH) for seed in study.seeds),
                 _list(hessians) if len(hessians) else DASH)
            )  # fmt: skip
    refused = rows[rows[REASON].notna()].drop_duplicates([NETWORK, OPTIMISER, SEED])
    notes = "".join(
        f"- {row[NETWORK]}, {row[OPTIMISER]}, seed {row[SEED]}: {row[REASON]}\n" for _, row in refused.iterrows()
    )
    header = ("network", "optimiser", *(f"last epoch, seed {seed}" for seed in study.seeds), "Hessian at epochs")
    return (
        f"{markdown(header, lines)}\n{notes}\nThe design has the epochs {_list(pd.Series(study.epochs))} for all of "
        "them. What is missing is measured by `gradlaw along --data-root DIR`, which goes on where its store ends."
    )


def _list(values: pd.Series) -> str:
    return ", ".join(f"{value:g}" for value in sorted(set(values)))
