"""Analysis: everything measured on one gradient history, and analyze, which measures it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from gradlaw.analysis.extended import Depth, look_deeper
from gradlaw.analysis.spectral import measure_structure
from gradlaw.analysis.verdicts import COVARIANCE, SpectralVerdict, spectral_verdict, spectral_verdicts
from gradlaw.by_value import ByValue
from gradlaw.choices import Axis, DtypeName, EngineName
from gradlaw.errors import InputError, count, significance
from gradlaw.errors import seed as checked_seed
from gradlaw.history import GradientHistory, collect
from gradlaw.history.transforms import Transform
from gradlaw.plain import plain
from gradlaw.problem import ParameterSlice, Problem
from gradlaw.progress import SILENT, Progress
from gradlaw.provenance import machine, versions
from gradlaw.spectra import Eigengaps, Spectrum, eigengaps
from gradlaw.stats import GradientTests, gradient_tests
from gradlaw.stats.gaussian import SHORTEST
from gradlaw.stats.power import lowered_k
from gradlaw.stats.series import AXES

K = 1000  # the paper's, where no other is asked for


@dataclass(frozen=True, eq=False)
class RankedSeries(ByValue):
    """One series in descending order of magnitude: the one of median KS distance, as an example to draw."""

    axis: str
    index: int
    magnitudes: np.ndarray


@dataclass(frozen=True, eq=False)
class Analysis(ByValue):
    """What :func:`analyze` measured.

    Attributes:
        provenance: settings, problem, versions and machine.
        layout: where each parameter tensor sits among the n dimensions.
        losses: minibatch losses, shape (T,).
        tests: of the series in both directions, by axis (``"dimension"``, ``"iteration"``).
        spectra: by matrix (``"second moment"``, ``"covariance"``).
        examples: one series of each axis.
        noise: signal, noise and ranks of the model and each parameter tensor, one row each (columns as
            :func:`~gradlaw.spectra.gradient_noise_by_layer` has them); None where they cannot be measured.
        over_iterations: how the covariance spectrum moves with T, one row a number of iterations; None if T is small.
        controls: covariance spectra of noise of the same shape, by control; empty unless asked for.
        notices: what was decided along the way, in words.
        depth: layers, other tail indices, other families, Gaussianity in full; None unless asked for.
        started, finished: ISO times, UTC; the only part that differs between two runs with one seed.
    """

    provenance: dict[str, Any]
    layout: list[ParameterSlice]
    losses: np.ndarray
    tests: dict[str, GradientTests]
    spectra: dict[str, Spectrum]
    examples: dict[str, RankedSeries]
    noise: pd.DataFrame | None
    over_iterations: pd.DataFrame | None
    controls: dict[str, Spectrum]
    notices: list[str]
    started: str
    finished: str
    depth: Depth | None = None

    @property
    def settings(self) -> dict[str, Any]:
        """What was asked for."""
        return self.provenance["settings"]

    @property
    def eigengaps(self) -> Eigengaps:
        """The gaps of the covariance spectrum."""
        return eigengaps(self.spectra[COVARIANCE])

    @property
    def classes(self) -> int | None:
        """How many classes the data have, if that is known."""
        return len(self.provenance["problem"]["data"].get("classes", ())) or None

    def spectral_verdicts(self) -> list[SpectralVerdict]:
        """Verdicts on the second moment, the covariance and its eigengaps; see :mod:`gradlaw.analysis.verdicts`."""
        return spectral_verdicts(self.spectra, self.settings["k"], self.settings["alpha"])

    def control_verdicts(self) -> list[SpectralVerdict]:
        """Verdicts on the covariance and, on as many eigenvalues, on its controls; empty without controls."""
        covariance = self.spectral_verdicts()[1]
        alpha = self.settings["alpha"]
        found = [spectral_verdict(name, s, covariance.k, alpha) for name, s in self.controls.items()]
        return [replace(covariance, matrix="measured"), *found] if found else []

    def save(self, directory: str | Path, force: bool = False, *, progress: Progress | None = None) -> None:
        """Write the analysis, its figures and its report into a directory; see :mod:`gradlaw.analysis.files`.

        Raises:
            InputError: the directory holds a run and ``force`` is not set, or it cannot be written to.
        """
        from gradlaw.analysis.files import save

        save(self, Path(directory), force, progress or SILENT)

    @staticmethod
    def load(directory: str | Path) -> "Analysis":
        """Read back what :meth:`save` wrote.

        Raises:
            InputError: the directory holds no run, or not a whole one.
        """
        from gradlaw.analysis.files import load

        return load(Path(directory))

    def report(self, path: str | Path) -> None:
        """Write the report, one HTML page that needs nothing else."""
        from gradlaw.report.render import Renderer

        Path(path).write_text(Renderer(self).page(), encoding="utf-8")

    def __str__(self) -> str:
        from gradlaw.report import plain_summary

        return plain_summary(self)


def analyze(
    problem: Problem,
    iterations: int = 5000,
    batch_size: int = 1,
    k: int | None = None,
    gaussian_k: int = 100,
    alpha: float = 0.05,
    seed: int = 0,
    engine: EngineName = "auto",
    transforms: Sequence[Transform] = (),
    store: str | Path | None = None,
    replacement: bool = False,
    depth: bool = False,
    controls: bool = False,
    dtype: torch.dtype | DtypeName | None = None,
    *,
    progress: Progress | None = None,
) -> Analysis:
    """Collect a gradient history, test it in both directions and compute its spectra.

    Args:
        problem: model, loss and data at fixed parameters.
        iterations: T (paper: 5000).
        batch_size: B.
        k: how many of the largest values every power-law test uses. Default: 1000, as in the paper; in tests of series
            at most a third of the series (n values across dimensions, T across iterations), for more is no tail and
            gets no verdict (see :attr:`GradientTests.no_verdict`). One that is given is used wherever a series has so
            many values. Spectra use at most min(T, n) eigenvalues. Where k is lowered a notice says so.
        gaussian_k: how many values the Gaussian test draws from each series (paper: 100); lowered to their length, with
            a notice.
        alpha: significance level.
        seed: of the minibatches, of the Gaussian test's draws, of subsamples and of controls.
        engine: see :func:`gradlaw.collect`.
        transforms: see :func:`gradlaw.collect`.
        store: see :func:`gradlaw.collect`. An interrupted run leaves its history in such a folder for the next to read.
        replacement: see :func:`gradlaw.collect`.
        depth: also test layer by layer, estimate other tail indices, compare with other families of tails and test
            Gaussianity on all iterations (see :class:`gradlaw.analysis.extended.Depth`); takes several times as long as
            the tests.
        controls: also the spectra of noise of the same shape (see :func:`~gradlaw.spectra.control_spectrum`); each of
            the three takes about as long as collecting and multiplying the gradients.
        dtype: see :func:`gradlaw.collect`.
        progress: where to show it; nothing is shown by default.

    Raises:
        InputError: see :func:`gradlaw.collect`; also k < 2, gaussian_k < 8, alpha outside (0, 1), ``depth`` with
            fewer than 8 iterations, or a store that holds another history.
    """
    started = _now()
    iterations, batch_size = count(iterations, "iterations", 2), count(batch_size, "batch_size")
    k, gaussian_k = None if k is None else count(k, "k", 2), count(gaussian_k, "gaussian_k", SHORTEST)
    alpha, seed = significance(alpha), checked_seed(seed)
    if depth and iterations < SHORTEST:
        raise InputError(f"an analysis in depth needs at least {SHORTEST} iterations, got {iterations}")
    progress = progress or SILENT
    history = collect(
        problem, iterations, batch_size, seed, engine, transforms, store, replacement, dtype, progress=progress
    )
    sizes = _Sizes.lowered(k, gaussian_k, history.shape)
    tests: dict[str, GradientTests] = {axis: _test(history, axis, sizes, alpha, seed, progress) for axis in AXES}
    structure = measure_structure(history, problem, sizes.of_spectra, seed, controls, depth, progress)
    examples: dict[str, RankedSeries] = {axis: _median_series(history, tests[axis]) for axis in AXES}
    return Analysis(
        provenance=_provenance(problem, history, sizes, engine, k, gaussian_k, alpha),
        layout=history.layout,
        losses=history.losses.double().cpu().numpy(),
        tests=tests,
        spectra=structure.spectra,
        examples=examples,
        noise=structure.noise,
        over_iterations=structure.over_iterations,
        controls=structure.controls,
        notices=history.notices + sizes.notices + structure.notices,
        depth=look_deeper(history, tests, _tails(examples, structure.spectra, sizes), progress) if depth else None,
        started=started,
        finished=_now(),
    )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _provenance(
    problem: Problem,
    history: GradientHistory,
    sizes: "_Sizes",
    engine: str,
    k: int | None,
    gaussian_k: int,
    alpha: float,
) -> dict[str, Any]:
    settings = history.settings | {
        "engine_asked": engine,
        "k_asked": K if k is None else k,
        "k": sizes.of_spectra,
        "k_of_series": sizes.k,
        "gaussian_k_asked": gaussian_k,
        "gaussian_k": sizes.gaussian_k,
        "alpha": alpha,
        "rounding": history.rounding,
    }
    described = {
        "settings": settings,
        "problem": problem.describe(),
        "versions": versions(),
        "machine": machine(problem.device),
    }
    provenance: dict[str, Any] = plain(described, "provenance")
    return provenance


def _tails(
    examples: dict[str, RankedSeries], spectra: dict[str, Spectrum], sizes: "_Sizes"
) -> dict[str, tuple[np.ndarray, int]]:
    """The samples to compare with other families, each with its K; eigenvalues down to the rank."""
    tails = {f"{axis}-wise example": (e.magnitudes.astype(np.float64), sizes.k[axis]) for axis, e in examples.items()}
    return tails | {name: (s.eigenvalues[: s.rank], min(sizes.of_spectra, s.rank)) for name, s in spectra.items()}


@dataclass(frozen=True)
class _Sizes:
    k: dict[str, int]
    of_spectra: int
    gaussian_k: dict[str, int | None]
    notices: list[str]

    @classmethod
    def lowered(cls, asked: int | None, gaussian_k: int, shape: tuple[int, int]) -> "_Sizes":
        """What the shape of the history allows of the sizes asked for."""
        iterations, dimensions = shape
        if dimensions < 2:
            raise InputError("a single parameter is analysed; the tests across dimensions need at least 2")
        notices = []
        lengths: dict[str, int] = dict(zip(AXES, (dimensions, iterations), strict=True))
        k = K if asked is None else asked
        used = {axis: lowered_k(k, length) if asked is None or k > length else k for axis, length in lengths.items()}
        notices += [
            f"K lowered from {k:,} to {lowered:,} in {axis}-wise tests: a tail is at most a third of the "
            f"{lengths[axis]:,} values of a series"
            for axis, lowered in used.items()
            if lowered < k
        ]
        of_spectra = min(k, iterations, dimensions)
        if of_spectra < k:
            notices.append(
                f"K lowered from {k:,} to {of_spectra:,} in fits of spectra: there are T={iterations} iterations, "
                f"n={dimensions} dimensions"
            )
        gaussian: dict[str, int | None] = {}
        for axis, length in lengths.items():
            gaussian[axis] = min(gaussian_k, length) if length >= SHORTEST else None
            if length < SHORTEST:
                notices.append(f"{axis}-wise Gaussian test left out: it needs {SHORTEST} values, a series has {length}")
            elif length < gaussian_k:
                notices.append(f"{axis}-wise Gaussian test on all {length} values of a series instead of {gaussian_k}")
        return cls(used, of_spectra, gaussian, notices)


def _test(
    history: GradientHistory, axis: Axis, sizes: _Sizes, alpha: float, seed: int, progress: Progress
) -> GradientTests:
    total = history.shape[AXES.index(axis)]
    with progress.stage(f"test {axis}-wise gradients", total) as advance:
        return gradient_tests(history, axis, sizes.k[axis], sizes.gaussian_k[axis], alpha, seed, advance=advance)


def _median_series(history: GradientHistory, tests: GradientTests) -> RankedSeries:
    """The series whose KS distance is the median of those that can be tested (of all, if none can)."""
    tested = np.flatnonzero(~tests.degenerate_series)
    candidates = tested if len(tested) else np.arange(tests.series)
    index = int(candidates[np.argsort(tests.d_ks[candidates], kind="stable")[len(candidates) // 2]])
    series = history[index] if tests.axis == AXES[0] else history.dimension(index)
    magnitudes = series.abs().sort(descending=True).values.cpu().numpy()
    return RankedSeries(tests.axis, index, magnitudes)
