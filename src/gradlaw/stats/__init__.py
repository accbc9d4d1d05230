"""Tail statistics of arrays: power-law fits, Gaussianity, calibrated verdicts. Knows nothing of neural networks."""

from gradlaw.stats.calibration import calibrated_critical_distance, critical_distance, gaussian_pass_rate
from gradlaw.stats.gaussian import gaussian_test_rows
from gradlaw.stats.powerlaw import PowerLawFit, PowerLawFits, fit_power_law, fit_power_law_rows
from gradlaw.stats.rates import GradientTests, gradient_tests

__all__ = [
    "GradientTests",
    "PowerLawFit",
    "PowerLawFits",
    "calibrated_critical_distance",
    "critical_distance",
    "fit_power_law",
    "fit_power_law_rows",
    "gaussian_pass_rate",
    "gaussian_test_rows",
    "gradient_tests",
]
