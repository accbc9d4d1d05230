"""Eigenpairs and spectral densities of symmetric matrices that are never formed."""
