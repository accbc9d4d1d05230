"""A run of the eigensolver that kills itself on the way.

python killable.py FOLDER MEMORY OUT EVENT:COUNT...    # SIGKILL at the COUNT-th "product" or "rename" of a file

Each run is a process of its own, forked from one that has the imports done; what each ended with is printed.
"""

import os
import signal
import sys
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gradlaw.curvature.eigensolver.eigenpairs import Eigenpairs, eigenpairs
from gradlaw.curvature.operators.base import CurvatureOperator
from matrices import symmetric

N, K = 400, 20


class Countdown:
    """Kills the process at the last of so many calls; never, if it starts from 0."""

    def __init__(self, calls: int):
        self.left = calls

    def __call__(self) -> None:
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


class Fragile(CurvatureOperator):
    name, dimensions, dtype, device = "matrix", N, torch.float64, torch.device("cpu")

    def __init__(self, countdown: Countdown):
        self.matrix, self.countdown = torch.from_numpy(symmetric(np.linspace(-1, 1, N))), countdown

    def _product(self, block: Tensor) -> Tensor:
        self.countdown()
        return self.matrix @ block


def run(folder: Path | None, memory: int, countdown: Countdown) -> Eigenpairs:
    """The run, without checkpoints if there is no folder."""
    return eigenpairs(Fragile(countdown), K, memory=memory, checkpoint=folder, save_seconds=0)


def main(folder: str, memory: str, out: str, *kills: str) -> None:
    """One run after the other, until one has finished."""
    torch.set_num_threads(1)  # a pool of threads does not survive a fork
    for kill in kills:
        child = os.fork()
        if child == 0:
            once(folder, memory, *kill.split(":"), out)
            os._exit(0)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
        if Path(out).exists():
            break


def once(folder: str, memory: str, event: str, count: str, out: str) -> None:
    """The run, saving after every product."""
    countdown, rename = Countdown(int(count)), Path.replace
    if event == "rename":

        def replace(self: Path, target: Path) -> Path:
            countdown()
            return rename(self, target)

        Path.replace = replace
    pairs = run(Path(folder), int(memory), countdown if event == "product" else Countdown(0))
    np.savez(out, eigenvalues=pairs.eigenvalues, residuals=pairs.residuals, vectors=pairs.vectors.numpy(),
             counts=[pairs.products, pairs.restarts])  # fmt: skip


if __name__ == "__main__":
    main(*sys.argv[1:])
