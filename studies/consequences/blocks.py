"""Eigenvectors, per-matrix exponents and distances between blocks, at random initialisation."""

from typing import Any

import numpy as np

import gradlaw as gl
from gradlaw.curvature import block_densities
from gradlaw.dynamics import block_distances, participation_ratios
from gradlaw.spectra import gradient_eigenvectors, layer_spectra
from gradlaw.zoo.build import MODELS
from studies.consequences.design import (
    BLOCK_BATCH,
    BLOCK_SAMPLES,
    COVARIANCE,
    GPT,
    GPT_SIZES,
    HESSIAN,
    ITERATIONS,
    LEADING,
    PROBES,
    STEPS,
)

Row = dict[str, Any]


def block_problem(network: str, data: Any, seed: int) -> gl.Problem:
    """A network of the zoo on its data."""
    sizes: Any = GPT_SIZES if network == GPT else {}
    model = gl.build_model(network, data.sample_shape, data.classes, seed=seed, **sizes)
    return gl.Problem(model, MODELS[network].loss, (data.inputs, data.targets))


def measure_blocks(network: str, data: Any, seed: int) -> tuple[Row, list[Row], list[Row]]:
    """The row of a network, the rows of its eigenvectors and those of its weight matrices.

    Args:
        network: of the design.
        data: MNIST or the text.
        seed: of weights, minibatches, samples and probes.
    """
    problem, key = block_problem(network, data, seed), {"network": network, "seed": seed}
    samples = BLOCK_SAMPLES[network]
    history = gl.collect(problem, ITERATIONS, BLOCK_BATCH, seed=seed)
    leading = {
        COVARIANCE: gradient_eigenvectors(history, LEADING),
        HESSIAN: gl.hessian_spectrum(problem, LEADING, samples=samples, tol=1e-4, keep_vectors=True, seed=seed),
    }
    eigenvectors = [
        row for matrix, pairs in leading.items() for row in _ratios(key | {"matrix": matrix}, pairs, problem)
    ]
    weights = {part.name: part.name for part in problem.layout if len(part.shape) >= 2}
    densities = block_densities(problem, "hessian", weights, samples=samples, probes=PROBES, steps=STEPS, seed=seed)
    spectra = layer_spectra(history)
    matrices: list[Row] = []
    for name, density in densities.items():
        rank = spectra[name].rank
        fit = spectra[name].power_law(max(2, rank // 3))
        matrices.append(key | {"matrix": name, "dimensions": spectra[name].dimensions, "k": fit.k, "s": fit.s,
                               "d_ks": fit.d_ks, "largest": float(density.nodes.max()),
                               "trace": density.trace.value})  # fmt: skip
    row = key | {
        "dimensions": problem.dimensions,
        "blocks": len(densities),
        "distance": block_distances(densities).mean,
        "shape_distance": block_distances(densities, normalise=True).mean,
        "exponent_mean": float(np.mean([matrix["s"] for matrix in matrices])),
        "exponent_deviation": float(np.std([matrix["s"] for matrix in matrices], ddof=1)),
    }
    return row, eigenvectors, matrices


def _ratios(key: Row, pairs: Any, problem: gl.Problem) -> list[Row]:
    frame = participation_ratios(pairs, problem.layout).to_frame().reset_index()
    return [key | {str(name): value for name, value in row.items()} for row in frame.to_dict("records")]
