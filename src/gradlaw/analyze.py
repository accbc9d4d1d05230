"""The front door: analyze measures everything on one gradient history; Analysis keeps and shows it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gradlaw.analysis.extended import measure_extended
from gradlaw.analysis.result import AnalysisResult, RankedSeries
from gradlaw.analysis.sizes import K, Sizes
from gradlaw.analysis.spectral import measure_spectra
from gradlaw.choices import Axis, DtypeName, EngineName
from gradlaw.errors import InputError, count, significance
from gradlaw.errors import seed as checked_seed
from gradlaw.extras import extra
from gradlaw.history import GradientHistory, collect
from gradlaw.history.transforms import Transform
from gradlaw.plain import plain
from gradlaw.problem import Problem
from gradlaw.progress import SILENT, Progress
from gradlaw.provenance import machine, versions
from gradlaw.report.terminal import plain_summary
from gradlaw.spectra import Spectrum
from gradlaw.stats import GradientTests, gradient_tests
from gradlaw.stats.gaussian import SHORTEST
from gradlaw.stats.series import AXES


@dataclass(frozen=True, eq=False)
class Analysis(AnalysisResult):
    """An :class:`~gradlaw.analysis.result.AnalysisResult` that can be kept and shown; ``str`` is the closing table."""

    def save(self, directory: str | Path, force: bool = False, *, progress: Progress | None = None) -> None:
        """Write the analysis, its figures and its report into a directory; see :mod:`gradlaw.analysis.files`.

        Raises:
            InputError: the directory holds a run and ``force`` is not set, or it cannot be written to.
        """
        with extra("report", "saving an analysis"):
            from gradlaw.report.write import write_run  # loads matplotlib
        write_run(self, Path(directory), force, progress or SILENT)

    @staticmethod
    def load(directory: str | Path) -> "Analysis":
        """Read back what :meth:`save` wrote.

        Raises:
            InputError: the directory holds no run, or not a whole one.
        """
        with extra("report", "reading a saved analysis"):
            from gradlaw.analysis.files import read_result  # loads pyarrow
        return Analysis(**vars(read_result(Path(directory))))

    def report(self, path: str | Path) -> None:
        """Write the report, one HTML page that needs nothing else."""
        with extra("report", "writing a report"):
            from gradlaw.report.write import write_page
        write_page(self, Path(path))

    def __str__(self) -> str:
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
    extended: bool = False,
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
        extended: also test layer by layer, estimate other tail indices, compare with other families of tails and test
            Gaussianity on all iterations (see :class:`gradlaw.analysis.extended.ExtendedStatistics`); takes several
            times as long as the tests.
        controls: also the spectra of noise of the same shape (see :func:`~gradlaw.spectra.control_spectrum`); each of
            the three takes about as long as collecting and multiplying the gradients.
        dtype: see :func:`gradlaw.collect`.
        progress: where to show it; nothing is shown by default.

    Raises:
        InputError: see :func:`gradlaw.collect`; also k < 2, gaussian_k < 8, alpha outside (0, 1), ``extended``
            with fewer than 8 iterations, or a store that holds another history.
    """
    started = _now()
    iterations, batch_size = count(iterations, "iterations", 2), count(batch_size, "batch_size")
    k, gaussian_k = None if k is None else count(k, "k", 2), count(gaussian_k, "gaussian_k", SHORTEST)
    alpha, seed = significance(alpha), checked_seed(seed)
    if extended and iterations < SHORTEST:
        raise InputError(f"extended statistics need at least {SHORTEST} iterations, got {iterations}")
    progress = progress or SILENT
    history = collect(
        problem, iterations, batch_size, seed, engine, transforms, store, replacement, dtype, progress=progress
    )
    sizes = Sizes.lowered(k, gaussian_k, history.shape)
    tests: dict[str, GradientTests] = {axis: _test(history, axis, sizes, alpha, seed, progress) for axis in AXES}
    spectral = measure_spectra(history, problem, sizes.of_spectra, seed, controls, extended, progress)
    examples: dict[str, RankedSeries] = {axis: _median_series(history, tests[axis]) for axis in AXES}
    return Analysis(
        provenance=_provenance(problem, history, sizes, engine, k, gaussian_k, alpha),
        layout=history.layout,
        losses=history.losses.double().cpu().numpy(),
        tests=tests,
        spectra=spectral.spectra,
        examples=examples,
        noise=spectral.noise,
        over_iterations=spectral.over_iterations,
        controls=spectral.controls,
        notices=history.notices + sizes.notices + spectral.notices,
        extended=measure_extended(history, tests, _tails(examples, spectral.spectra, sizes), progress)
        if extended
        else None,
        started=started,
        finished=_now(),
    )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _provenance(
    problem: Problem,
    history: GradientHistory,
    sizes: Sizes,
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
    examples: dict[str, RankedSeries], spectra: dict[str, Spectrum], sizes: Sizes
) -> dict[str, tuple[np.ndarray, int]]:
    """The samples to compare with other families, each with its K; eigenvalues down to the rank."""
    tails = {f"{axis}-wise example": (e.magnitudes.astype(np.float64), sizes.k[axis]) for axis, e in examples.items()}
    return tails | {name: (s.eigenvalues[: s.rank], min(sizes.of_spectra, s.rank)) for name, s in spectra.items()}


def _test(
    history: GradientHistory, axis: Axis, sizes: Sizes, alpha: float, seed: int, progress: Progress
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
