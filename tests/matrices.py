"""Symmetric matrices of known, awkward spectra."""

import numpy as np


def symmetric(eigenvalues: np.ndarray, seed: int = 0) -> np.ndarray:
    """A matrix of these eigenvalues and random eigenvectors."""
    values = np.asarray(eigenvalues, dtype=np.float64)
    q, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((len(values), len(values))))
    matrix = (q * values) @ q.T
    return (matrix + matrix.T) / 2


def power_law(n: int, seed: int = 0) -> np.ndarray:
    """Eigenvalues of both signs whose magnitudes fall like those of a Hessian."""
    return np.random.default_rng(seed).standard_normal(n) * np.arange(1, n + 1) ** -1.2


def preferred(eigenvalues: np.ndarray, k: int, which: str) -> np.ndarray:
    """The k eigenvalues asked for, descending."""
    values = np.sort(eigenvalues)[::-1]
    best = {"LA": values, "SA": values[::-1], "LM": values[np.argsort(-np.abs(values), kind="stable")]}[which]
    return np.sort(best[:k])[::-1]
