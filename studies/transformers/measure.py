"""Measurements of the design, each as rows of tables."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import gradlaw as gl
from gradlaw.errors import InputError
from gradlaw.history import GradientHistory, Transform
from gradlaw.minibatches import Minibatches
from gradlaw.spectra import Spectrum, gradient_noise
from gradlaw.spectra.access import gradients_of, rounding_of
from gradlaw.spectra.gradient import spectrum_of_gram
from gradlaw.spectra.gram.dense import gram_matrix
from gradlaw.stats import PowerLawFit, rates_by_group
from gradlaw.stats.rates import GradientTests
from studies.transformers.design import (
    ADAM,
    BATCH_ITERATIONS,
    BATCH_SIZES,
    BATCHES,
    COMPARED,
    CURVATURE,
    HESSIAN_SAMPLES,
    LARGE,
    SPECTRUM,
    TESTS,
    WIDE_K,
    WIDE_MOST,
    Measurement,
)
from studies.transformers.networks import KINDS, Folders, problem_of

Tables = dict[str, list[dict[str, Any]]]
_UPDATES: dict[str, tuple[Transform, ...]] = {"": (), "momentum": (gl.Momentum(),), ADAM: (gl.Adam(),)}
_RATES = (
    "k", "series", "degenerate", "mean_d_ks", "mean_s", "power_law_rate", "power_law_rate_calibrated",
    "power_law_rate_of_gaussian", "power_law_rate_calibrated_of_gaussian", "no_verdict", "no_verdict_calibrated",
    "gaussian_rate", "gaussian_ceiling",
)  # fmt: skip
_NOISE = ("noise_scale_unbiased", "mean_square_unbiased", "sample_trace", "stable_rank")
_DRAWN = 160  # eigenvalues that are kept of a spectrum below the leading ones, evenly spaced in log rank
_LEADING = 120


def measure(measurement: Measurement, folders: Folders) -> Tables:
    """Measure one thing of the design.

    Returns:
        Rows by the name of their table: ``networks``, ``rates``, ``spectra``, ``curvature``.
    """
    problem, losses = problem_of(measurement, folders)
    network: dict[str, Any] = {"dimensions": problem.dimensions, "samples": problem.samples, **losses}
    if measurement.kind == BATCHES:
        return {"networks": [network], "rates": _by_batch_size(measurement, problem)}
    folder = folders.runs / f"gradients-{measurement.name}" if measurement.network == LARGE else None
    history = gl.collect(
        problem, measurement.size.iterations, 1, measurement.seed, transforms=_UPDATES[measurement.updates],
        store="memory" if folder is None else folder,
    )  # fmt: skip
    network |= {"engine": history.settings.engine, "mean_loss": float(history.losses.mean())}
    if measurement.single:
        network["labels_seen"] = labels_seen(history.settings.minibatches(), problem.data[1])
    tables: Tables = {"networks": [network]}
    if measurement.kind == TESTS:
        tables["rates"] = _rates(measurement, problem, history)
    gram = gram_matrix(gradients_of(history))  # once, for both that follow
    spectrum = spectrum_of_gram(gram, problem.dimensions, True, rounding_of(history), history)
    network |= _spectral(measurement, spectrum)
    if not measurement.updates:
        noise = gradient_noise(history, gram=gram).scalars()
        network |= {name: noise[name] for part in _NOISE for name in (part, f"{part}_error")}
    tables["spectra"] = _eigenvalues(spectrum)
    if measurement.kind == CURVATURE:
        tables["curvature"] = _curvature(measurement, problem, spectrum, network)
    if folder is not None:
        _remove(folder)
    return tables


def labels_seen(minibatches: Minibatches, targets: Tensor) -> int:
    """How many different characters the last predictions of the minibatches' windows are of."""
    chosen = np.concatenate([minibatches[t] for t in range(len(minibatches))])
    return len(targets[torch.from_numpy(chosen), -1].unique())


def _rates(measurement: Measurement, problem: gl.Problem, history: GradientHistory) -> list[dict[str, Any]]:
    """Both tests in both directions, for the model and for each kind of layer."""
    size, groups = measurement.size, problem.dimensions_by_module(KINDS)
    whole = {"model": [slice(0, problem.dimensions)], **groups}
    rows = []
    frame = rates_by_group(history, whole, "dimension", size.k, seed=measurement.seed)
    rows += [{"axis": "dimension", "group": name, "batch_size": 1, **_chosen(row)} for name, row in _records(frame)]
    if size.sampled is None:
        frame = rates_by_group(history, whole, "iteration", size.spectrum_k, seed=measurement.seed)
    else:
        sample, whole = _sampled(history, groups, size.sampled, measurement.seed)
        frame = rates_by_group(sample, whole, "iteration", size.spectrum_k, seed=measurement.seed)
    rows += [{"axis": "iteration", "group": name, "batch_size": 1, **_chosen(row)} for name, row in _records(frame)]
    return rows


