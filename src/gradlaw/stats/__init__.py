"""Tail statistics of arrays: power-law fits, Gaussianity, calibrated verdicts. Knows nothing of neural networks."""

from gradlaw.stats.alpha_stable import StableIndices, stable_index_rows
from gradlaw.stats.alternatives import (
    TailAlternative,
    TailAlternatives,
    TailComparison,
    TailComparisons,
    compare_tails,
    compare_tails_rows,
)
from gradlaw.stats.calibration import calibrated_critical_distance, critical_distance, gaussian_pass_rate
from gradlaw.stats.discrete import DiscretePowerLawFit, fit_discrete_power_law
from gradlaw.stats.gaussian import gaussian_test_rows
from gradlaw.stats.gaussianity import Gaussianity, gaussianity_rows, passing_ceiling
from gradlaw.stats.goodness_of_fit import GoodnessOfFit, goodness_of_fit
from gradlaw.stats.groups import rates_by_group
from gradlaw.stats.power import FalseAlarmRates, false_alarm_rates, no_verdict
from gradlaw.stats.powerlaw import PowerLawFit, PowerLawFits, fit_power_law, fit_power_law_rows
from gradlaw.stats.rates import GradientTests, gradient_tests
from gradlaw.stats.start_uncertainty import StartUncertainty, tail_start_uncertainty
from gradlaw.stats.tail_index import TailIndices, hill_curve, hill_rows, moment_curve, moment_rows
from gradlaw.stats.tail_start import TailStartScan, bootstrap_p_value, scan_tail_start
from gradlaw.stats.truncated import TruncatedPowerLawFit, fit_truncated_power_law
from gradlaw.stats.uncertainty import ExponentUncertainty, exponent_uncertainty

__all__ = [
    "DiscretePowerLawFit",
    "ExponentUncertainty",
    "FalseAlarmRates",
    "Gaussianity",
    "GoodnessOfFit",
    "GradientTests",
    "PowerLawFit",
    "PowerLawFits",
    "StableIndices",
    "StartUncertainty",
    "TailAlternative",
    "TailAlternatives",
    "TailComparison",
    "TailComparisons",
    "TailIndices",
    "TailStartScan",
    "TruncatedPowerLawFit",
    "bootstrap_p_value",
    "calibrated_critical_distance",
    "compare_tails",
    "compare_tails_rows",
    "critical_distance",
    "exponent_uncertainty",
    "false_alarm_rates",
    "fit_discrete_power_law",
    "fit_power_law",
    "fit_power_law_rows",
    "fit_truncated_power_law",
    "gaussian_pass_rate",
    "gaussian_test_rows",
    "gaussianity_rows",
    "goodness_of_fit",
    "gradient_tests",
    "hill_curve",
    "hill_rows",
    "moment_curve",
    "moment_rows",
    "no_verdict",
    "passing_ceiling",
    "rates_by_group",
    "scan_tail_start",
    "stable_index_rows",
    "tail_start_uncertainty",
]
