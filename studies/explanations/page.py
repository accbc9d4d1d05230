"""The page: ``python -m studies.explanations.page`` writes docs/explanations.md and its figure from the results."""

from pathlib import Path

import pandas as pd

from gradlaw.atomic import write_whole
from gradlaw.reproduction.formats import markdown
from gradlaw.spectra.population.fit import STEEPEST
from studies.explanations.design import ITERATIONS, REAL, SAMPLES, SEEDS, VARIANTS, K, measurements
from studies.explanations.figure import figure
from studies.explanations.rules import CLAIMS, LEVEL
from studies.explanations.run import COMMITTED
from studies.transformers.formatting import passed, spread

PAGE, FIGURE = Path("docs/explanations.md"), Path("docs/explanations/exponents.png")
_HEAD = f"""# Where the exponent comes from

The covariance of stochastic gradients has eigenvalues that fall much like a power law. The paper leaves open why, and
whether the sample of T gradients shows the covariance or itself. Here one thing at a time is replaced, at random
initialisation: the inputs, by noise that keeps their covariance, or each pixel's distribution, or neither; the
labels, by a permutation; the weights, by orthogonal ones. Everything else is kept. T = {ITERATIONS:,}, K = {K}; B as
in the paper.

Made by `studies/explanations/page.py` from the results beside it, measured by `python -m studies.explanations.run`.
The rules of the table of claims (`studies/explanations/rules.py`) were written, and committed, before any result was
looked at.
"""
_LIMITS = f"""## What this shows, and what not

- It shows which parts of the data and of the network the exponent of the *sample* spectrum goes with when they are
  replaced. It does not derive the exponent from them.
- What is missing in the tables was not measured. Of one seed alone, how far a number moves with the seed is not known.
- All networks are at random initialisation. Nothing is said of trained ones, nor of transformers.
- *Population* is the law that T draws would have to come from to look like these ([how](population.md)). Where its p
  is below 0.05 the population is not of that family, and its exponent is only that of the nearest member. A second
  exponent of {STEEPEST:g} is the largest that is looked for: beyond the break there is next to nothing.
- The Kronecker form takes inputs and errors for independent, with the second moments that the same T minibatches show;
  of minibatches it leaves out the mean of the other samples.
- Of each data set the first {SAMPLES:,} samples are taken, for the covariance of inputs too. Labels go with the
  inputs they are given.
- A comparison of exponents within 20% is a coarse one, fixed beforehand; the ratios of all checks are in the table
  below.
"""


def main() -> None:
    """The command."""
    spectra, layers = read(COMMITTED)
    write_whole(FIGURE, figure(spectra))
    write_whole(PAGE, page(spectra, layers))


def read(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The tables of spectra and of layers."""
    spectra, layers = (pd.read_csv(folder / f"{name}.csv") for name in ("spectra", "layers"))
    return spectra, layers


def page(spectra: pd.DataFrame, layers: pd.DataFrame) -> str:
    """The text of the page."""
    planned = sum(1 for _ in measurements())
    seeds = ", ".join(str(seed) for seed in sorted(spectra.seed.unique()))
    extent = (
        f"{len(spectra)} of {planned} measurements, seeds {seeds} of {', '.join(map(str, SEEDS))}. Cells are means "
        "over the seeds, with the smallest and the largest in brackets."
    )
    decided = [(claim, *claim.decide(spectra, layers)) for claim in CLAIMS]
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
        "## Linear layers\n",
        markdown(_LAYERS, _layer_rows(layers)),
        _LAYERS_NOTE,
        _LIMITS,
        "## Every check\n",
        *checked,
    ]
    return "\n".join(parts)


_SPECTRA = ("network", "data", "replaced", "s", "d_KS", "power law", "outliers", "around class means", "between",
            "population s", "not rejected", "broken s", "broken not rejected")  # fmt: skip
_LAYERS = ("network", "data", "layer", "s", "Kronecker", "inputs", "errors")
_SPECTRA_NOTE = """*outliers*: leading eigenvalues above the line; *around class means*: after class means are taken off
(B = 1); *between*: share of the trace between classes. *population*: exponent of the fitted power law and how many
seeds do not reject it; *broken*: exponents above and below the break, and how many seeds do not reject that.
"""
_LAYERS_NOTE = """Exponents of the second moment of each weight's gradient, and of as many draws from the Kronecker
product of the second moments of its inputs and errors; then of these two alone, over the leading half of their
eigenvalues.
"""


def _checks(name: str, checks: list[tuple[str, bool]]) -> str:
    said = "; ".join(f"{what} ({'yes' if ok else 'no'})" for what, ok in checks)
    return f"**{name}**: {said or 'none'}.\n"


def _spectra_rows(spectra: pd.DataFrame) -> list[tuple[str, ...]]:
    order = spectra.assign(order=spectra.variant.map(list(VARIANTS).index))
    rows = []
    for (network, data, _, variant), group in order.groupby(["network", "data", "order", "variant"], sort=True):
        broken = f"{spread(group.s_above)} / {spread(group.s_below)}" if group.s_above.notna().any() else "-"
        cells = [spread(group[name]) for name in ("s", "d_ks")]
        cells += [passed(group.power_law), spread(group.outliers), spread(group.within_outliers)]
        cells += [spread(group.between, percent=True), spread(group.s_population), _kept(group.p_value)]
        rows.append((network, data, "nothing" if variant == REAL else variant, *cells, broken, _kept(group.p_broken)))
    return rows


def _kept(p_values: pd.Series) -> str:
    known = p_values.dropna()
    return f"{(known >= LEVEL).sum()} of {len(known)}"


def _layer_rows(layers: pd.DataFrame) -> list[tuple[str, ...]]:
    return [
        (network, data, layer, *(spread(group[name]) for name in ("s", "s_kronecker", "s_inputs", "s_errors")))
        for (network, data, layer), group in layers.groupby(["network", "data", "layer"], sort=True)
    ]


if __name__ == "__main__":
    main()
