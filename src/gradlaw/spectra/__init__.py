"""Spectra of the gradient second moment and covariance, and their eigengaps."""

from gradlaw.spectra.eigengaps import Eigengaps, eigengaps
from gradlaw.spectra.gradient import Spectrum, gradient_spectrum

__all__ = ["Eigengaps", "Spectrum", "eigengaps", "gradient_spectrum"]
