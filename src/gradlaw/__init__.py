"""gradlaw: a statistical X-ray of stochastic gradients."""

from importlib.metadata import version

from gradlaw.analysis import Analysis, analyze
from gradlaw.data import load_data
from gradlaw.errors import InputError
from gradlaw.history import Adam, ClipByNorm, ClipByValue, GradientHistory, Momentum, WeightDecay, collect
from gradlaw.problem import Problem
from gradlaw.progress import Progress
from gradlaw.spectra import Spectrum, count_outliers, eigengaps, gradient_noise, gradient_spectrum
from gradlaw.stats import (
    PowerLawFit,
    fit_power_law,
    fit_power_law_rows,
    gaussian_test_rows,
    gradient_tests,
)
from gradlaw.zoo import build_model

__version__ = version("gradlaw")

__all__ = [
    "Adam",
    "Analysis",
    "ClipByNorm",
    "ClipByValue",
    "GradientHistory",
    "InputError",
    "Momentum",
    "PowerLawFit",
    "Problem",
    "Progress",
    "Spectrum",
    "WeightDecay",
    "analyze",
    "build_model",
    "collect",
    "count_outliers",
    "eigengaps",
    "fit_power_law",
    "fit_power_law_rows",
    "gaussian_test_rows",
    "gradient_noise",
    "gradient_spectrum",
    "gradient_tests",
    "load_data",
]
