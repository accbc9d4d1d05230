"""The page: ``python -m studies.consequences.page`` writes docs/consequences.md and its figures from the results."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from gradlaw.atomic import write_whole
from gradlaw.reproduction.formats import markdown
from studies.consequences.design import (
    BLOCK_SEEDS,
    EDGE_POINTS,
    EDGE_SEEDS,
    EDGE_SETTLED,
    NETWORKS,
    REFRESH,
    SUBSPACE_SEEDS,
    SUBSPACES,
    SWITCH,
    K,
)
from studies.consequences.figure import block_figure, edge_figure, projected_figure, rotation_figure
from studies.consequences.rules import CLAIMS, gains
from studies.consequences.run import COMMITTED, TABLES
from studies.consequences.text import HEAD, LIMITS, PUBLISHED, RECIPES
from studies.transformers.formatting import spread

PAGE, FIGURES = Path("docs/consequences.md"), Path("docs/consequences")
Tables = Mapping[str, pd.DataFrame]


def main() -> None:
    """The command."""
    tables = read(COMMITTED)
    drawn = {
        "edge": edge_figure(tables["edge"]),
        "projected": projected_figure(tables["losses"]),
        "rotation": rotation_figure(tables["rotation"]),
        "blocks": block_figure(tables["blocks"], tables["matrices"]),
    }
    for name, figure in drawn.items():
        write_whole(FIGURES / f"{name}.png", figure)
    write_whole(PAGE, page(tables))


def read(folder: Path) -> dict[str, pd.DataFrame]:
    """The tables of results."""
    return {name: pd.read_csv(folder / f"{name}.csv", keep_default_na=False) for name in TABLES}


def page(tables: Tables) -> str:
    """The text of the page."""
    decided = [(claim, *claim.decide(tables)) for claim in CLAIMS]
    claims = [
        (claim.name, claim.sentence, claim.source, claim.statistic, how, f"{sum(ok for _, ok in checks)}/{len(checks)}")
        for claim, how, checks in decided
    ]
    parts = [
        HEAD,
        f"## Claims and what became of them\n\n{_extent(tables)}\n",
        markdown(("claim", "what it says", "source", "rule", "outcome", "checks"), claims),
        "## Published figures beside ours\n",
        markdown(("finding", "published", "here"), _beside(tables)),
        RECIPES,
        "## The edge of stability\n",
        _figure("edge", "Batch sharpness and largest eigenvalue of the Hessian along plain SGD"),
        markdown(_EDGE, _edge_rows(tables["edge"])),
        "## Learning in the dominant subspace\n",
        _figure("projected", "Training loss of SGD, and of SGD projected into and out of the dominant subspace"),
        markdown(_SUBSPACES, _subspace_rows(tables)),
        _SUBSPACES_NOTE,
        "## Rotation of the dominant subspace\n",
        _figure("rotation", f"Sine of the largest angle over {REFRESH} steps of SGD, beside the Davis-Kahan bound"),
        markdown(_ROTATION, _rotation_rows(tables["rotation"])),
        "## Blocks and eigenvectors at random initialisation\n",
        _figure("blocks", "Distances between the Hessian spectra of weights, and exponents of their gradients"),
        markdown(_BLOCKS, _block_rows(tables)),
        markdown(_VECTORS, _vector_rows(tables["eigenvectors"])),
        _VECTORS_NOTE,
        LIMITS,
        "## Every check\n",
        *(_checks(claim.name, checks) for claim, _, checks in decided),
    ]
    return "\n".join(parts)


_EDGE = (
    "seed",
    "epoch",
    "loss",
    "2 / eta",
    "batch sharpness",
    "ratio of means",
    "largest eigenvalue",
    "noise along it",
)
_SUBSPACES = ("subspace", "alignment", "of minibatches", "SGD gains", "Dom-SGD", "Bulk-SGD", "within", "outside")
_ROTATION = ("subspace", "steps", "sine", "overlap", "gap", "perturbation", "bound", "bounds below 1")
_BLOCKS = ("network", "n", "blocks", "distance", "distance of shapes", "exponents", "their deviation")
_VECTORS = ("network", "matrix", "participation ratio", "random", "ratio", "random by tensor", "ratio")
_SUBSPACES_NOTE = f"""*alignment*: ||P g|| / ||g|| of the full gradient along SGD after step {SWITCH:,}, k = {K}, and
of single minibatches. *gains*: how far the loss falls after that step, that of the two projected ways as a share of
what SGD gains. *within*, *outside*: change of the loss by the part of one SGD step in the subspace and by the rest, as
a share of the change of the whole step, over all points. A negative share means that this part alone changes the loss
the other way.
"""
_VECTORS_NOTE = """Medians over the ten leading eigenvectors of each seed; *random*: (n + 2) / 3, of Gaussian vectors;
*by tensor*: of vectors that are random within each tensor and have its share of the eigenvector's square.
"""


def _figure(name: str, caption: str) -> str:
    return f"![{caption}](consequences/{name}.png)\n\n*{caption}.*\n"


def _extent(tables: Tables) -> str:
    counted = (
        f"{len(tables['edge'])} of {len(EDGE_SEEDS) * len(EDGE_POINTS)} points of the edge",
        f"{tables['losses'].seed.nunique()} of {len(SUBSPACE_SEEDS)} seeds of the subspaces",
        f"{len(tables['blocks'])} of {len(BLOCK_SEEDS) * len(NETWORKS)} networks of the blocks",
    )
    return f"Measured: {'; '.join(counted)}. Cells are means over seeds, with the smallest and largest in brackets."


def _beside(tables: Tables) -> list[tuple[str, str, str]]:
    settled = tables["edge"][tables["edge"].epoch >= EDGE_SETTLED]
    gained = _gain_frame(tables)
    distance = {name: spread(tables["blocks"][tables["blocks"].network == name].distance) for name in NETWORKS}
    here = {
        "batch sharpness": f"{spread(settled.groupby('seed').batch_sharpness.mean())} from epoch {EDGE_SETTLED} on",
        "largest eigenvalue": f"{spread(settled.groupby('seed').top_eigenvalue.mean())} there",
        "alignment": spread(tables["shares"].groupby(["subspace", "seed"]).alignment.mean()),
        "Dom-SGD": f"gains {spread(gained['Dom-SGD'], percent=True)} of what SGD gains",
        "Bulk-SGD": f"gains {spread(gained['Bulk-SGD'], percent=True)} of what SGD gains",
        "blocks": ", ".join(f"{name} {value}" for name, value in distance.items()),
    }
    return [(name, published, here[name]) for name, published in PUBLISHED.items()]


def _gain_frame(tables: Tables) -> pd.DataFrame:
    """By subspace and seed: what SGD gained, and the share of it that the projected ways gained."""
    rows = []
    for subspace, seed, gained in gains(tables):
        own = gained["SGD"]
        shares = {way: value / own for way, value in gained.items() if way != "SGD"}
        rows.append({"subspace": subspace, "seed": seed, "SGD": own} | shares)
    return pd.DataFrame(rows)


def _edge_rows(edge: pd.DataFrame) -> list[tuple[str, ...]]:
    return [
        (f"{row.seed:.0f}", f"{row.epoch:.0f}", f"{row.loss:.3g}", f"{row.threshold:.0f}",
         f"{row.batch_sharpness:.3g} ± {row.batch_sharpness_error:.2g}",
         f"{row.ratio_of_means:.3g} ± {row.ratio_of_means_error:.2g}", f"{row.top_eigenvalue:.3g}",
         f"{row.noise_share:.1%}")
        for _, row in edge.sort_values(["seed", "epoch"]).iterrows()
    ]  # fmt: skip


def _subspace_rows(tables: Tables) -> list[tuple[str, ...]]:
    rows, gained = [], _gain_frame(tables)
    for subspace in SUBSPACES:
        shares, its = tables["shares"][tables["shares"].subspace == subspace], gained[gained.subspace == subspace]
        of_step = [
            spread(shares.groupby("seed").apply(lambda s, part=part: s[part].sum() / s.whole.sum()), percent=True)
            for part in ("within", "outside")
        ]
        aligned = [spread(shares.groupby("seed")[name].mean()) for name in ("alignment", "minibatch_alignment")]
        projected = [spread(its[way], percent=True) for way in ("Dom-SGD", "Bulk-SGD")]
        rows.append((subspace, *aligned, spread(its.SGD), *projected, *of_step))
    return rows


def _rotation_rows(rotation: pd.DataFrame) -> list[tuple[str, ...]]:
    return [
        (subspace, f"{span:.0f}", *(spread(rows[name]) for name in ("sine", "overlap", "gap", "perturbation", "bound")),
         f"{(rows.bound < 1).sum()} of {len(rows)}")
        for (subspace, span), rows in rotation.groupby(["subspace", "span"])
    ]  # fmt: skip


def _block_rows(tables: Tables) -> list[tuple[str, ...]]:
    rows = []
    for network in NETWORKS:
        its = tables["blocks"][tables["blocks"].network == network]
        names = ("distance", "shape_distance", "exponent_mean", "exponent_deviation")
        if len(its):
            sizes = f"{its.dimensions.iloc[0]:,}", f"{its.blocks.iloc[0]}"
            rows.append((network, *sizes, *(spread(its[name]) for name in names)))
    return rows


def _vector_rows(vectors: pd.DataFrame) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for (network, matrix), its in vectors.groupby(["network", "matrix"]):
        medians = its.groupby("seed")[["participation_ratio", "gaussian", "by_tensor"]].median()
        ratios = [
            its.participation_ratio.div(its[null]).groupby(its.seed).median() for null in ("gaussian", "by_tensor")
        ]
        rows.append((network, matrix, spread(medians.participation_ratio), spread(medians.gaussian),
                     spread(ratios[0]), spread(medians.by_tensor), spread(ratios[1])))  # fmt: skip
    return rows


def _checks(name: str, checks: list[tuple[str, bool]]) -> str:
    said = "; ".join(f"{what} ({'yes' if ok else 'no'})" for what, ok in checks)
    return f"**{name}**: {said or 'none'}.\n"


if __name__ == "__main__":
    main()
