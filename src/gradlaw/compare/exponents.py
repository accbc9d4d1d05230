"""Exponents of spectra with an interval, from the gradients: a jackknife over blocks of iterations.

The standard error of a fit takes eigenvalues for independent, which they are not. Leaving out one of g blocks of
iterations at a time, the jackknife variance is on average at least the variance of the exponent over independent draws
of the g - 1 blocks that are left, for any function of them (Efron and Stein 1981). A bootstrap would not do: drawing
iterations twice changes a spectrum of T << n gradients.
"""

import math
from typing import Any

import numpy as np
import torch

from gradlaw.analyze import Analysis
from gradlaw.compare.quantities import Value
from gradlaw.errors import InputError
from gradlaw.history import GradientHistory
from gradlaw.progress import Progress
from gradlaw.spectra import eigengaps
from gradlaw.spectra.gradient import spectra_of_gram
from gradlaw.spectra.gram.dense import gram_matrix
from gradlaw.spectra.matrices import COVARIANCE, SECOND_MOMENT
from gradlaw.spectra.noise import jackknife
from gradlaw.stats.intervals import MeanEstimate

BLOCKS = 20
NAMES = {SECOND_MOMENT: "second_moment_s", COVARIANCE: "covariance_s", "eigengaps": "eigengaps_s"}


def exponents_of(run: Analysis, history: GradientHistory, progress: Progress) -> dict[str, Value]:
    """The exponent of each spectrum of a run, by the name of the quantity, from its gradients.

    Raises:
        InputError: the history is not that of the run.
    """
    refuse_another(run, history)
    fits = {v.matrix: (v.k, float(v.fit.s)) for v in run.spectral_verdicts() if v.fit is not None}
    left = len(history) - math.ceil(len(history) / BLOCKS)
    large = {matrix for matrix, (k, _) in fits.items() if k >= left - 1}
    found = {
        NAMES[m]: Value(fits[m][1], None, f"no interval: K = {fits[m][0]:,} leaves no iteration out") for m in large
    }
    replicates = _replicates(history, {m: k for m, (k, _) in fits.items() if m not in large}, progress)
    for matrix, values in replicates.items():
        k, s = fits[matrix]
        how = f"jackknife over {BLOCKS} blocks of iterations, K = {k:,}"
        found[NAMES[matrix]] = Value(s, jackknifed(s, values), how, replicates=values)
    return found


def jackknifed(value: float, replicates: np.ndarray) -> MeanEstimate:
    """A value with its standard error from those with one block left out; shape (g,)."""
    return MeanEstimate(*jackknife(np.array([value, *replicates])), len(replicates) - 1)


def refuse_another(run: Analysis, history: GradientHistory) -> None:
    """Refuse a history that is not the one that a run measured.

    Raises:
        InputError: other settings, parameters or losses.
    """
    names = ("iterations", "batch_size", "samples", "seed", "replacement")
    same = all(history.settings[name] == run.settings[name] for name in names)
    same = same and list(history.settings.transforms) == run.settings["transforms"] and history.layout == run.layout
    if not same or not np.array_equal(history.losses.double().cpu().numpy(), run.losses):
        raise InputError("the history is not that of the run: settings, parameters or losses differ")


def _replicates(history: GradientHistory, sizes: dict[str, int], progress: Progress) -> dict[str, np.ndarray]:
    """By spectrum: the exponent with each block of iterations left out, shape (g,)."""
    if not sizes:
        return {}
    gram = gram_matrix(history.gradients)
    found: dict[str, list[float]] = {matrix: [] for matrix in sizes}
    with progress.stage("exponents, blocks left out", BLOCKS) as advance:
        for part in np.array_split(np.arange(len(history)), BLOCKS):
            kept = torch.from_numpy(np.delete(np.arange(len(history)), part))
            second, covariance = spectra_of_gram(gram[kept][:, kept], history.shape[1], history.rounding)
            spectra: dict[str, Any] = {
                SECOND_MOMENT: second,
                COVARIANCE: covariance,
                "eigengaps": eigengaps(covariance),
            }
            for matrix, k in sizes.items():
                found[matrix].append(float(spectra[matrix].power_law(k).s))
            advance(1)
    return {matrix: np.array(values) for matrix, values in found.items()}
