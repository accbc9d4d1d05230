"""One measurement: the spectrum of a network's gradients, its population and its parts."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import gradlaw as gl
from gradlaw.spectra.decomposition import class_parts, kronecker_eigenvalues
from gradlaw.spectra.gradient import spectrum_of_gram
from gradlaw.spectra.gram.dense import gram_matrix
from gradlaw.spectra.layers import layer_spectra
from gradlaw.spectra.outliers import count_outliers
from gradlaw.spectra.population.draws import drawn_gram
from studies.explanations.counterfactual import replaced, weights
from studies.explanations.design import ITERATIONS, REAL, SAMPLES, K, Measurement

_PRODUCTS = 8000  # leading eigenvalues of a Kronecker product that are drawn; the others add their mean
Row = dict[str, Any]


def measure(measurement: Measurement, data: Any) -> tuple[Row, list[Row]]:
    """The row of a spectrum, and of real data those of the linear layers.

    Args:
        measurement: of the design.
        data: the data set that it names, as ``gl.load_data`` gives it.
    """
    generator = torch.Generator().manual_seed(measurement.seed)
    inputs, targets = replaced(data.inputs[:SAMPLES], data.targets[:SAMPLES], measurement.variant, generator)
    model = gl.build_model(measurement.network, data.sample_shape, data.classes, seed=measurement.seed)
    weights(model, measurement.variant, measurement.seed)
    problem = gl.Problem(model, cross_entropy, (inputs, targets))
    history = gl.collect(problem, ITERATIONS, measurement.batch_size, seed=measurement.seed)
    gram = gram_matrix(history.gradients)
    row = measurement.key | {"batch_size": measurement.batch_size, "dimensions": history.shape[1]}
    row |= {"loss": float(history.losses.mean())} | _spectrum(gram, history.shape[1], history.rounding)
    row |= _population(history, gram)
    batches = history.settings.minibatches()
    if measurement.batch_size == 1:
        labels = targets[torch.tensor([int(batches[t][0]) for t in range(ITERATIONS)])]
        parts = class_parts(gram, labels)
        row |= {"between": parts.share, "within_outliers": _outliers(parts.within), "within_s": _exponent(parts.within)}
    layers = []
    if measurement.variant == REAL:
        seen = _factors(problem, batches)
        layers = [measurement.key | layer for layer in _layers(history, seen)]
    return row, layers


def _spectrum(gram: Tensor, dimensions: int, rounding: float) -> Row:
    """The sample covariance by the paper's statistics."""
    spectrum = spectrum_of_gram(gram, dimensions, True, rounding)
    fit = spectrum.power_law(min(K, spectrum.rank))
    return {"k": fit.k, "s": fit.s, "d_ks": fit.d_ks, "power_law": fit.is_power_law,
            "power_law_calibrated": fit.is_power_law_calibrated, "rank": spectrum.rank,
            "outliers": _outliers(spectrum.eigenvalues[: spectrum.rank])}  # fmt: skip


def _population(history: gl.GradientHistory, gram: Tensor) -> Row:
    """The laws of the population; what a sample of the power law and of the better law would show."""
    found = gl.population_spectrum(history, gram=gram)
    law, broken = found.power_law, found.broken
    low, high = law.interval("s")
    row: Row = {"s_population": law.s, "s_low": low, "s_high": high, "p_value": law.p_value, "spread": found.spread,
           "chi_square": law.chi_square, "degrees": law.degrees, "population_outliers": found.outliers}  # fmt: skip
    if broken is not None:
        row |= {"s_above": broken.s, "s_below": broken.s_below, "break_rank": broken.break_rank,
                "p_broken": broken.p_value}  # fmt: skip
    return row


def _outliers(eigenvalues: np.ndarray) -> int:
    values = eigenvalues[eigenvalues > 0]
    return count_outliers(values, min(K, len(values))).count


def _exponent(eigenvalues: np.ndarray) -> float:
    values = eigenvalues[eigenvalues > eigenvalues[0] * 1e-12]
    return gl.fit_power_law(values, min(K, len(values))).s


def _factors(problem: gl.Problem, batches: Any) -> dict[str, tuple[Tensor, Tensor]]:
    """By linear layer: its inputs and the gradients of its outputs, a row a sample."""
    seen: dict[str, tuple[list[Tensor], list[Tensor]]] = {}
    handles = []
    for name, layer in problem.model.named_modules():
        if isinstance(layer, nn.Linear):
            inputs, errors = seen.setdefault(name, ([], []))
            handles.append(layer.register_forward_hook(_keeper(inputs, errors)))
    for t in range(ITERATIONS):
        chosen = torch.from_numpy(batches[t])
        outputs = problem.model(problem.data[0][chosen])
        problem.model.zero_grad()
        cross_entropy(outputs, problem.data[1][chosen]).backward()
    for handle in handles:
        handle.remove()
    return {name: (torch.cat(inputs), torch.cat(errors)) for name, (inputs, errors) in seen.items()}


def _keeper(inputs: list[Tensor], errors: list[Tensor]) -> Any:
    def keep(layer: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
        inputs.append(args[0].detach().clone())
        output.register_hook(lambda gradient: errors.append(gradient.detach().clone()))

    return keep


def _layers(history: gl.GradientHistory, seen: dict[str, tuple[Tensor, Tensor]]) -> list[Row]:
    """Each linear layer's second moment beside a sample from its Kronecker form."""
    spectra = layer_spectra(history, center=False)
    rows = []
    for name, (inputs, errors) in seen.items():
        spectrum = spectra[f"{name}.weight"]
        first, second = (_second_moment(rows) for rows in (inputs, errors))
        products = kronecker_eigenvalues(first, second)
        leading, rest = products[:_PRODUCTS], products[_PRODUCTS:]
        gram = drawn_gram(leading, ITERATIONS, seed=0) + float(rest.sum()) * torch.eye(ITERATIONS, dtype=torch.float64)
        kronecker = np.linalg.eigvalsh(gram.numpy())[::-1] / ITERATIONS
        k = min(K, spectrum.rank, int((kronecker > kronecker[0] * 1e-12).sum()))
        rows.append({"layer": name, "dimensions": spectrum.dimensions, "k": k, "s": spectrum.power_law(k).s,
                     "s_kronecker": gl.fit_power_law(kronecker, k).s, "s_inputs": _slope(first),
                     "s_errors": _slope(second), "trace": spectrum.trace})  # fmt: skip
    return rows


def _second_moment(rows: Tensor) -> np.ndarray:
    values = torch.linalg.svdvals(rows.double()).square() / len(rows)
    return np.asarray(values.numpy())


def _slope(eigenvalues: np.ndarray) -> float:
    """Exponent of the leading half of those above rounding."""
    values = eigenvalues[eigenvalues > eigenvalues[0] * 1e-10]
    return gl.fit_power_law(values, max(2, len(values) // 2)).s
