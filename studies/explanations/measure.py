"""One measurement: the spectrum of a network's gradients, its population and its parts."""

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import gradlaw as gl
from gradlaw.minibatches import Minibatches
from gradlaw.spectra import factor_gram
from gradlaw.spectra.decomposition import class_parts, kronecker_eigenvalues
from gradlaw.spectra.gradient import spectrum_of_gram
from gradlaw.spectra.gram.dense import gram_matrix
from gradlaw.spectra.layers import layer_spectra
from gradlaw.spectra.outliers import count_outliers
from gradlaw.spectra.population.draws import drawn_gram
from gradlaw.spectra.population.halves import two_halves
from gradlaw.spectra.population.population import population_of_gram
from gradlaw.zoo.gpt import next_token_loss
from studies.explanations.counterfactual import replaced, weights
from studies.explanations.design import FEWER, SAMPLES, TRAINED, K, Measurement

_PRODUCTS = 8000  # leading eigenvalues of a Kronecker product that are drawn; the others add their mean
_DIRECTIONS = 10  # leading ones of a half
_TALL = 100  # rows for each column from which on a product replaces the decomposition of the rows
Row = dict[str, Any]


class Rows(NamedTuple):
    """What a measurement adds to the tables: of spectra, of linear layers, and of populations."""

    spectrum: Row
    layers: list[Row]
    population: list[Row]


def measure(measurement: Measurement, data: Any) -> Rows:
    """The row of a spectrum, and of a network on its own data those of its population and of its linear layers.

    Args:
        measurement: of the design.
        data: the data set that it names, as ``gl.load_data`` gives it.
    """
    problem = _problem(measurement, data)
    gram, dimensions, rounding, loss, history = _gradients(measurement, problem)
    row = measurement.key | {"batch_size": measurement.batch_size, "dimensions": dimensions, "loss": loss}
    row |= _spectrum(gram, dimensions, rounding, _most(measurement))
    batches = Minibatches(problem.samples, measurement.batch_size, measurement.iterations, measurement.seed)
    if measurement.batch_size == 1 and problem.data[1].ndim == 1:
        labels = problem.data[1][torch.tensor([int(batches[t][0]) for t in range(len(gram))])]
        parts = class_parts(gram, labels)
        row |= {"between": parts.share, "within_outliers": _outliers(parts.within), "within_s": _exponent(parts.within)}
    population, layers = [], []
    if measurement.population:
        population = [measurement.key | _population(gram, dimensions, rounding, _most(measurement))]
    if measurement.population and history is not None:
        layers = [measurement.key | layer for layer in _layers(history, _factors(problem, batches))]
    return Rows(row, layers, population)


