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
from gradlaw.spectra.population.fit import PopulationLaw
from gradlaw.spectra.population.halves import cross_validated_spectrum
from gradlaw.spectra.population.moments import SpectralMoments, spectral_moments
from gradlaw.spectra.population.population import population_spectrum
from gradlaw.spectra.population.result import PopulationSpectrum
from gradlaw.spectra.population.shrinkage import Shrinkage, ledoit_wolf
from gradlaw.spectra.spectrum import Spectrum
from gradlaw.spectra.subspaces import SubspaceOverlap, principal_angles, subspace_overlap

__all__ = [
    "DavisKahan",
    "Eigengaps",
    "Eigenvectors",
    "FactorGram",
    "GradientNoise",
    "Outliers",
    "PopulationLaw",
    "PopulationSpectrum",
    "Shrinkage",
    "SpectraOverIterations",
    "SpectralMoments",
    "Spectrum",
    "SubspaceOverlap",
    "control_spectrum",
    "count_outliers",
    "cross_validated_spectrum",
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
    "ledoit_wolf",
    "permuted_within_dimensions",
    "population_spectrum",
    "principal_angles",
    "spectral_moments",
    "spectrum_over_iterations",
    "subspace_overlap",
]
