"""Each rule on made-up numbers, with every outcome reached; both verdicts apart."""

import numpy as np
import pytest

from gradlaw.reproduction.claim import FAILS, HOLDS, IN_PART, NOT_RUN, Results, Rule, outcome
from gradlaw.reproduction.evidence import trained_apart
from gradlaw.reproduction.experiment import history
from gradlaw.reproduction.xie2023 import rules
from gradlaw.reproduction.xie2023.networks import LENET, LENET_TRAINED
from paper_results import angles, hessian, rates, spectrum

COVARIANCE, EIGENGAPS = "covariance", "eigengaps"
YES, NO = {"is_power_law": True, "is_power_law_calibrated": True}, {"is_power_law": False,
                                                                    "is_power_law_calibrated": False}  # fmt: skip
LINE = np.arange(1, 101) ** -1.3
CASES: list[tuple[Rule, Results, str]] = [
    (rules.power_law_rate("dimension", at_least=0.5), {"a": rates(0.9, 0.7, 0)}, HOLDS),
    (rules.power_law_rate("dimension", at_least=0.5), {"a": rates(0.9, 0.7, 0), "b": rates(0.4, 0.3, 0)}, IN_PART),
    (rules.power_law_rate("dimension", at_least=0.5), {"a": rates(0.4, 0.3, 0)}, FAILS),
    (rules.power_law_rate("iteration", at_most=0.05), {"a": rates(0.01, 0.0, 0)}, HOLDS),
    (rules.power_law_rate("iteration", at_most=0.05), {"a": rates(0.3, 0.1, 0)}, FAILS),
    (rules.gaussian_rate("iteration", above=0.5), {"a": rates(0, 0, 0.6), "b": rates(0, 0, 0.5)}, IN_PART),
    (rules.gaussian_rate_grows("iteration"), {"1": rates(0, 0, 0.1), "2": rates(0, 0, 0.2)}, HOLDS),
    (rules.gaussian_rate_grows("iteration"), {"1": rates(0, 0, 0.3), "2": rates(0, 0, 0.2)}, FAILS),
    (rules.gaussian_rate_grows("iteration"), {"1": rates(0, 0, 0.3)}, NOT_RUN),
    (rules.power_law_spectrum(COVARIANCE), {"a": spectrum(), "b": spectrum(False, False)}, IN_PART),
    (rules.power_law_spectrum(COVARIANCE, ["a"]), {"a": spectrum(False, False)}, HOLDS),
    (rules.power_law_spectrum(COVARIANCE, ["a"]), {"a": spectrum(covariance=None)}, HOLDS),
    (rules.power_law_spectrum(COVARIANCE), {"a": spectrum(covariance=None)}, FAILS),
    (rules.power_law_spectrum(COVARIANCE, without="a"), {"a": spectrum()}, NOT_RUN),
    (rules.same_exponent(COVARIANCE, "a", 0.2), {"a": spectrum(s=1.0), "b": spectrum(s=1.19)}, HOLDS),
    (rules.same_exponent(COVARIANCE, "a", 0.2), {"a": spectrum(s=1.0), "b": spectrum(s=1.21)}, FAILS),
    (rules.same_exponent(COVARIANCE, "a", 0.2), {"b": spectrum()}, NOT_RUN),
    (rules.similar_spectra(0.05), {"a": spectrum()}, HOLDS),
    (rules.similar_spectra(0.05), {"a": spectrum(covariance={"s": 1.5})}, FAILS),
    (rules.similar_spectra(0.05), {"a": spectrum(covariance={"is_power_law": False})}, FAILS),
    (rules.inverse_batch_size({"1": 1, "10": 10}, 2.0), {"1": spectrum(), "10": spectrum(scale=0.12)}, HOLDS),
    (rules.inverse_batch_size({"1": 1, "10": 10}, 2.0), {"1": spectrum(), "10": spectrum()}, FAILS),
    (rules.hessian_differs({"a": 10}, 10.0), {"a": spectrum(), "a Hessian": hessian(10 * LINE)}, FAILS),
    (rules.hessian_differs({"a": 10}, 10.0), {"a": spectrum(), "a Hessian": hessian(0.9 * LINE)}, HOLDS),
    (rules.hessian_differs({"a": 10}, 10.0), {"a": spectrum()}, NOT_RUN),
    (rules.hessian_differs({"a": 10}, 10.0), {"a": spectrum(), "a Hessian": hessian(LINE, None, "others")}, NOT_RUN),
    (rules.inverse_batch_size({"1": 1, "2": 2}, 2.0), {"1": spectrum(), "2": spectrum(parameters="others")}, NOT_RUN),
    (rules.power_law_hessian(["random"]), {"random": hessian(LINE), "trained": hessian(LINE, YES)}, HOLDS),
    (rules.power_law_hessian(["random"]), {"random": hessian(LINE), "trained": hessian(LINE, NO)}, IN_PART),
    (rules.outlier_count(9), {"a": spectrum(), "b": spectrum(outliers=1)}, IN_PART),
    (rules.same_outlier_count([("a", "b")]), {"a": spectrum(), "b": spectrum()}, HOLDS),
    (rules.same_outlier_count([("a", "b")]), {"a": spectrum(), "b": spectrum(outliers=99)}, FAILS),
    (rules.less_marked_outliers([("a", "b")], 9), {"a": spectrum(), "b": spectrum(raised=9, by=10)}, HOLDS),
    (rules.less_marked_outliers([("a", "b")], 9), {"b": spectrum(), "a": spectrum(raised=9, by=10)}, FAILS),
    (rules.gaps_decay_faster(), {"a": spectrum(s=1.3, eigengaps={"s": 2.3})}, HOLDS),
    (rules.gaps_decay_faster(), {"a": spectrum(s=1.3, eigengaps={"s": 1.2}), "b": spectrum(eigengaps=None)}, FAILS),
    (rules.bound_holds(), {"a": angles(np.array([0.1, 1.0]), np.array([0.2, 9.0]))}, HOLDS),
    (rules.bound_holds(), {"a": angles(np.array([0.3, 1.0]), np.array([0.2, 9.0]))}, FAILS),
    (rules.robust_top(2, 0.5), {"a": angles(np.array([0.1, 0.2, 0.8, 0.9]), np.ones(4))}, HOLDS),
    (rules.robust_top(2, 0.5), {"a": angles(np.array([0.1, 0.2, 0.3, 0.4]), np.ones(4))}, FAILS),
    (rules.robust_top(2, 0.5), {"a": angles(np.array([0.1, 0.2]), np.ones(2))}, NOT_RUN),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "results", "expected"), CASES)
