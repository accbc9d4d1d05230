"""What would explain the power law, and the rules that decide it: written before any result was looked at.

Every rule goes through all rows that were measured, one check a network, data set and seed. *Exponent* is that of the K
= 333 largest eigenvalues of the sample covariance unless said otherwise; a *power law* is one by the published critical
distance.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pandas as pd

from gradlaw.reproduction.claim import outcome
from studies.explanations.design import COVARIANCE, LABELS, MARGINALS, ORTHOGONAL, REAL, WHITE

CLOSE = 0.2  # relative difference of exponents that are alike
CLASSES = 10
LEVEL = 0.05
Checks = Iterator[tuple[str, bool]]
KEY = ["network", "data", "seed"]


@dataclass(frozen=True)
class Claim:
    """A statement, and the rule that decides it from the tables of spectra and of layers."""

    name: str
    sentence: str
    statistic: str
    rule: Callable[[pd.DataFrame, pd.DataFrame], Checks]

    def decide(self, spectra: pd.DataFrame, layers: pd.DataFrame) -> tuple[str, list[tuple[str, bool]]]:
        """The outcome, and the checks."""
        checks = list(self.rule(spectra, layers))
        return outcome([holds for _, holds in checks]), checks


def _of(spectra: pd.DataFrame, variant: str) -> pd.DataFrame:
    return spectra[spectra.variant == variant].set_index(KEY)


def _what(key: Any, text: str) -> str:
    network, data, seed = key
    return f"{network}, {data}, seed {seed}: {text}"


def _alike(variant: str) -> Callable[[pd.DataFrame, pd.DataFrame], Checks]:
    def rule(spectra: pd.DataFrame, layers: pd.DataFrame) -> Checks:
        real, other = _of(spectra, REAL), _of(spectra, variant)
        for key in other.index.intersection(real.index):
            ratio = other.s[key] / real.s[key]
            yield _what(key, f"s {ratio:.2f} times that of the real data"), bool(abs(ratio - 1) <= CLOSE)

    return rule


def _white(spectra: pd.DataFrame, layers: pd.DataFrame) -> Checks:
    real, other = _of(spectra, REAL), _of(spectra, WHITE)
    for key in other.index.intersection(real.index):
        if real.power_law[key]:
            yield _what(key, f"white d_KS {other.d_ks[key]:.3f}"), not bool(other.power_law[key])


def _class_means(spectra: pd.DataFrame, layers: pd.DataFrame) -> Checks:
    real = _of(spectra, REAL)
    for key, row in real[real.batch_size == 1].iterrows():
        text = f"{row.outliers:.0f} outliers, {row.within_outliers:.0f} around the class means"
        yield _what(key, text), bool(row.outliers == CLASSES - 1 and row.within_outliers == 0)


def _kronecker(spectra: pd.DataFrame, layers: pd.DataFrame) -> Checks:
    for _, row in layers[layers.variant == REAL].iterrows():
        ratio = row.s_kronecker / row.s
        text = f"{row.layer}: Kronecker form {ratio:.2f} times the layer's s"
        yield _what(row[KEY], text), bool(abs(ratio - 1) <= CLOSE)


def _population(spectra: pd.DataFrame, layers: pd.DataFrame) -> Checks:
    for key, row in _of(spectra, REAL).iterrows():
        yield _what(key, f"p = {row.p_value:.2g}"), bool(row.p_value >= LEVEL)


def _same_exponent(spectra: pd.DataFrame, layers: pd.DataFrame) -> Checks:
    for key, row in _of(spectra, REAL).iterrows():
        ratio = row.s_population / row.s
        yield _what(key, f"population {ratio:.2f} times the sample"), bool(abs(ratio - 1) <= CLOSE)


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
)
