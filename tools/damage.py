"""Damage stores of gradients and checkpoints of the eigensolver at random, kill collections, count what comes of it.

    python tools/damage.py store [--tries 300] [--seed 0]     # files of finished stores, then read
    python tools/damage.py unfinished [--tries 60]            # files of collections that were ended, then gone on with
    python tools/damage.py solver [--tries 150]               # checkpoints of the eigensolver, then resumed
    python tools/damage.py kills [--tries 21]                 # SIGKILL at random moments, then the same call again

Damage is a bit, a block of up to 64 bytes, a truncation or a file that is gone. It is *found* if the error names a file
and what to do, *harmless* if the result is that of the undamaged files, to the last bit, *silent* if it is another one,
and a *traceback* otherwise. Processes that are killed are forked from one that has the imports done; a collection is
killed up to three times, and its files must be those of one that nobody disturbed. Counts are printed, and stand in
docs/reliability.md.
"""

import argparse
import random
import shutil
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from forked import exit_status, forked
from one_damage import damage_file
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import gradlaw as gl
from gradlaw.curvature.eigensolver.checkpoint import SolverState

ITERATIONS, BATCH, BANDS = 24, 4, 4 * 99 * 5  # 5 bands of 5 rows of 99 values in float32, in 5 columns of chunks
CASES: dict[str, dict[str, Any]] = {
    "float32": {},
    "bfloat16, Adam": {"dtype": "bfloat16", "transforms": (gl.Adam(),)},
    "float64, loop": {"dtype": "float64", "engine": "loop"},
}


class Stopped(BaseException):
    """Ends a collection."""


class Clock:
    """Calls of the loss: how long each takes, and which is the last."""

    calls, last, seconds = 0, 0, 0.0


