"""The page: ``python -m studies.explanations.page`` writes docs/explanations.md and its figure from the results."""

from pathlib import Path

import pandas as pd

from gradlaw.atomic import write_whole
from gradlaw.reproduction.formats import markdown
from gradlaw.spectra.population.fit import STEEPEST
from studies.explanations.design import FEWER, ITERATIONS, REAL, SAMPLES, SEEDS, TRAINED, VARIANTS, K, measurements
from studies.explanations.figure import figure
from studies.explanations.rules import CLAIMS, LEVEL, Tables
from studies.explanations.run import COMMITTED
from studies.transformers.formatting import passed, spread

PAGE, FIGURE = Path("docs/explanations.md"), Path("docs/explanations/exponents.png")
_HEAD = f"""# Where the exponent comes from

The covariance of stochastic gradients has eigenvalues that fall much like a power law. The paper leaves open why, and
whether the sample of T gradients shows the covariance or itself. Here one thing at a time is replaced, at random
initialisation: the inputs, by noise that keeps their covariance, or each pixel's distribution, or neither; the
labels, by a permutation; the weights, by orthogonal ones. Everything else is kept. Beside these, LeNet after some
epochs, the GPT of the zoo on Shakespeare, and ResNet18. T = {ITERATIONS:,}, K = {K} (ResNet18: T =
{FEWER["resnet18"]}, K = {FEWER["resnet18"] // 3}); B as in the paper, 1 of the GPT and ResNet18.

Made by `studies/explanations/page.py` from the results beside it, measured by `python -m studies.explanations.run`.
The rules of the table of claims (`studies/explanations/rules.py`) were written, and committed, before the results that
they decide were looked at.
"""
_LIMITS = f"""## What this shows, and what not

- It shows which parts of the data and of the network the exponent of the *sample* spectrum goes with when they are
  replaced. It does not derive the exponent from them.
- What is missing in the tables was not measured. Of one seed alone, how far a number moves with the seed is not known.
- Replacements are at random initialisation.
- *Population* is the law that T draws would have to come from to look like these ([how](population.md)). Where its p
  is below 0.05 the population is not of that family, and its exponent is only that of the nearest member. A second
  exponent of {STEEPEST:g} is the largest that is looked for: beyond the break there is next to nothing.
- The search for a break was widened (more starts, closer tau) after first rows of the FCN and of LeNet had been seen,
  whose broken laws were far off; all rows here are by the wider search. The rules were not changed.
- Draws are Gaussian, of a smooth law, and of the sizes of the gradients. What they show as well is no evidence for
  anything else; what they do not show, some structure of the gradients does, which they do not name.
- The Kronecker form takes inputs and errors for independent, with the second moments that the same T minibatches show;
  of minibatches it leaves out the mean of the other samples.
- Of each data set the first {SAMPLES:,} samples are taken, for the covariance of inputs too. Labels go with the
  inputs they are given.
- A comparison of exponents within 20% is a coarse one, fixed beforehand; the ratios of all checks are in the table
  below.
"""


def main() -> None:
    """The command."""
    tables = read(COMMITTED)
    write_whole(FIGURE, figure(tables.spectra))
    write_whole(PAGE, page(tables))


def read(folder: Path) -> Tables:
    """What was measured."""
    return Tables(*(pd.read_csv(folder / f"{name}.csv") for name in Tables._fields))


def page(tables: Tables) -> str:
    """The text of the page."""
    spectra, layers, population = tables
    planned = list(measurements())
    seeds = ", ".join(str(seed) for seed in sorted(spectra.seed.unique()))
    extent = (
        f"{len(spectra)} of {len(planned)} measurements, seeds {seeds} of {', '.join(map(str, SEEDS))}, and "
        f"{len(population)} of {sum(m.population for m in planned)} populations. Cells are means over the seeds, with "
        "the smallest and the largest in brackets."
    )
    decided = [(claim, *claim.decide(tables)) for claim in CLAIMS]
    claims = [(c.name, c.sentence, c.statistic, how, f"{sum(ok for _, ok in checks)}/{len(checks)}")
              for c, how, checks in decided]  # fmt: skip
    checked = [_checks(claim.name, checks) for claim, _, checks in decided]
    parts = [
        _HEAD,
        "![Exponents of the sample spectrum by what was replaced](explanations/exponents.png)\n",
        "*Exponent of the sample covariance, a mark a seed; the line is the mean of the real data.*\n",
        f"## Claims and what became of them\n\n{extent}\n",
        markdown(("claim", "what it says", "rule", "outcome", "checks"), claims),
        "## Spectra\n",
        markdown(_SPECTRA, _spectra_rows(spectra)),
        _SPECTRA_NOTE,
        "## Populations\n",
        markdown(_POPULATION, _population_rows(population)),
        _POPULATION_NOTE,
        "## Linear layers\n",
        markdown(_LAYERS, _layer_rows(layers)),
        _LAYERS_NOTE,
        _LIMITS,
        "## Every check\n",
        *checked,
    ]
    return "\n".join(parts)


