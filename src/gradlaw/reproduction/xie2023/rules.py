"""The rules that decide claims: functions of results, each made for one kind of statistic."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from gradlaw.analysis.verdicts import EIGENGAPS
from gradlaw.reproduction.claim import Check, Results, Rule
from gradlaw.reproduction.evidence import same_parameters
from gradlaw.reproduction.store import Result
from gradlaw.spectra import count_outliers
from gradlaw.spectra.matrices import COVARIANCE, SECOND_MOMENT

_POWER_LAW_RATES = "power_law_rate", "power_law_rate_calibrated"
_VERDICTS = "is_power_law", "is_power_law_calibrated"
_FEWEST_BELOW = 21  # eigenvalues needed below the outliers, see count_outliers
TOP = 10  # leading eigenvalues that are compared


def power_law_rate(axis: str, at_least: float | None = None, at_most: float | None = None) -> Rule:
    """Each experiment: the power-law rate of one direction lies within limits."""

    def within(rate: float) -> bool:
        return (at_least is None or rate >= at_least) and (at_most is None or rate <= at_most)

    def rule(results: Results) -> list[Check]:
        rates = {label: r.record["tests"][axis] for label, r in results.items()}
        return [Check(label, *(within(t[name]) for name in _POWER_LAW_RATES)) for label, t in rates.items()]

    return rule


def gaussian_rate(axis: str, above: float) -> Rule:
    """Each experiment: Gaussianity is not rejected for more than this share of the series."""

    def rule(results: Results) -> list[Check]:
        return [_both(label, r.record["tests"][axis]["gaussian_rate"] > above) for label, r in results.items()]

    return rule


def gaussian_rate_grows(axis: str) -> Rule:
    """Experiments in the order of their batch sizes: the Gaussian rate does not fall from one to the next."""

    def rule(results: Results) -> list[Check]:
        rates = [(label, r.record["tests"][axis]["gaussian_rate"]) for label, r in results.items()]
        return [_both(f"{a} to {b}", second >= first) for (a, first), (b, second) in pairwise(rates)]

    return rule


def power_law_spectrum(matrix: str, rejected: Sequence[str] = (), without: str | None = None) -> Rule:
    """Each experiment but ``without``: its spectrum is a power law, or is none where its label is ``rejected``."""

    def rule(results: Results) -> list[Check]:
        checks = []
        for label, result in ((label, result) for label, result in results.items() if label != without):
            passed = [bool(_value(result, matrix, name)) for name in _VERDICTS]
            expected = label not in rejected
            checks.append(Check(f"{label}: {'a' if expected else 'no'} power law", *(p == expected for p in passed)))
        return checks

    return rule


def every(*rules: Rule) -> Rule:
    """All checks of several rules."""
    return lambda results: [check for rule in rules for check in rule(results)]


def same_exponent(matrix: str, reference: str, tolerance: float) -> Rule:
    """Each other experiment: its exponent s is within a relative tolerance of that of the reference."""

    def rule(results: Results) -> list[Check]:
        if reference not in results:
            return []
        expected = _value(results[reference], matrix, "s")
        return [
            _both(f"{label}: s like {reference}", _close(_value(result, matrix, "s"), expected, tolerance))
            for label, result in results.items()
            if label != reference
        ]

    return rule


def similar_spectra(tolerance: float) -> Rule:
    """Each: second moment and covariance have exponents within a relative tolerance, and the same verdict."""

    def rule(results: Results) -> list[Check]:
        checks = []
        for label, result in results.items():
            first, second = (_value(result, matrix, "s") for matrix in (SECOND_MOMENT, COVARIANCE))
            same = [_value(result, SECOND_MOMENT, name) == _value(result, COVARIANCE, name) for name in _VERDICTS]
            checks.append(Check(label, *(_close(first, second, tolerance) and verdict for verdict in same)))
        return checks

    return rule


def inverse_batch_size(batch_sizes: dict[str, int], factor: float) -> Rule:
    """B times the leading eigenvalues is within a factor of that at the first batch size, in the median.

    Measurements of other parameters than at the first, of a training on another machine say, are left out.
    """

    def rule(results: Results) -> list[Check]:
        labels = [label for label in results if label in batch_sizes]
        labels = [label for label in labels if same_parameters(results[labels[0]], results[label])]
        if len(labels) < 2:
            return []
        scaled = {label: batch_sizes[label] * results[label].arrays["covariance"][:TOP] for label in labels}
        ratios = {label: float(np.median(scaled[label] / scaled[labels[0]])) for label in labels[1:]}
        return [_both(f"{label} / {labels[0]}", 1 / factor <= ratio <= factor) for label, ratio in ratios.items()]

    return rule


def hessian_differs(batch_sizes: dict[str, int], factor: float) -> Rule:
    """Each network (labels ``NETWORK`` and ``NETWORK Hessian``): somewhere H and B C differ by more than a factor.

    Where they are of different parameters they are not compared.
    """

    def rule(results: Results) -> list[Check]:
        checks = []
        for network, batch_size in batch_sizes.items():
            hessian = results.get(f"{network} Hessian")
            if network not in results or hessian is None or not same_parameters(results[network], hessian):
                continue
            count = min(hessian.record["positive"], results[network].record["spectra"][COVARIANCE]["rank"])
            ratios = hessian.arrays["hessian"][:count] / (batch_size * results[network].arrays["covariance"][:count])
            checks.append(_both(network, bool(count) and float(np.abs(np.log(ratios)).max()) > np.log(factor)))
        return checks

    return rule


def power_law_hessian(rejected: Sequence[str] = ()) -> Rule:
    """Each: the Hessian's largest eigenvalues are a power law, or are none where the label is ``rejected``."""

    def rule(results: Results) -> list[Check]:
        checks = []
        for label, result in results.items():
            fit = result.record["fit"] or dict.fromkeys(_VERDICTS, False)  # some of them are not positive
            expected = label not in rejected
            checks.append(Check(f"{label}: {'a' if expected else 'no'} power law",
                                *(fit[name] == expected for name in _VERDICTS)))  # fmt: skip
        return checks

    return rule


