"""One measurement, from settings to numbers."""

import math
import subprocess
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from torch import nn

import gradlaw
from gradlaw.analysis.verdicts import SpectralVerdict
from gradlaw.analyze import Analysis, analyze
from gradlaw.curvature.spectrum import HessianSpectrum, hessian_spectrum
from gradlaw.errors import InputError
from gradlaw.history import collect
from gradlaw.history.transform_text import parse_transform
from gradlaw.problem import Problem
from gradlaw.progress import Progress
from gradlaw.provenance import machine, versions
from gradlaw.reproduction.experiment import ANGLES, HESSIAN, HISTORY, NetworkSpec
from gradlaw.reproduction.inputs import DataSets, augmented
from gradlaw.reproduction.measurement import Measurement, content_key, plain
from gradlaw.reproduction.store import Result
from gradlaw.reproduction.trained_models import TrainedModels
from gradlaw.spectra import davis_kahan
from gradlaw.stats import fit_power_law
from gradlaw.training import Recipe, load_checkpoint
from gradlaw.zoo import MODELS, ModelSettings

LEADING = 60  # eigenvalues that the record holds beside the arrays
_RANKS = 700  # kept of an example series, evenly spaced in log rank
_NOISE = ("noise_scale", "noise_scale_error", "sample_trace")  # of the whole model
_TOLERANCE = 1e-6  # of Hessian residuals, relative to its norm; float32 products reach no less


@dataclass(frozen=True)
class TrainingTask:
    """The training that a measurement needs; the same for all that start from the same parameters.

    Attributes:
        network: at the end of its training.
        recipe: of all of it.
        seed: of everything.
        samples: used; None for all.
        until: after which epoch to stop; None at the end.
        points: epochs at which the weights are kept on the way.
    """

    network: NetworkSpec
    recipe: Recipe
    seed: int
    samples: int | None
    until: int | None = None
    points: tuple[float, ...] = field(default=(), compare=False)

    @property
    def key(self) -> str:
        """A digest of the settings, which names its folder: one for all parts of a training that keeps points."""
        settings = plain(self)
        del settings["points"]
        return content_key(settings | ({} if self.until is None else {"until": "in parts"}))

    @staticmethod
    def of(measurement: Measurement) -> "TrainingTask | None":
        """None for parameters at random."""
        m, network = measurement, measurement.experiment.network
        if m.recipe is None:
            return None
        if network.epoch is None:
            return TrainingTask(network, m.recipe, m.seed, m.samples)
        whole, until = replace(network, epoch=None), math.ceil(network.epoch)
        return TrainingTask(whole, m.recipe, m.seed, m.samples, until, (network.epoch,))


@dataclass(frozen=True)
class Context:
    """What measurements are made with: data, trained parameters, a device."""

    data: DataSets
    trained_models: TrainedModels
    device: str | None = None

    def measure(self, measurement: Measurement, progress: Progress) -> Result:
        """The result of a measurement; a training that it needs and that was not done is done first.

        Raises:
            InputError: what the parts raise: data that are missing, a batch of one sample for BatchNorm, and so on.
        """
        started, start = datetime.now(UTC).isoformat(timespec="seconds"), time.perf_counter()
        problem, trained = self._problem(measurement, progress)
        trained_in = time.perf_counter() - start
        result = _MEASURE[measurement.experiment.kind](problem, measurement, progress)
        provenance = {
            "problem": problem.describe(),
            "trained": trained,
            "versions": versions(),
            "machine": machine(problem.device),
            "commit": _commit(),
        }
        spent = {"started": started, "preparation_seconds": trained_in,
                 "seconds": time.perf_counter() - start - trained_in}  # fmt: skip
        return Result(result.record | {"provenance": provenance, "time": spent}, result.arrays)

    def done(self, task: TrainingTask) -> bool:
        """Whether the trained parameters are at hand."""
        if task.until is not None:
            return all(self.trained_models.at(task.key, point).is_file() for point in task.points)
        packaged = task.samples is None and self.trained_models.packaged(task.network, task.recipe, task.seed)
        return bool(packaged or self.trained_models.trained(task.key, task.recipe))

    def train(self, task: TrainingTask, progress: Progress) -> None:
        """Do the training, or go on with it."""
        data = self.data.load(task.network, task.samples, task.seed, progress)
        settings = model_settings(task.network, data.sample_shape, task.seed)
        self.trained_models.train(
            task.key, settings, data, task.recipe, task.seed, self.device, progress, task.points, task.until
        )

    def _problem(self, m: Measurement, progress: Progress) -> tuple[Problem, dict[str, Any] | None]:
        network = m.experiment.network
        data = self.data.load(network, m.samples, m.seed, progress)
        model: nn.Module = model_settings(network, data.sample_shape, m.seed).build()
        task, trained = TrainingTask.of(m), None
        if task is not None:
            if not self.done(task):
                self.train(task, progress)
            at_end = task.until is None
            packaged = at_end and m.samples is None and self.trained_models.packaged(network, task.recipe, m.seed)
            trained_here = self.trained_models.store / task.key if at_end else self._point(task)
            checkpoint = load_checkpoint(packaged or trained_here)
            checkpoint.restore(model)
            trained = {
                "file": checkpoint.path.name,
                "from": "packaged" if packaged else "store",
                "weights_sha256": checkpoint.settings["weights_sha256"],
                "training": checkpoint.settings["training"],
                "test": checkpoint.settings["test"],
            }
        if m.experiment.augmented:
            data = augmented(data, m.seed)  # after training, whose recipe says how images are augmented there
        return Problem(model, MODELS[network.model].loss, data, device=self.device, name=str(network)), trained

    def _point(self, task: TrainingTask) -> Path:
        (point,) = task.points  # of one measurement
        return self.trained_models.at(task.key, point)


