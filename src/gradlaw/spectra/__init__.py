"""Spectra of the gradient second moment and covariance: eigenvalues, eigengaps, eigenvectors, outliers, controls."""

from gradlaw.spectra.controls import (
    SpectraOverIterations,
    control_spectrum,
    diagonal_noise,
    isotropic_noise,
    permuted_within_dimensions,
    spectrum_over_iterations,
)
from gradlaw.spectra.davis_kahan import DavisKahan, davis_kahan
from gradlaw.spectra.eigengaps import Eigengaps, eigengaps
from gradlaw.spectra.eigenvectors import Eigenvectors, gradient_eigenvectors
from gradlaw.spectra.gradient import gradient_spectrum
from gradlaw.spectra.gram.factored import FactorGram, factor_gram
from gradlaw.spectra.layers import layer_spectra
from gradlaw.spectra.noise import GradientNoise, gradient_noise, gradient_noise_by_layer
from gradlaw.spectra.outliers import Outliers, count_outliers
from gradlaw.spectra.spectrum import Spectrum
from gradlaw.spectra.subspaces import SubspaceOverlap, principal_angles, subspace_overlap

__all__ = [
    "DavisKahan",
    "Eigengaps",
    "Eigenvectors",
    "FactorGram",
    "GradientNoise",
    "Outliers",
    "SpectraOverIterations",
    "Spectrum",
    "SubspaceOverlap",
    "control_spectrum",
    "count_outliers",
    "davis_kahan",
    "diagonal_noise",
    "eigengaps",
    "factor_gram",
    "gradient_eigenvectors",
    "gradient_noise",
    "gradient_noise_by_layer",
    "gradient_spectrum",
    "isotropic_noise",
    "layer_spectra",
    "permuted_within_dimensions",
    "principal_angles",
    "spectrum_over_iterations",
    "subspace_overlap",
]