def _most(measurement: Measurement) -> int:
    """How many eigenvalues a fit has."""
    return min(K, measurement.iterations // 3)


def _problem(measurement: Measurement, data: Any) -> gl.Problem:
    """The network at its parameters, on the first samples with or without something replaced."""
    generator = torch.Generator().manual_seed(measurement.seed)
    inputs, targets = replaced(data.inputs[:SAMPLES], data.targets[:SAMPLES], measurement.variant, generator)
    model = gl.build_model(measurement.network, data.sample_shape, data.classes, seed=measurement.seed)
    weights(model, measurement.variant, measurement.seed)
    if measurement.variant in TRAINED:
        recipe = gl.default_recipe(measurement.data, measurement.network)
        gl.train(model, cross_entropy, data, recipe=recipe, seed=measurement.seed, until=TRAINED[measurement.variant])
    return gl.Problem(model, next_token_loss if targets.ndim > 1 else cross_entropy, (inputs, targets))


def _gradients(
    measurement: Measurement, problem: gl.Problem
) -> tuple[Tensor, int, float, float, gl.GradientHistory | None]:
    """G G^T, n, rounding, the mean loss, and the history, but of networks whose gradients are never all formed."""
    iterations, batch_size, seed = measurement.iterations, measurement.batch_size, measurement.seed
    if measurement.network in FEWER:
        factors = factor_gram(problem, Minibatches(problem.samples, batch_size, iterations, seed))
        return factors.gram, problem.dimensions, factors.rounding, float(factors.losses.mean()), None
    history = gl.collect(problem, iterations, batch_size, seed=seed)
    gram = gram_matrix(history.gradients)
    return gram, history.shape[1], history.rounding, float(history.losses.mean()), history


def _spectrum(gram: Tensor, dimensions: int, rounding: float, most: int) -> Row:
    """The sample covariance by the paper's statistics."""
    spectrum = spectrum_of_gram(gram, dimensions, True, rounding)
    fit = spectrum.power_law(min(most, spectrum.rank))
    return {"k": fit.k, "s": fit.s, "d_ks": fit.d_ks, "power_law": fit.is_power_law,
            "power_law_calibrated": fit.is_power_law_calibrated, "rank": spectrum.rank,
            "outliers": _outliers(spectrum.eigenvalues[: spectrum.rank])}  # fmt: skip


def _population(gram: Tensor, dimensions: int, rounding: float, most: int) -> Row:
    """The laws of the population, what draws from the better one show, and what one half holds of the other."""
    found = population_of_gram(gram, dimensions, rounding)
    law, broken = found.power_law, found.broken
    low, high = law.interval("s")
    k = min(most, found.last)
    sample, drawn = (gl.fit_power_law(values, k) for values in (found.sample, found.drawn_sample()))
    own, other = (float(values[:_DIRECTIONS].sum()) for values in two_halves(gram))
    row: Row = {"s": law.s, "s_low": low, "s_high": high, "p_value": law.p_value, "spread": found.spread,
           "chi_square": law.chi_square, "degrees": law.degrees, "outliers": found.outliers, "k": k,
           "s_sample": sample.s, "d_ks_sample": sample.d_ks, "s_drawn": drawn.s, "d_ks_drawn": drawn.d_ks,
           "other_half": other / own}  # fmt: skip
    if broken is not None:
        row |= {"s_above": broken.s, "s_below": broken.s_below, "break_rank": broken.break_rank,
                "p_broken": broken.p_value, "chi_square_broken": broken.chi_square}  # fmt: skip
    return row


def _outliers(eigenvalues: np.ndarray) -> int:
    values = eigenvalues[eigenvalues > 0]
    return count_outliers(values, min(K, len(values))).count


def _exponent(eigenvalues: np.ndarray) -> float:
    values = eigenvalues[eigenvalues > eigenvalues[0] * 1e-12]
    return gl.fit_power_law(values, min(K, len(values))).s


def _factors(problem: gl.Problem, batches: Any) -> dict[str, tuple[Tensor, Tensor]]:
    """By linear layer: its inputs and the gradients of its outputs, a row a sample, of text a row a token."""
    seen: dict[str, tuple[list[Tensor], list[Tensor]]] = {}
    handles = []
    for name, layer in problem.model.named_modules():
        if isinstance(layer, nn.Linear):
            inputs, errors = seen.setdefault(name, ([], []))
            handles.append(layer.register_forward_hook(_keeper(inputs, errors)))
    whole: Any = problem.data  # tensors here
    inputs, targets = whole
    for t in range(batches.iterations):
        chosen = torch.from_numpy(batches[t])
        problem.model.zero_grad()
        problem.loss(problem.model(inputs[chosen]), targets[chosen]).backward()
    for handle in handles:
        handle.remove()
    return {name: (torch.cat(inputs), torch.cat(errors)) for name, (inputs, errors) in seen.items()}


def _keeper(inputs: list[Tensor], errors: list[Tensor]) -> Any:
    def keep(layer: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
        inputs.append(args[0].detach().flatten(0, -2).clone())
        output.register_hook(lambda gradient: errors.append(gradient.detach().flatten(0, -2).clone()))

    return keep


def _layers(history: gl.GradientHistory, seen: dict[str, tuple[Tensor, Tensor]]) -> list[Row]:
    """Each linear layer's second moment beside a sample from its Kronecker form."""
    spectra = layer_spectra(history, center=False)
    rows = []
    for name, (inputs, errors) in seen.items():
        spectrum = spectra.get(f"{name}.weight")
        if spectrum is None:  # a weight that is another layer's too
            continue
        first, second = (_second_moment(rows) for rows in (inputs, errors))
        products = kronecker_eigenvalues(first, second)
        leading, rest = products[:_PRODUCTS], products[_PRODUCTS:]
        gram = drawn_gram(leading, len(history), seed=0)
        gram.diagonal().add_(float(rest.sum()))
        kronecker = np.linalg.eigvalsh(gram.numpy())[::-1] / len(history)
        k = min(K, spectrum.rank, int((kronecker > kronecker[0] * 1e-12).sum()))
        rows.append({"layer": name, "dimensions": spectrum.dimensions, "k": k, "s": spectrum.power_law(k).s,
                     "s_kronecker": gl.fit_power_law(kronecker, k).s, "s_inputs": _slope(first),
                     "s_errors": _slope(second), "trace": spectrum.trace})  # fmt: skip
    return rows


def _second_moment(rows: Tensor) -> np.ndarray:
    rows = rows.double()
    if len(rows) > _TALL * rows.shape[1]:  # tokens
        return np.asarray(torch.linalg.eigvalsh(rows.T @ rows / len(rows)).flip(0).clamp(min=0).numpy())
    return np.asarray((torch.linalg.svdvals(rows).square() / len(rows)).numpy())


def _slope(eigenvalues: np.ndarray) -> float:
    """Exponent of the leading half of those above rounding."""
    values = eigenvalues[eigenvalues > eigenvalues[0] * 1e-10]
    return gl.fit_power_law(values, max(2, len(values) // 2)).s