def test_the_rule_decides(rule: Rule, results: Results, expected: str) -> None:
    assert outcome([check.published for check in rule(results)]) == expected


def test_both_verdicts_are_decided_apart() -> None:
    (check,) = rules.power_law_spectrum(COVARIANCE)({"a": spectrum(True, False)})
    assert (check.published, check.calibrated) == (True, False)
    (check,) = rules.power_law_rate("dimension", at_least=0.5)({"a": rates(0.6, 0.4, 0)})
    assert (check.published, check.calibrated) == (True, False)
    (check,) = rules.power_law_spectrum(COVARIANCE, ["a"])({"a": spectrum(True, False)})
    assert (check.published, check.calibrated) == (False, True)


def test_a_network_that_was_trained_on_two_machines_is_named() -> None:
    one, two = (history(LENET_TRAINED, batch_size) for batch_size in (1, 10))
    assert trained_apart([(one, spectrum()), (two, spectrum()), (history(LENET, 1), spectrum(parameters="b"))]) == []
    assert trained_apart([(one, spectrum()), (two, spectrum(parameters="b"))]) == [LENET_TRAINED]


def test_rules_join() -> None:
    both = rules.every(rules.power_law_spectrum(COVARIANCE), rules.power_law_spectrum(EIGENGAPS))
    assert len(both({"a": spectrum()})) == 2


@pytest.mark.parametrize(
    ("checks", "expected"),
    [([], NOT_RUN), ([True], HOLDS), ([True, False], IN_PART), ([False, False], FAILS)],
)
def test_every_outcome_follows_from_checks(checks: list[bool], expected: str) -> None:
    assert outcome(checks) == expected
