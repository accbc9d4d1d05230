"""Damaged chunks of a finished gradient history, computed again, and written only if they are proven to be what was.

A band of iterations is computed as it was collected. A chunk of it is what was written if the checksum that its damaged
file still ends with is that of the bytes; or else if everything of it that is whole (the losses of the band, and the
chunks beside it, or another band) comes out the same to the last bit: then so does what is lost.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gradlaw.atomic import flush, write_whole
from gradlaw.errors import InputError
from gradlaw.history.collection import Collection
from gradlaw.history.engines.choose import choose_engine
from gradlaw.history.engines.loop import LoopEngine
from gradlaw.history.engines.preflight import inspect_problem
from gradlaw.history.gradient_history import GradientHistory
from gradlaw.history.resume import refuse_another
from gradlaw.history.settings import HistorySettings
from gradlaw.history.stores import zarr_store
from gradlaw.history.stores.chunk_files import CHECKSUM_BYTES, chunk_content
from gradlaw.history.stores.integrity import check
from gradlaw.history.transform_order import start_transforms
from gradlaw.history.transform_text import parse_transform
from gradlaw.history.transforms import Adam, Momentum, Rows
from gradlaw.problem import Problem
from gradlaw.progress import Progress


def repair(folder: Path, problem: Problem, progress: Progress) -> list[Path]:
    """Compute the damaged chunks of a finished store again; returns their files.

    Args:
        folder: of the store.
        problem: whose gradients it holds.
        progress: where to show it.

    Raises:
        InputError: more than chunks of gradients is damaged, the store is of another problem, another process writes
            it, the disk is full, or what is computed cannot be proven to be what was written; the store is as it was.
    """
    with zarr_store.writing(folder):
        lost = {damage.file: damage.message for damage in check(folder)}
        if not lost:
            return []
        history = GradientHistory.open(folder)  # raises what else is wrong
        assert isinstance(history.gradients, zarr_store.DiskGradients)
        chunks = set(history.gradients.chunk_paths())
        for file, message in lost.items():
            if file not in chunks:
                raise InputError(message)
        refuse_another(folder, problem, history)
        contents = _computed(folder, history, history.gradients, set(lost), problem, progress)
        for path, content in contents.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, content, "the store is as it was")
            flush(path.parent.parent)
    return list(contents)


def _computed(
    folder: Path,
    history: GradientHistory,
    gradients: zarr_store.DiskGradients,
    lost: set[Path],
    problem: Problem,
    progress: Progress,
) -> dict[Path, bytes]:
    """The content of lost chunks, proven."""
    by_band: dict[Path, list[Path]] = {}
    for path in gradients.chunk_paths():
        by_band.setdefault(path.parent, []).append(path)
    bands = list(by_band.values())
    wanted = {number for number, paths in enumerate(bands) if lost.intersection(paths)}
    witnesses = [number for number, paths in enumerate(bands) if lost.isdisjoint(paths)]
    needs_witness = any(lost.issuperset(bands[number]) for number in wanted)
    contents: dict[Path, bytes] = {}
    compared = proven = 0
    for top, rows, losses in _bands(history, gradients, wanted | set(witnesses[:1] if needs_witness else ()), problem,
                                    progress):  # fmt: skip
        _refuse_other(torch.equal(losses, history.losses[top : top + len(losses)].to(losses.device)), folder, top)
        for path, values in gradients.chunks_of(top, rows):
            content = chunk_content(values, gradients.chunks)
            if path in lost:
                contents[path] = content.tobytes()
                proven += _checksum_holds(path, content)
            else:
                _refuse_other(path.read_bytes() == content.tobytes(), folder, top)
                compared += 1
    if not compared and proven < len(lost):
        raise InputError(f"nothing of the gradients in {folder} is whole, by which what is computed again could be "
                         "proven to be what was lost; delete the folder, and collect again")  # fmt: skip
    return contents


def _bands(
    history: GradientHistory,
    gradients: zarr_store.DiskGradients,
    wanted: set[int],
    problem: Problem,
    progress: Progress,
) -> Iterator[tuple[int, Tensor, Tensor]]:
    """First iteration, gradients of the stored type and losses of some bands, as they were collected."""
    settings: HistorySettings = history.settings
    transforms = [parse_transform(text) for text in settings.transforms]
    carries = any(isinstance(transform, Momentum | Adam) for transform in transforms)  # from row to row
    minibatches, reference = settings.minibatches(), LoopEngine(problem, settings.seed)
    findings = inspect_problem(problem, minibatches, reference, counted=settings.engine != "loop")
    choice = choose_engine(settings.engine, problem, minibatches, reference, findings)
    run = Collection(gradients, choice, gradients.dtype, transforms, history.unused)
    apply = start_transforms(transforms, Rows(problem, history.unused, run.memory))
    height, iterations = gradients.chunks[0], settings.iterations
    numbers = range(max(wanted) + 1) if carries else sorted(wanted)
    with progress.stage("compute damaged bands again", len(numbers) * height) as advance:
        for number in numbers:
            top = number * height
            shape = min(height, iterations - top), problem.dimensions
            rows = torch.empty(shape, dtype=gradients.dtype, device=problem.device)
            run.collect_band(top, rows, apply, advance)
            yield top, rows, run.losses[top : top + len(rows)]


def _checksum_holds(path: Path, content: np.ndarray) -> bool:
    """Whether the checksum at the end of a damaged file is that of the content."""
    there = path.read_bytes() if path.is_file() else b""
    return len(there) == len(content) and there[-CHECKSUM_BYTES:] == content[-CHECKSUM_BYTES:].tobytes()


def _refuse_other(same: bool, folder: Path, top: int) -> None:
    if not same:
        raise InputError(
            f"what is computed again of iteration {top} onwards is not, to the last bit, what is whole in {folder}: "
            "software, device or number of threads are not those that collected it; repair it with those, or delete "
            "the folder, and collect again"
        )