def model_settings(network: NetworkSpec, sample_shape: tuple[int, ...], seed: int) -> ModelSettings:
    """How the zoo builds a network."""
    initialisation = network.initialisation or "pytorch"
    return ModelSettings(network.model, sample_shape, network.outputs, seed, network.sizes, initialisation)


def _measure_history(problem: Problem, m: Measurement, progress: Progress) -> Result:
    assert m.iterations is not None
    assert m.experiment.batch_size is not None
    assert m.gaussian_k is not None
    transforms = [parse_transform(text) for text in m.experiment.transforms]
    analysis = analyze(
        problem, m.iterations, m.experiment.batch_size, m.k, m.gaussian_k, seed=m.seed, transforms=transforms,
        progress=progress,
    )  # fmt: skip
    spectra = {v.matrix: _verdict(v, analysis) for v in analysis.spectral_verdicts()}
    record = {
        "settings": analysis.settings,
        "notices": analysis.notices,
        "loss": {"mean": float(analysis.losses.mean()), "std": float(analysis.losses.std())},
        "tests": {axis: tests.scalars() for axis, tests in analysis.tests.items()},
        "spectra": spectra,
        "noise": None if analysis.noise is None else {name: float(analysis.noise.iloc[0][name]) for name in _NOISE},
        "over_iterations": None if analysis.over_iterations is None else _rows(analysis.over_iterations),
        "examples": {axis: _example_fit(analysis, axis) for axis in analysis.examples},
    }
    arrays = {name.replace(" ", "_"): spectrum.eigenvalues for name, spectrum in analysis.spectra.items()}
    for axis, example in analysis.examples.items():
        positive = int((example.magnitudes > 0).sum())
        ranks = np.unique(np.geomspace(1, max(1, positive), _RANKS).round().astype(np.int64))
        arrays[f"{axis}_ranks"], arrays[f"{axis}_magnitudes"] = ranks, example.magnitudes[ranks - 1]
    return Result(record, arrays)


def _verdict(verdict: SpectralVerdict, analysis: Analysis) -> dict[str, Any]:
    spectrum = analysis.spectra.get(verdict.matrix)
    if spectrum is None:
        return asdict(verdict)
    extent = {"trace": spectrum.trace, "floor": spectrum.floor, "leading": spectrum.eigenvalues[:LEADING].tolist()}
    return asdict(verdict) | extent


def _example_fit(analysis: Analysis, axis: str) -> dict[str, Any]:
    example, tests = analysis.examples[axis], analysis.tests[axis]
    degenerate = bool(tests.degenerate_series[example.index])
    fit = None if degenerate else asdict(fit_power_law(example.magnitudes.astype(float), tests.k, tests.alpha))
    return {"index": example.index, "length": len(example.magnitudes), "fit": fit}


def _rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return frame.astype(object).where(frame.notna(), None).to_dict("records")


def _measure_hessian(problem: Problem, m: Measurement, progress: Progress) -> Result:
    loss_samples = None if m.loss_samples is None else min(m.loss_samples, problem.samples)
    k = min(m.k, problem.dimensions)
    pairs = hessian_spectrum(
        problem, k, samples=loss_samples, batch_size=m.experiment.batch_size, tol=_TOLERANCE, seed=m.seed,
        ranks="one", progress=progress,
    )  # fmt: skip
    record = {
        "k": k,
        "samples": loss_samples or problem.samples,
        "positive": pairs.positive,
        "converged": int(pairs.converged.sum()),
        "products": pairs.products,
        "norm": pairs.norm,
        "tol": pairs.tol,
        "largest_residual": float(pairs.residuals.max()),
        "fit": _hessian_fit(pairs, k),
        "leading": pairs.eigenvalues[:LEADING].tolist(),
    }
    return Result(record, {"hessian": pairs.eigenvalues, "residuals": pairs.residuals})


def _hessian_fit(pairs: HessianSpectrum, k: int) -> dict[str, Any] | None:
    """None where some of the k largest eigenvalues are not positive."""
    return asdict(pairs.power_law(k)) if pairs.positive >= k else None


def _measure_angles(problem: Problem, m: Measurement, progress: Progress) -> Result:
    assert m.iterations is not None
    assert m.experiment.batch_size is not None
    found = collect(problem, m.iterations, m.experiment.batch_size, m.seed, progress=progress)
    with progress.stage("angles between two halves"):
        bounds = davis_kahan(found, k=m.k)
    frame = bounds.to_frame()
    record = {"perturbation": bounds.perturbation, "s": bounds.s, "fit_k": bounds.fit_k, "half": m.iterations // 2}
    return Result(record, {name: frame[name].to_numpy() for name in frame})


_MEASURE: dict[str, Callable[[Problem, Measurement, Progress], Result]] = {
    HISTORY: _measure_history,
    HESSIAN: _measure_hessian,
    ANGLES: _measure_angles,
}


@cache
def _commit() -> str | None:
    """The checkout's commit, with ``-dirty`` if files were changed since; None for an installed package."""
    folder = Path(gradlaw.__file__).parent
    if not (folder.parents[1] / ".git").exists():
        return None
    command = ["git", "-C", str(folder), "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (FileNotFoundError, subprocess.CalledProcessError):  # no git here, or another user's checkout
        return None


def refusal(error: InputError) -> str:
    """Why a measurement cannot be made, in one line."""
    return " ".join(str(error).split())
