"""Gradients that are sketched while they are collected, so that never more than a few of them are there whole."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from gradlaw.argument_types import checked
from gradlaw.choices import EngineName
from gradlaw.errors import count, significance
from gradlaw.history.collect import collected
from gradlaw.history.settings import HistorySettings, SketchSettings
from gradlaw.history.sketched_history import RowReducer, SketchedHistory
from gradlaw.history.stores.zarr_store import BAND_BYTES
from gradlaw.history.transforms import Transform
from gradlaw.problem import Problem
from gradlaw.progress import SILENT, Progress
from gradlaw.spectra.approximate import ApproximateSpectrum, SketchedMoment, approximate_spectrum
from gradlaw.spectra.sketch import GradientSketch
from gradlaw.stats.gaussian import SHORTEST
from gradlaw.stats.power import GAUSSIAN_K, K, lowered_k

BLOCKS = 8  # of the sketch: as many half-samples tell its error as there are blocks less one


@checked
def collect_sketched(
    problem: Problem,
    iterations: int = 5000,
    batch_size: int = 10,
    size: int = 8192,
    seed: int = 0,
    engine: EngineName = "auto",
    transforms: Sequence[Transform] = (),
    store: str | Path | None = None,
    replacement: bool = False,
    *,
    k: int | None = None,
    gaussian_k: int | None = None,
    alpha: float = 0.05,
    progress: Progress | None = None,
    band_bytes: int = BAND_BYTES,
) -> SketchedHistory:
    """Collect gradients as :func:`gradlaw.collect` does, and keep of each a sketch of m numbers and its tests.

    Memory is 4 T m bytes, or a folder, and a few gradients. The sketch is a function of its seed and of the gradient:
    the engine, how many are computed at once and where a run was interrupted change it by the rounding of gradients.

    Args:
        problem: as of :func:`gradlaw.collect`, like ``iterations``, ``batch_size``, ``engine``, ``transforms`` and
            ``replacement``.
        iterations: T.
        batch_size: B.
        size: m, a power of two from 256; an eighth of it eigenvalues can be told, to sqrt(2/m) at best.
        seed: of the minibatches, of the sketch and of the draws of the Gaussian test.
        engine: how gradients are computed.
        transforms: applied before.
        store: ``"memory"``, a folder, or None, as of :func:`gradlaw.collect`; an interrupted collection into a folder
            goes on where it was.
        replacement: draw each minibatch independently.
        k: of the power-law test across the n values. Default: 1000, at most a third of n.
        gaussian_k: values that the Gaussian test draws. Default: 100, at most n.
        alpha: level of the tests.
        progress: where to show it.
        band_bytes: as of :func:`gradlaw.collect`.

    Raises:
        InputError: as :func:`gradlaw.collect`; a size that is no power of two.
    """
    n = problem.dimensions
    sketch = GradientSketch([n], count(size, "size", minimum=256), seed, BLOCKS)
    drawn = min(GAUSSIAN_K, n) if gaussian_k is None else count(gaussian_k, "gaussian_k", SHORTEST)
    used = lowered_k(K, n) if k is None else count(k, "k", 2)
    settings = SketchSettings(sketch.size, sketch.seed, BLOCKS, used, drawn if n >= SHORTEST else None,
                              significance(alpha))  # fmt: skip
    asked = HistorySettings.asked(problem, iterations, batch_size, seed, engine, transforms, replacement, torch.float32)
    reducer = RowReducer(lambda gradient: sketch.of([gradient]), settings, n)
    history = collected(problem, replace(asked, sketch=settings), transforms, store, reducer, progress or SILENT,
                        count(band_bytes, "band_bytes"))  # fmt: skip
    assert isinstance(history, SketchedHistory)
    return history


def spectrum_of_sketched(
    history: SketchedHistory, center: bool = True, k: int | None = None, lower: bool = False
) -> ApproximateSpectrum:
    """The leading spectrum of the gradients that were sketched, with intervals; arguments and errors as of
    :func:`~gradlaw.spectra.approximate.approximate_spectrum`.

    Of up to m gradients the sketches are read into memory, of more their moment is streamed.
    """
    sketch, (iterations, dimensions) = history.sketch, history.shape
    blocks = (block for _, block in history.sketches())
    if iterations <= sketch.size:
        return approximate_spectrum(torch.cat(list(blocks)), dimensions, sketch.blocks, center, k, lower)
    moment = SketchedMoment(sketch.size, sketch.blocks)
    for block in blocks:
        moment.add(block)
    return approximate_spectrum(moment, dimensions, sketch.blocks, center, k, lower)
