"""gradlaw: a statistical X-ray of stochastic gradients."""

from importlib.metadata import version

from gradlaw.analyze import Analysis, analyze
from gradlaw.curvature import (
    HessianSpectrum,
    compare_curvature,
    eigenpairs,
    gauss_newton,
    hessian,
    hessian_spectrum,
    spectral_density,
)
from gradlaw.data import corrupt_labels, from_arrays, load_data, load_text
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
from gradlaw.training import Recipe, TrainingRun, default_recipe, load_checkpoint, train
from gradlaw.zoo import build_model

__version__ = version("gradlaw")

__all__ = [
    "Adam",
    "Analysis",
    "ClipByNorm",
    "ClipByValue",
    "GradientHistory",
    "HessianSpectrum",
    "InputError",
    "Momentum",
    "PowerLawFit",
    "Problem",
    "Progress",
    "Recipe",
    "Spectrum",
    "TrainingRun",
    "WeightDecay",
    "analyze",
    "build_model",
    "collect",
    "compare_curvature",
    "corrupt_labels",
    "count_outliers",
    "default_recipe",
    "eigengaps",
    "eigenpairs",
    "fit_power_law",
    "fit_power_law_rows",
    "from_arrays",
    "gauss_newton",
    "gaussian_test_rows",
    "gradient_noise",
    "gradient_spectrum",
    "gradient_tests",
    "hessian",
    "hessian_spectrum",
    "load_checkpoint",
    "load_data",
    "load_text",
    "spectral_density",
    "train",
]
