"""Curvature of the loss: the Hessian and its kin as operators that multiply vectors, never as n x n matrices."""

from gradlaw.curvature.blocks import block_densities
from gradlaw.curvature.comparison import (
    CurvatureComparison,
    HessianSplit,
    compare_curvature,
    quadratic_forms,
    split_hessian,
)
from gradlaw.curvature.eigensolver.density import SpectralDensity, spectral_density
from gradlaw.curvature.eigensolver.eigenpairs import Eigenpairs, eigenpairs
from gradlaw.curvature.operators.base import CurvatureOperator, as_operator, dense
from gradlaw.curvature.operators.hessian import gauss_newton, hessian
from gradlaw.curvature.operators.loss_curvature import LossCurvature
from gradlaw.curvature.operators.outer_products import (
    OuterProducts,
    empirical_fisher,
    gradient_covariance,
    monte_carlo_fisher,
)
from gradlaw.curvature.spectrum import HessianSpectrum, hessian_spectrum

__all__ = [
    "CurvatureComparison",
    "CurvatureOperator",
    "Eigenpairs",
    "HessianSpectrum",
    "HessianSplit",
    "LossCurvature",
    "OuterProducts",
    "SpectralDensity",
    "as_operator",
    "block_densities",
    "compare_curvature",
    "dense",
    "eigenpairs",
    "empirical_fisher",
    "gauss_newton",
    "gradient_covariance",
    "hessian",
    "hessian_spectrum",
    "monte_carlo_fisher",
    "quadratic_forms",
    "spectral_density",
    "split_hessian",
]