_SPECTRA = ("network", "data", "replaced", "s", "d_KS", "power law", "outliers", "around class means", "between")
_POPULATION = ("network", "data", "trained", "sample s", "drawn s", "sample d_KS", "drawn d_KS", "population s",
               "not rejected", "broken s", "broken not rejected", "spread", "other half")  # fmt: skip
_LAYERS = ("network", "data", "layer", "s", "Kronecker", "inputs", "errors")
_SPECTRA_NOTE = """*outliers*: leading eigenvalues above the line; *around class means*: after class means are taken off
(B = 1); *between*: share of the trace between classes.
"""
_POPULATION_NOTE = """*drawn*: as many Gaussian draws from the law that is not rejected, or the nearest, of the
sizes of the gradients. *population s*: exponent of the fitted power law; *broken s*: exponents above and below the
break; *not rejected*: how many seeds do not reject it. *spread*: standard deviation over mean of the sizes (lengths
squared) of single gradients. *other half*: of the variance along the 10 leading directions of one half of the
gradients, what part the other half has there.
"""
_LAYERS_NOTE = """Exponents of the second moment of each weight's gradient, and of as many draws from the Kronecker
product of the second moments of its inputs and errors; then of these two alone, over the leading half of their
eigenvalues.
"""


def _checks(name: str, checks: list[tuple[str, bool]]) -> str:
    said = "; ".join(f"{what} ({'yes' if ok else 'no'})" for what, ok in checks)
    return f"**{name}**: {said or 'none'}.\n"


def _spectra_rows(spectra: pd.DataFrame) -> list[tuple[str, ...]]:
    order = spectra.assign(order=spectra.variant.map([*VARIANTS, *TRAINED].index))
    rows = []
    for (network, data, _, variant), group in order.groupby(["network", "data", "order", "variant"], sort=True):
        cells = [spread(group[name]) for name in ("s", "d_ks")]
        cells += [passed(group.power_law), spread(group.outliers), spread(group.within_outliers)]
        what = "nothing" if variant == REAL else f"nothing, {variant}" if variant in TRAINED else variant
        rows.append((network, data, what, *cells, spread(group.between, percent=True)))
    return rows


def _population_rows(population: pd.DataFrame) -> list[tuple[str, ...]]:
    rows = []
    for (network, data, variant), group in population.groupby(["network", "data", "variant"], sort=True):
        names = ("s_sample", "s_drawn", "d_ks_sample", "d_ks_drawn", "s")
        cells = [spread(group[name]) for name in names] + [_kept(group.p_value)]
        broken = f"{spread(group.s_above)} / {spread(group.s_below)}" if group.s_above.notna().any() else "-"
        cells += [broken, _kept(group.p_broken), spread(group.spread), spread(group.other_half, percent=True)]
        rows.append((network, data, "no" if variant == REAL else variant, *cells))
    return rows


def _kept(p_values: pd.Series) -> str:
    known = p_values.dropna()
    return f"{(known >= LEVEL).sum()} of {len(known)}"


def _layer_rows(layers: pd.DataFrame) -> list[tuple[str, ...]]:
    own = layers[layers.variant == REAL]
    return [
        (network, data, layer, *(spread(group[name]) for name in ("s", "s_kronecker", "s_inputs", "s_errors")))
        for (network, data, layer), group in own.groupby(["network", "data", "layer"], sort=True)
    ]


if __name__ == "__main__":
    main()
