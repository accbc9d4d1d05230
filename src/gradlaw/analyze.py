"""The front door: analyze measures everything on one gradient history; Analysis keeps and shows it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from gradlaw.analysis.by_ranks import joined, made_elsewhere, ranks_of
from gradlaw.analysis.result import AnalysisResult
from gradlaw.analysis.section import Run
from gradlaw.analysis.sections import all_sections
from gradlaw.analysis.setting import OPTIONAL
from gradlaw.analysis.sizes import Sizes
from gradlaw.argument_types import checked
from gradlaw.choices import DtypeName, EngineName, RankChoice
from gradlaw.errors import InputError, count, significance
from gradlaw.errors import seed as checked_seed
from gradlaw.extras import extra
from gradlaw.history import GradientHistory, collect
from gradlaw.history.collect_sharded import collect_sharded
from gradlaw.history.sharded_history import ShardedHistory
from gradlaw.history.sketched_history import SketchedHistory
from gradlaw.history.stores.placement import MEMORY
from gradlaw.history.stores.precision import storage_dtype
from gradlaw.history.transforms import Transform
from gradlaw.html_repr import html_table, rank_picture
from gradlaw.plain import plain
from gradlaw.problem import Problem
from gradlaw.progress import SILENT, Progress
from gradlaw.provenance import machine, versions
from gradlaw.report.finding import Finding
from gradlaw.report.plots import Plots
from gradlaw.report.sections import findings_of
from gradlaw.report.state import state_of
from gradlaw.report.summary import plain_summary
from gradlaw.report.title import title
from gradlaw.spectra.collect_sketched import collect_sketched
from gradlaw.spectra.gram.memory import refuse_large_gram
from gradlaw.stats.gaussian import SHORTEST
from gradlaw.stats.power import K

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr


_LEAST_SKETCHED = 6  # iterations: two eigenvalues are a third of them


@dataclass(frozen=True, eq=False)
class Analysis(AnalysisResult):
    """An :class:`~gradlaw.analysis.result.AnalysisResult` that can be kept and shown; ``str`` is the closing table."""

    @checked
    def save(self, directory: str | Path, force: bool = False, *, progress: Progress | None = None) -> None:
        """Write the analysis, its figures and its report into a directory; see :mod:`gradlaw.analysis.files`.

        Of ranks that made it together the first writes, and the others return at once.

        Raises:
            InputError: the directory holds a run and ``force`` is not set, or it cannot be written to.
        """
        if made_elsewhere(self):
            return
        with extra("report", "saving an analysis"):
            from gradlaw.report.write import write_run  # loads matplotlib
        write_run(self, Path(directory), force, progress or SILENT)

    @staticmethod
    @checked
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

    @property
    def findings(self) -> list[Finding]:
        """What it shows, in plain words by written rules, each with its certainty; at most five, as on the page."""
        return findings_of(self)

    @property
    def plot(self) -> Plots:
        """Figures one by one, on axes of one's own: ``analysis.plot.spectrum(ax)``; ``analysis.plot.names`` has all."""
        return Plots(self)

    def figures(self, folder: str | Path, kinds: Sequence[str] = ("pdf",)) -> list[Path]:
        """Write every figure into a folder.

        Args:
            folder: made if it is not there.
            kinds: formats, out of ``"pdf"``, ``"png"`` and ``"svg"``.

        Returns:
            The paths, in the order of the figures.

        Raises:
            InputError: another format.
        """
        with extra("report", "drawing"):
            from gradlaw.report.write import write_figures
        return write_figures(self, Path(folder), kinds)

    def to_frame(self) -> "pd.DataFrame":
        """One row of the statistics of the whole model; columns: :func:`gradlaw.analysis.overview.overview`."""
        from gradlaw.report.export import overview_frame  # loads pandas

        return overview_frame(self)

    def tables(self) -> "dict[str, pd.DataFrame]":
        """Every table that a run directory has, by name: one row an iteration, a parameter, a rank, a layer."""
        from gradlaw.report.export import tables_of

        return tables_of(self)

    def to_xarray(self) -> "xr.Dataset":
        """The same as variables ``table.column`` along iteration, parameter, rank or the table's own rows.

        Raises:
            InputError: xarray is not installed.
        """
        with extra("xarray", "a data set of xarray"):
            from gradlaw.report.export import dataset_of

            return dataset_of(self)

    def to_latex(self) -> str:
        """The statistics of the whole model as a table for LaTeX, which needs booktabs and graphicx."""
        with extra("report", "a table for LaTeX"):
            from gradlaw.report.export import latex_of

            return latex_of(self)

    def log(self, *loggers: Any, step: int = 0) -> None:
        """Hand the statistics of the whole model to trackers, as scalars ``gradlaw_analysis/NAME``.

        Args:
            loggers: a TensorBoard ``SummaryWriter``, a W&B run or a Trackio run, each.
            step: of training, at which the parameters are.

        Raises:
            InputError: what is given is no logger.
        """
        from gradlaw.report.export import log_to

        log_to(self, loggers, step)

    def __str__(self) -> str:
        return plain_summary(self)

    def __repr__(self) -> str:
        return f"Analysis({title(self)}, seed={self.settings['seed']})"

    def _repr_html_(self) -> str:
        rows: dict[str, object] = {finding.headline: f"{finding.text} ({finding.certainty} certainty)"
                                   for finding in self.findings}  # fmt: skip
        spectrum, approximate = self.spectra["covariance"], "" if self.sketch_size is None else " (approximate)"
        picture = rank_picture(
            spectrum.eigenvalues[: spectrum.rank], f"Eigenvalues of the covariance by rank, log-log{approximate}"
        )
        return html_table(title(self), {"network": state_of(self)} | rows, picture)