def _by_batch_size(measurement: Measurement, problem: gl.Problem) -> list[dict[str, Any]]:
    """The iteration-wise tests of the whole model at several batch sizes."""
    rows = []
    for batch_size in BATCH_SIZES:
        history = gl.collect(problem, BATCH_ITERATIONS, batch_size, measurement.seed, store="memory")
        tests = gl.gradient_tests(history, "iteration", BATCH_ITERATIONS // 3, seed=measurement.seed)
        rows.append({"axis": "iteration", "group": "model", "batch_size": batch_size, **_of_tests(tests)})
    return rows


def _sampled(
    history: GradientHistory, groups: dict[str, list[slice]], most: int, seed: int
) -> tuple[Tensor, dict[str, list[slice]]]:
    """Seeded dimensions of every group, as an array whose groups are given; there is none of the whole model."""
    rng = np.random.default_rng(seed)
    chosen = {}
    for name, ranges in groups.items():
        dimensions = np.concatenate([np.arange(r.start, r.stop) for r in ranges])
        size = min(most, len(dimensions))
        chosen[name] = np.sort(rng.choice(dimensions, size, replace=False))
    order = np.concatenate(list(chosen.values()))
    columns = torch.empty(history.shape[0], len(order))
    for first, block in history.blocks("dimension"):
        columns[first : first + len(block)] = block[:, torch.from_numpy(order)]
    edges = np.cumsum([0, *(len(part) for part in chosen.values())])
    return columns, {name: [slice(int(a), int(b))] for name, a, b in zip(chosen, edges, edges[1:], strict=False)}


def _spectral(measurement: Measurement, spectrum: Spectrum) -> dict[str, Any]:
    """Power laws of the covariance and its eigengaps, and outliers; None where K is above the rank."""
    size = measurement.size
    row: dict[str, Any] = {"trace": spectrum.trace, "rank": spectrum.rank, "spectrum_k": size.spectrum_k}
    if spectrum.rank <= size.spectrum_k:
        return row
    row |= _of_fit("covariance", spectrum.power_law(size.spectrum_k))
    row |= _of_fit("eigengaps", gl.eigengaps(spectrum).power_law(size.spectrum_k))
    found = gl.count_outliers(spectrum, size.spectrum_k, size.most)
    expected = measurement.vocabulary - 1
    row |= {
        "outliers": found.count,
        "largest_drop_after": int(found.drops.argmax()) + 1,
        "largest_drop": float(found.drops.max()),
        "critical_drop": found.critical_drop,
        "drop_at_vocabulary": float(found.drops[expected - 1]) if expected <= size.most else None,
    }
    if measurement.kind == SPECTRUM and not measurement.updates and spectrum.rank >= WIDE_K:
        wide = gl.count_outliers(spectrum, WIDE_K, WIDE_MOST)
        row |= {"wide_outliers": wide.count, "wide_largest_drop_after": int(wide.drops.argmax()) + 1}
    return row


def _of_fit(name: str, fit: PowerLawFit) -> dict[str, Any]:
    values = {
        "s": fit.s,
        "d_ks": fit.d_ks,
        "d_critical": fit.d_critical,
        "d_calibrated": fit.d_critical_calibrated,
        "power_law": bool(fit.is_power_law),
        "power_law_calibrated": bool(fit.is_power_law_calibrated),
    }
    return {f"{name}_{key}": value for key, value in values.items()}


def _eigenvalues(spectrum: Spectrum) -> list[dict[str, Any]]:
    """The leading eigenvalues, and of the others those that a figure draws."""
    ranks = np.arange(1, min(_LEADING, spectrum.rank) + 1)
    ranks = np.union1d(ranks, np.geomspace(1, spectrum.rank, _DRAWN).round().astype(int))
    return [{"rank": int(r), "eigenvalue": float(spectrum.eigenvalues[r - 1])} for r in ranks]


def _curvature(
    measurement: Measurement, problem: gl.Problem, spectrum: Spectrum, network: dict[str, Any]
) -> list[dict[str, Any]]:
    """The leading eigenpairs of the Hessian beside those of the covariance."""
    pairs = gl.hessian_spectrum(
        problem, COMPARED, samples=HESSIAN_SAMPLES, tol=1e-3, measure=4, keep_vectors=True, seed=measurement.seed
    )
    k = min(COMPARED, pairs.positive)
    compared = gl.compare_curvature(pairs, spectrum, 1, k, vectors=k).to_frame()
    network |= {"hessian_products": pairs.products, "hessian_samples": HESSIAN_SAMPLES, "hessian_positive": k}
    frame = compared.reset_index().assign(residual=pairs.residuals[:k])
    return [dict(row) for _, row in frame.iterrows()]


def _records(frame: Any) -> list[tuple[str, dict[str, Any]]]:
    return [(str(name), dict(row)) for name, row in frame.iterrows()]


def _chosen(row: dict[str, Any]) -> dict[str, Any]:
    return {"dimensions": row["dimensions"], **{name: row.get(name) for name in _RATES}}


def _of_tests(tests: GradientTests) -> dict[str, Any]:
    return _chosen({"dimensions": tests.series, **tests.scalars()})


def _remove(folder: Path) -> None:
    """The gradients of a large network, which were on disk."""
    if not folder.is_dir():
        raise InputError(f"{folder} is gone")
    shutil.rmtree(folder)
