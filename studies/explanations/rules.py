"""What would explain the power law, and the rules that decide it: written before any result was looked at.

Every rule goes through all rows that were measured, one check a network, data set and seed. *Exponent* is that of the K
= 333 largest eigenvalues of the sample covariance unless said otherwise; a *power law* is one by the published critical
distance.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import pandas as pd

from gradlaw.reproduction.claim import outcome
from studies.explanations.design import COVARIANCE, LABELS, MARGINALS, ORTHOGONAL, REAL, TRAINED, WHITE

CLOSE = 0.2  # relative difference of exponents that are alike
NEARLY = 0.05  # of exponents of a sample and of draws from what was fitted to it
CONFIRMED = 0.8  # of the variance along the 10 leading directions of one half, that the other half has there
CLASSES = 10
LEVEL = 0.05
Checks = Iterator[tuple[str, bool]]
KEY = ["network", "data", "seed"]


class Tables(NamedTuple):
    """What was measured: spectra, linear layers, populations."""

    spectra: pd.DataFrame
    layers: pd.DataFrame
    population: pd.DataFrame


@dataclass(frozen=True)
class Claim:
    """A statement, and the rule that decides it from the tables."""

    name: str
    sentence: str
    statistic: str
    rule: Callable[[Tables], Checks]

    def decide(self, tables: Tables) -> tuple[str, list[tuple[str, bool]]]:
        """The outcome, and the checks."""
        checks = list(self.rule(tables))
        return outcome([holds for _, holds in checks]), checks


def _of(spectra: pd.DataFrame, variant: str) -> pd.DataFrame:
    return spectra[spectra.variant == variant].set_index(KEY)


def _what(key: Any, text: str) -> str:
    network, data, seed = key
    return f"{network}, {data}, seed {seed}: {text}"


def _alike(variant: str) -> Callable[[Tables], Checks]:
    def rule(tables: Tables) -> Checks:
        real, other = _of(tables.spectra, REAL), _of(tables.spectra, variant)
        for key in other.index.intersection(real.index):
            ratio = other.s[key] / real.s[key]
            yield _what(key, f"s {ratio:.2f} times that of the real data"), bool(abs(ratio - 1) <= CLOSE)

    return rule


def _white(tables: Tables) -> Checks:
    real, other = _of(tables.spectra, REAL), _of(tables.spectra, WHITE)
    for key in other.index.intersection(real.index):
        if real.power_law[key]:
            yield _what(key, f"white d_KS {other.d_ks[key]:.3f}"), not bool(other.power_law[key])


def _class_means(tables: Tables) -> Checks:
    real = _of(tables.spectra, REAL)
    for key, row in real[real.between.notna()].iterrows():
        text = f"{row.outliers:.0f} outliers, {row.within_outliers:.0f} around the class means"
        yield _what(key, text), bool(row.outliers == CLASSES - 1 and row.within_outliers == 0)


def _kronecker(tables: Tables) -> Checks:
    for _, row in tables.layers[tables.layers.variant == REAL].iterrows():
        ratio = row.s_kronecker / row.s
        text = f"{row.layer}: Kronecker form {ratio:.2f} times the layer's s"
        yield _what(row[KEY], text), bool(abs(ratio - 1) <= CLOSE)


def _population(tables: Tables) -> Checks:
    for key, row in _of(tables.population, REAL).iterrows():
        yield _what(key, f"p = {row.p_value:.2g}"), bool(row.p_value >= LEVEL)


def _same_exponent(tables: Tables) -> Checks:
    for key, row in _of(tables.population, REAL).iterrows():
        ratio = row.s / row.s_sample
        yield _what(key, f"population {ratio:.2f} times the sample"), bool(abs(ratio - 1) <= CLOSE)


def _drawn_exponent(tables: Tables) -> Checks:
    for key, row in _of(tables.population, REAL).iterrows():
        ratio = row.s_drawn / row.s_sample
        yield _what(key, f"drawn {ratio:.2f} times the sample"), bool(abs(ratio - 1) <= NEARLY)


def _drawn_distance(tables: Tables) -> Checks:
    for key, row in _of(tables.population, REAL).iterrows():
        share = row.d_ks_drawn / row.d_ks_sample
        yield _what(key, f"drawn d_KS {share:.2f} times the sample's"), bool(share >= 0.5)


def _confirmed(tables: Tables) -> Checks:
    for key, row in _of(tables.population, REAL).iterrows():
        yield _what(key, f"{row.other_half:.1%}"), bool(row.other_half >= CONFIRMED)


def _trained_exponent(tables: Tables) -> Checks:
    real = _of(tables.spectra, REAL)
    for variant in TRAINED:
        other = _of(tables.spectra, variant)
        for key in other.index.intersection(real.index):
            ratio = other.s[key] / real.s[key]
            yield _what(key, f"{variant}: s {ratio:.2f} times that at random"), bool(abs(ratio - 1) <= CLOSE)


def _trained_population(tables: Tables) -> Checks:
    for variant in TRAINED:
        for key, row in _of(tables.population, variant).iterrows():
            yield _what(key, f"{variant}: p = {row.p_value:.2g}"), bool(row.p_value >= LEVEL)


_NEAR = f"exponent within {CLOSE:.0%} of that of the real data"
CLAIMS = (
    Claim(
        "the population is a power law",
        "What the T gradients are a sample of has eigenvalues that follow a power law.",
        f"the power law of the population is not rejected at {LEVEL:g}",
        _population,
    ),
    Claim(
        "the exponent is the population's",
        "The exponent that a sample spectrum shows is that of the population.",
        f"exponent of the fitted power law of the population within {CLOSE:.0%} of the sample's",
        _same_exponent,
    ),
    Claim(
        "it takes structure in the inputs",
        "Without correlations of the inputs there is no power law.",
        "a power law with the real data, and none with white inputs",
        _white,
    ),
    Claim(
        "the covariance of the inputs is enough",
        "Gaussian inputs with the covariance of the data give the same exponent.",
        _NEAR,
        _alike(COVARIANCE),
    ),
    Claim(
        "the marginals of the inputs are enough",
        "Independent pixels, each with its own distribution, give the same exponent.",
        _NEAR,
        _alike(MARGINALS),
    ),
    Claim(
        "labels do not matter",
        "With labels that have nothing to do with the inputs the exponent is the same.",
        _NEAR,
        _alike(LABELS),
    ),
    Claim(
        "weights do not matter",
        "With orthogonal weights of the same norm the exponent is the same.",
        _NEAR,
        _alike(ORTHOGONAL),
    ),
    Claim(
        "outliers are class means",
        "The c - 1 outliers are the differences of class means, and go with them (B = 1).",
        "c - 1 outliers, and none in the covariance around the class means",
        _class_means,
    ),
    Claim(
        "layers are Kronecker products",
        "The spectra of inputs and of errors together give the exponent of a linear layer.",
        f"exponent of a sample from the Kronecker product within {CLOSE:.0%} of the layer's",
        _kronecker,
    ),
    Claim(
        "sampling and a smooth law make the exponent",
        "Gaussian draws from the law fitted to the population, of the sizes of the gradients, show their exponent.",
        f"exponent of the draws within {NEARLY:.0%} of the sample's",
        _drawn_exponent,
    ),
    Claim(
        "sampling and a smooth law make the distance",
        "How far the sample spectrum is from a straight line is mostly what such draws show too.",
        "d_KS of the draws at least half of the sample's",
        _drawn_distance,
    ),
    Claim(
        "leading directions are the population's",
        "The 10 leading directions of one half of the gradients are leading ones of the other.",
        f"the other half has at least {CONFIRMED:.0%} of the variance along them",
        _confirmed,
    ),
    Claim(
        "training keeps the exponent",
        "After an epoch and after three LeNet on MNIST has the exponent that it had at random.",
        f"exponent within {CLOSE:.0%} of that at random",
        _trained_exponent,
    ),
    Claim(
        "the population is a power law while training",
        "After an epoch and after three the population behind LeNet's gradients follows a power law.",
        f"the power law of the population is not rejected at {LEVEL:g}",
        _trained_population,
    ),
)