@checked
def analyze(
    problem: Problem,
    iterations: int = 5000,
    batch_size: int = 10,
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
    sketch: int | None = None,
    *,
    ranks: RankChoice = "all",
    progress: Progress | None = None,
) -> Analysis:
    """Collect a gradient history, test it in both directions and compute its spectra.

    Args:
        problem: model, loss and data at fixed parameters.
        iterations: T (paper: 5000).
        batch_size: B; a sample of :meth:`Problem.from_step` is a batch of yours.
        k: how many of the largest values every power-law test uses. Default: 1000, as in the paper, and at most a third
            of a series (n values across dimensions, T across iterations) or of a spectrum (min(T, n) eigenvalues), for
            more is no tail and gets no verdict (see :attr:`GradientTests.no_verdict`). One that is given is used
            wherever there are so many values. Where k is lowered a notice says so.
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
        sketch: m, a power of two from 256: keep m numbers of each gradient instead of n, for spectra that are
            approximate, and say how far they may be off (see
            :func:`~gradlaw.spectra.collect_sketched.collect_sketched`). Tests across dimensions are exact, as they are
            made of each gradient while it is there; what needs all gradients cannot be said, and is left out.
        ranks: where ``torch.distributed`` has been initialised with several processes, ``"all"`` of them make this call
            and share the work, and each gets the result; ``"one"`` leaves it all to this process. See
            :mod:`gradlaw.analysis.by_ranks`.
        progress: where to show it; nothing is shown by default.

    Raises:
        RankLost: another rank has died.
        InputError: see :func:`gradlaw.collect`; also k < 2, gaussian_k < 8, alpha outside (0, 1), ``extended``
            with fewer than 8 iterations, so many that the T x T matrices of the spectra do not fit into memory, or a
            store that holds another history; with ``sketch`` fewer than 6
            iterations, ``extended``, ``controls``, ``dtype``, or several ranks.
    """
    started = _now()
    iterations, batch_size = count(iterations, "iterations", 2), count(batch_size, "batch_size")
    k, gaussian_k = None if k is None else count(k, "k", 2), count(gaussian_k, "gaussian_k", SHORTEST)
    alpha, seed = significance(alpha), checked_seed(seed)
    if extended and iterations < SHORTEST:
        raise InputError(f"extended statistics need at least {SHORTEST} iterations, got {iterations}")
    progress = progress or SILENT
    asked = frozenset(name for name, wanted in {"controls": controls, "extended": extended}.items() if wanted)
    settings: dict[str, Any] = {"iterations": iterations, "batch_size": batch_size, "seed": seed, "engine": engine,
                                "transforms": transforms, "store": store, "replacement": replacement,
                                "progress": progress}  # fmt: skip
    if sketch is not None:
        sketch = count(sketch, "sketch", 256)
        _refuse_of_sketch(iterations, asked, dtype)
    same = {
        "sketch": sketch, "k": k, "gaussian_k": gaussian_k, "alpha": alpha, "store": str(store), "dtype": str(dtype)
    }  # fmt: skip
    with joined(ranks, asked, same) as group:
        history: GradientHistory | ShardedHistory | SketchedHistory
        sizes = Sizes.lowered(k, gaussian_k, (iterations, problem.dimensions), sketch)
        if sketch is not None:
            of_tests: dict[str, Any] = {"k": sizes.k["dimension"], "gaussian_k": sizes.gaussian_k["dimension"]}
            history = collect_sketched(problem, size=sketch, alpha=alpha, **of_tests, **settings)
        elif group.size == 1:
            in_memory = storage_dtype(dtype, problem.dtype).itemsize * problem.dimensions if store == MEMORY else 0
            refuse_large_gram(iterations, problem.device, in_memory)
            history = collect(problem, dtype=dtype, **settings)
        else:
            history = collect_sharded(group, problem, dtype=dtype, **settings)
        run = Run(problem, history, sizes, alpha, seed, asked, progress, history.notices + sizes.notices)
        for section in all_sections():
            told = sketch is None or section.from_sketch
            run.measured[section.name] = section.measure(run) if told else None
        if sketch is not None:
            run.notices.append(_left_out())
    return Analysis(
        provenance=_provenance(problem, history, sizes, engine, k, gaussian_k, alpha),
        layout=history.layout,
        losses=history.losses.double().cpu().numpy(),
        sections=run.measured,
        notices=run.notices,
        started=started,
        finished=_now(),
    )


def _refuse_of_sketch(iterations: int, asked: frozenset[str], dtype: Any) -> None:
    if iterations < _LEAST_SKETCHED:
        raise InputError(f"approximate spectra need at least {_LEAST_SKETCHED} iterations, got {iterations}")
    refused = [*sorted(asked), *(["dtype"] if dtype is not None else [])]
    if refused:
        raise InputError(
            f"{' and '.join(refused)} cannot be said from a sketch: leave sketch out, so that gradients are kept whole"
        )


def _left_out() -> str:
    """What an analysis of sketches has not."""
    names = [s.name.replace("_", " ") for s in all_sections() if not s.from_sketch and s.name not in OPTIONAL]
    return f"cannot be said from a sketch, and left out: tests across iterations, eigengaps, {', '.join(names)}"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _provenance(
    problem: Problem,
    history: GradientHistory | ShardedHistory | SketchedHistory,
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
        "machine": machine(problem.device) | ranks_of(history),
    }
    provenance: dict[str, Any] = plain(described, "provenance")
    return provenance
