"""The paper's statements, asked of the GPT, and the rules that decide them: written before any result was looked at.

Every rule goes through all rows that were measured, one check a network and seed, by the published and by the
calibrated verdict. Where the sizes give no verdict (too many Gaussian series would pass) there is no check but a
remark. Rates, spectra and outliers are of gradients of single windows, 64 predictions each, unless said otherwise.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from gradlaw.reproduction.claim import Check, Decided
from studies.transformers.design import ADAM, BATCH_SIZES, BATCHES, CURVATURE, SMALL, SPECTRUM, TESTS, Measurement
from studies.transformers.networks import KINDS
from studies.transformers.tables import Results

MOST = 0.5  # of the series pass where a claim says that they do
FEW = 0.1  # where it says that they do not
FACTOR = 2.0  # within which ratios are the same
SHARED = 0.5  # overlap of leading subspaces that are alike
TOP = 10  # eigenvalues and eigenvectors of that comparison
CLOSE = 0.2  # relative difference of exponents that are alike
_VERDICTS = ("", "_calibrated")
Rule = Callable[[Results], Iterator[Check | str]]


@dataclass(frozen=True)
class Claim:
    """A statement, the rule that decides it, and the checks that it makes.

    Attributes:
        name: short.
        sentence: what the paper says, in our words, of its networks.
        statistic: what is looked at, and the threshold.
        rule: from results to checks; a string in their place is a remark: there was no verdict.
    """

    name: str
    sentence: str
    statistic: str
    rule: Rule


@dataclass(frozen=True)
class Decision(Decided):
    """A claim and what became of it."""

    claim: Claim
    checks: tuple[Check, ...]
    remarks: tuple[str, ...]


def decide(claim: Claim, results: Results) -> Decision:
    """Apply a rule to all that was measured."""
    found = list(claim.rule(results))
    checks = tuple(part for part in found if isinstance(part, Check))
    return Decision(claim, checks, tuple(part for part in found if isinstance(part, str)))


def _rates(results: Results, kind: str, axis: str) -> Iterator[tuple[Measurement, pd.Series]]:
    for measurement in results.of(kind, network=SMALL):
        rows = results.rates[results.rates.measurement == measurement.name]
        for _, row in rows[rows.axis == axis].iterrows():
            yield measurement, row


def _power_law(axis: str, groups: tuple[str, ...], passes: Callable[[float], bool]) -> Rule:
    def rule(results: Results) -> Iterator[Check | str]:
        for measurement, row in _rates(results, TESTS, axis):
            if row.group not in groups:
                continue
            what = f"{row.group}, {measurement.name}"
            silent = [isinstance(row[f"no_verdict{suffix}"], str) for suffix in _VERDICTS]
            if all(silent):
                yield f"{what}: no verdict"
                continue
            told = [not quiet and passes(row[f"power_law_rate{suffix}"])
                    for quiet, suffix in zip(silent, _VERDICTS, strict=True)]  # fmt: skip
            yield Check(what, *told)

    return rule


def _gaussian(results: Results) -> Iterator[Check]:
    for measurement in results.of(BATCHES):
        rows = results.rates[results.rates.measurement == measurement.name].set_index("batch_size")
        rates = [rows.gaussian_rate[batch_size] for batch_size in BATCH_SIZES]
        yield _both(f"{measurement.name}: above a half at B = {BATCH_SIZES[-1]}", rates[-1] > MOST)
        yield _both(f"{measurement.name}: no lower than at B = 1", rates[-1] >= rates[0])


def _spectrum(name: str) -> Rule:
    def rule(results: Results) -> Iterator[Check | str]:
        for measurement, row in results.networks_of(TESTS, network=SMALL):
            yield _verdict(measurement, row, name, True)

    return rule


def _outliers(single: bool) -> Rule:
    def rule(results: Results) -> Iterator[Check]:
        for kind in (TESTS, SPECTRUM):
            for measurement, row in results.networks_of(kind, network=SMALL, point=0, updates="", single=single):
                expected = measurement.vocabulary - 1
                yield _both(f"{measurement.name}: {row.outliers:.0f} for {expected}", row.outliers == expected)

    return rule


def _trained(results: Results) -> Iterator[Check | str]:
    for measurement, row in results.networks_of(TESTS, network=SMALL):
        if measurement.point:
            yield _verdict(measurement, row, "covariance", measurement.optimiser != ADAM)


def _updates(results: Results) -> Iterator[Check | str]:
    for measurement, row in results.networks_of(SPECTRUM, network=SMALL):
        if measurement.updates:
            yield _verdict(measurement, row, "covariance", measurement.updates != ADAM)


def _same_exponent(results: Results) -> Iterator[Check]:
    rows = {(m.seed, m.optimiser, m.point): row for m, row in results.networks_of(TESTS, network=SMALL)}
    for (seed, optimiser, point), row in rows.items():
        if point and (seed, ADAM, 0) in rows:
            ratio = row.covariance_s / rows[seed, ADAM, 0].covariance_s
            what = f"{optimiser}, epoch {point}, seed {seed}: {ratio:.2f} times that at random"
            yield _both(what, abs(ratio - 1) <= CLOSE)


def _hessian(results: Results) -> Iterator[Check]:
    for measurement in results.of(CURVATURE):
        rows = results.curvature[results.curvature.measurement == measurement.name].sort_values("k")
        if len(rows) < TOP:
            continue
        ratios, overlap = rows.ratio.to_numpy()[:TOP], rows.overlap.to_numpy()[TOP - 1]
        spread = float(np.max(ratios) / np.min(ratios))
        yield _both(f"{measurement.name}: ratios spread by a factor of {spread:.3g}", spread <= FACTOR)
        yield _both(f"{measurement.name}: overlap {overlap:.3g}", overlap >= SHARED)


def _verdict(measurement: Measurement, row: pd.Series, name: str, expected: bool) -> Check | str:
    """Whether the verdict on a spectrum is the expected one."""
    if pd.isna(row[f"{name}_d_ks"]):
        return f"{measurement.name}: fewer eigenvalues than K"
    what = f"{measurement.name}: d_KS {row[f'{name}_d_ks']:.3g}, {'a' if expected else 'no'} power law"
    return Check(what, *(bool(row[f"{name}_power_law{suffix}"]) == expected for suffix in _VERDICTS))


def _both(what: str, holds: bool) -> Check:
    return Check(what, bool(holds), bool(holds))


CLAIMS = (
    Claim(
        "heavy tails across parameters",
        "The gradient of one iteration, taken over all parameters, has a power-law tail.",
        f"dimension-wise power-law rate of the whole model at least {MOST:.0%}",
        _power_law("dimension", ("model",), lambda rate: rate >= MOST),
    ),
    Claim(
        "heavy tails in every kind of layer",
        "The same for the parameters of each kind of layer alone.",
        f"dimension-wise power-law rate of attention, MLP, embeddings and LayerNorm at least {MOST:.0%} each",
        _power_law("dimension", tuple(KINDS), lambda rate: rate >= MOST),
    ),
    Claim(
        "no power law across iterations",
        "The gradient of one parameter, taken over the iterations, has no power-law tail.",
        f"iteration-wise power-law rate of the whole model at most {FEW:.0%}",
        _power_law("iteration", ("model",), lambda rate: rate <= FEW),
    ),
    Claim(
        "Gaussian noise",
        "The noise of single parameters is often Gaussian, the more so the larger the minibatch.",
        f"iteration-wise Gaussian rate above {MOST:.0%} at B = {BATCH_SIZES[-1]}, and no lower than at B = 1",
        _gaussian,
    ),
    Claim(
        "power-law spectrum",
        "The eigenvalues of the gradient covariance follow a power law.",
        "the verdict on the leading third of the eigenvalues",
        _spectrum("covariance"),
    ),
    Claim(
        "power-law eigengaps",
        "So do the gaps between them.",
        "the verdict on the largest third of the eigengaps",
        _spectrum("eigengaps"),
    ),
    Claim(
        "as many outliers as classes less one",
        "At random, c - 1 eigenvalues stand off the line for c classes; here c is the vocabulary.",
        "the count of outliers is the vocabulary less one, for every vocabulary",
        _outliers(single=False),
    ),
    Claim(
        "the same of single predictions",
        "The same where a sample has one label as in classification: the loss is of a window's last prediction alone.",
        "the count of outliers is the vocabulary less one, for every vocabulary",
        _outliers(single=True),
    ),
    Claim(
        "training leaves the exponent",
        "A trained network has nearly the exponent of a random one.",
        f"exponent of the covariance within {CLOSE:.0%} of that at random with the same seed",
        _same_exponent,
    ),
    Claim(
        "Adam breaks the power law: trained networks",
        "SGD and momentum leave a power-law spectrum, Adam does not.",
        "trained by SGD and momentum: a power law; by Adam: none",
        _trained,
    ),
    Claim(
        "Adam breaks the power law: updates",
        "The same, read as the covariance of the updates that an optimiser makes of the gradients at fixed parameters.",
        "updates of momentum: a power law; of Adam: none",
        _updates,
    ),
    Claim(
        "the Hessian is like the covariance",
        "Hessian and gradient covariance are alike in their leading eigenvalues and directions.",
        f"ratios of the {TOP} leading eigenvalues within a factor of {FACTOR:g} of each other; overlap of the spaces "
        f"of the {TOP} leading eigenvectors at least {SHARED:g}",
        _hessian,
    ),
)