def loss(outputs: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy that takes its time."""
    Clock.calls += 1
    if Clock.calls == Clock.last:
        raise Stopped
    time.sleep(Clock.seconds)
    return cross_entropy(outputs, targets)


def problem() -> gl.Problem:
    """99 parameters, 80 samples."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Linear(8, 3)).eval()
    return gl.Problem(model, loss, (torch.randn(80, 6), torch.randint(3, (80,))))


def collect(store: Path, case: str, last: int = 0) -> gl.GradientHistory:
    """The history; ended at the call ``last`` of the loss."""
    Clock.calls, Clock.last = 0, last
    return gl.collect(problem(), ITERATIONS, BATCH, store=store, band_bytes=BANDS, **CASES[case])


def files(folder: Path) -> dict[str, bytes]:
    """Content by name."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def damage(folder: Path, rng: random.Random) -> str:
    """Damage one file of a folder; what was done to which."""
    path = rng.choice(sorted(path for path in folder.rglob("*") if path.is_file()))
    return f"{damage_file(path, rng)} in {path.relative_to(folder)}"


def outcome(read: Callable[[], bool]) -> str:
    """What comes of reading damaged files; ``read`` says whether the result is the right one."""
    try:
        return "harmless" if read() else "silent"
    except gl.InputError as error:
        return "found" if any(word in str(error) for word in ("collect", "compute again")) else f"unclear: {error}"
    except Exception as error:
        return f"traceback: {type(error).__name__}: {error}"


def campaign(wholes: dict[Path, Callable[[Path], bool]], tries: int, rng: random.Random) -> None:
    """Damage copies of whole folders, each read by its function, and print what came of it."""
    by_kind: Counter[str] = Counter()
    in_all: Counter[str] = Counter()
    for number in range(tries):
        whole, read = list(wholes.items())[number % len(wholes)]
        folder = whole.with_name("damaged")
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(whole, folder)
        done = damage(folder, rng)
        came = outcome(partial(read, folder))
        if came not in ("found", "harmless"):
            print(f"{done}: {came}")
        came = came.split(":")[0]
        by_kind[f"{done.split(' in ')[0]}, {came}"] += 1
        in_all[came] += 1
    for text, count in sorted(by_kind.items()):
        print(f"{text:28} {count:4}")
    print(f"{tries} in all: {', '.join(f'{count} {came}' for came, count in sorted(in_all.items()))}")


def damage_stores(place: Path, tries: int, rng: random.Random) -> None:
    """Finished stores: open, and read everything."""

    def read(case: str, folder: Path) -> bool:
        history = gl.GradientHistory.open(folder)
        return history == expected[case] and torch.equal(history[:], expected[case][:])

    expected = {case: collect(place / case, case) for case in CASES}
    campaign({place / case: partial(read, case) for case in CASES}, tries, rng)


def damage_unfinished(place: Path, tries: int, rng: random.Random) -> None:
    """Collections that were ended: make the same call again."""

    def resume(case: str, folder: Path) -> bool:
        collect(folder, case)
        return files(folder) == expected[case]

    expected, wholes = {}, {}
    for case in CASES:
        collect(place / "whole" / case, case)
        expected[case] = files(place / "whole" / case)
        try:
            collect(place / case, case, last=Clock.calls - 3)
        except Stopped:
            wholes[place / case] = partial(resume, case)
    campaign(wholes, tries, rng)


def damage_solver(place: Path, tries: int, rng: random.Random) -> None:
    """Checkpoints of the eigensolver, its basis in memory and on disk: resume."""
    eigenvalues = np.arange(1, 301) ** -1.0
    turn = np.linalg.qr(np.random.default_rng(0).standard_normal((300, 300)))[0]
    matrix = (turn * eigenvalues) @ turn.T
    expected = {memory: gl.eigenpairs(matrix, 10, memory=memory) for memory in (0, None)}

    def resume(memory: int | None, folder: Path) -> bool:
        return gl.eigenpairs(matrix, 10, memory=memory, checkpoint=folder) == expected[memory]

    save, wholes = SolverState.save, {}

    def save_and_stop(self: SolverState, *what: Any) -> None:
        save(self, *what)
        if what[1].size >= 30:
            raise Stopped

    for memory in expected:
        folder = place / f"memory {memory}"
        SolverState.save = save_and_stop  # type: ignore[method-assign]
        try:
            gl.eigenpairs(matrix, 10, memory=memory, checkpoint=folder, save_seconds=0)
        except Stopped:
            wholes[folder] = partial(resume, memory)
        SolverState.save = save  # type: ignore[method-assign]
    campaign(wholes, tries, rng)


def kill_collections(place: Path, tries: int, rng: random.Random) -> None:
    """Kill at random moments, up to three times, until one comes to its end."""
    Clock.seconds = 0.004
    duration, expected = {}, {}
    for case in CASES:
        start = time.monotonic()
        in_a_child(place / case, case, None)
        duration[case], expected[case] = time.monotonic() - start, files(place / case)
    kills = same = 0
    for number in range(tries):
        case, store = list(CASES)[number % len(CASES)], place / f"killed {number}"
        for _ in range(3):
            kills += in_a_child(store, case, rng.random() * duration[case])
        in_a_child(store, case, None)
        same += files(store) == expected[case]
    print(f"{tries} collections, killed {kills} times: {same} with the bytes of one that nobody disturbed")


def in_a_child(store: Path, case: str, killed_after: float | None) -> bool:
    """Collect in a process of its own; whether it was killed."""
    return exit_status(forked(partial(collect, store, case)), killed_after) == -signal.SIGKILL


COMMANDS = {
    "store": (damage_stores, 300),
    "unfinished": (damage_unfinished, 60),
    "solver": (damage_solver, 150),
    "kills": (kill_collections, 21),
}


def main() -> None:
    """Run one of the campaigns."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=COMMANDS)
    parser.add_argument("--tries", type=int)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)  # a pool of threads does not survive a fork
    campaign_of, tries = COMMANDS[arguments.command]
    with tempfile.TemporaryDirectory(prefix="gradlaw-damage-") as folder:
        campaign_of(Path(folder), arguments.tries or tries, random.Random(arguments.seed))


if __name__ == "__main__":
    main()