def outlier_count(expected: int) -> Rule:
    """Each experiment: so many leading eigenvalues of the covariance stand apart."""

    def rule(results: Results) -> list[Check]:
        return [
            _both(f"{label}: {found} outliers", found == expected)
            for label, found in ((label, r.record["spectra"][COVARIANCE]["outliers"]) for label, r in results.items())
        ]

    return rule


def same_outlier_count(pairs: Sequence[tuple[str, str]]) -> Rule:
    """Each pair of experiments: equally many leading eigenvalues stand apart."""

    def rule(results: Results) -> list[Check]:
        counts = {label: r.record["spectra"][COVARIANCE]["outliers"] for label, r in results.items()}
        present = [(a, b) for a, b in pairs if a in counts and b in counts]
        return [_both(f"{a}: {counts[a]}, {b}: {counts[b]}", counts[a] == counts[b]) for a, b in present]

    return rule


def less_marked_outliers(pairs: Sequence[tuple[str, str]], count: int) -> Rule:
    """Each pair: the first ``count`` eigenvalues stand less far above the line in the first experiment."""

    def rule(results: Results) -> list[Check]:
        present = [(a, b) for a, b in pairs if a in results and b in results]
        return [_both(f"{a} below {b}", _excess(results[a], count) < _excess(results[b], count)) for a, b in present]

    return rule


def gaps_decay_faster() -> Rule:
    """Each experiment: the exponent of the eigengaps is larger than that of the eigenvalues."""

    def rule(results: Results) -> list[Check]:
        exponents = {label: [_value(r, matrix, "s") for matrix in (EIGENGAPS, COVARIANCE)]
                     for label, r in results.items()}  # fmt: skip
        return [_both(label, None not in s and s[0] > s[1]) for label, s in exponents.items()]

    return rule


def bound_holds(slack: float = 1e-6) -> Rule:
    """Each experiment: no measured sine is above the bound."""

    def rule(results: Results) -> list[Check]:
        return [_both(label, bool((r.arrays["sine"] <= r.arrays["bound"] + slack).all()))
                for label, r in results.items()]  # fmt: skip

    return rule


def robust_top(count: int, sine: float) -> Rule:
    """Each experiment: the first ``count`` eigenvectors turn less than a sine in the median, those after them more."""

    def rule(results: Results) -> list[Check]:
        medians = {label: [float(np.median(part)) for part in np.split(r.arrays["sine"], [count])]
                   for label, r in results.items() if len(r.arrays["sine"]) > count}  # fmt: skip
        return [_both(label, first < sine < rest) for label, (first, rest) in medians.items()]

    return rule


def _both(what: str, so: Any) -> Check:
    """A check that no critical distance enters."""
    return Check(what, bool(so), bool(so))


def _value(result: Result, matrix: str, name: str) -> Any:
    """Of a fit; None where there is none."""
    fit = result.record["spectra"][matrix]["fit"]
    return fit and fit[name]


def _close(first: float | None, second: float | None, tolerance: float) -> bool:
    return first is not None and second is not None and abs(first - second) <= tolerance * second


def _excess(result: Result, count: int) -> float:
    """How far the leading eigenvalues are above the line of those below, as a mean logarithm."""
    spectrum = result.record["spectra"][COVARIANCE]
    most = min(50, spectrum["k"] - _FEWEST_BELOW)
    excess = count_outliers(result.arrays["covariance"], spectrum["k"], max(1, most)).excess
    return float(np.log(excess[:count]).mean())
