"""Ways to the Gram matrix G G^T in float64; one of them runs in this process.

python gram_products.py FOLDER NAME   ->   one line of JSON on stdout

FOLDER is what cases.py wrote; NAME "history" collects the gradients that the others multiply. The plain product
leaves its result in FOLDER, and the results of all others are compared with it.
"""

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from cases import Work
from contest import perform
from scipy.linalg.blas import dsyrk
from torch import Tensor
from torch.nn.functional import cross_entropy

import gradlaw as gl
from gradlaw.minibatches import Minibatches
from gradlaw.spectra.gram.dense import gram_matrix
from gradlaw.spectra.gram.factored import factor_gram

_WARM_UP = 8  # iterations


def plain(gradients: Tensor) -> Tensor:
    """The product as written."""
    wide = gradients.double()
    return wide @ wide.T


def syrk(gradients: Tensor) -> Tensor:
    """BLAS's symmetric product, by way of SciPy."""
    wide = gradients.double().numpy()
    lower = torch.from_numpy(dsyrk(1.0, wide.T, trans=1, lower=1))
    return lower.tril() + lower.tril(-1).T


def factors(work: Work) -> Tensor:
    """From the network and images; no gradient history."""
    iterations, batch_size = work.indices.shape
    return factor_gram(_problem(work), Minibatches(len(work.inputs), batch_size, iterations)).gram


def collected(work: Work) -> Tensor:
    """From the network and images by way of a gradient history."""
    return gram_matrix(_history(work))


def _history(work: Work) -> Tensor:
    iterations, batch_size = work.indices.shape
    return gl.collect(_problem(work), iterations, batch_size, seed=0, store="memory").gradients


def _problem(work: Work) -> gl.Problem:
    return gl.Problem(work.model, cross_entropy, (work.inputs, work.targets))


OF_HISTORY: dict[str, Callable[[Tensor], Tensor]] = {"plain": plain, "blocks": gram_matrix, "syrk": syrk}
OF_PROBLEM: dict[str, Callable[[Work], Tensor]] = {"factors": factors, "collected": collected}


def difference(folder: Path, gram: Tensor) -> float:
    """||gram - reference|| / ||reference||."""
    path = folder / "reference.npy"
    if not path.exists():
        np.save(path, gram.numpy())
    reference = torch.from_numpy(np.load(path))
    return float((gram - reference).norm() / reference.norm())


def main(folder: Path, name: str) -> None:
    """Run one contender."""
    check = partial(difference, folder)
    if name == "history":
        np.save(folder / "history.npy", _history(Work.read(folder)).numpy())
    elif name == "eigenvalues":
        gram = torch.from_numpy(np.load(folder / "reference.npy"))
        perform(lambda: torch.linalg.eigvalsh(gram), lambda: torch.linalg.eigvalsh(gram[:8, :8]), lambda _: None)
    elif name in OF_HISTORY:
        product, gradients = OF_HISTORY[name], torch.from_numpy(np.load(folder / "history.npy"))
        perform(lambda: product(gradients), lambda: product(gradients[:_WARM_UP]), check)
    else:
        way, work = OF_PROBLEM[name], Work.read(folder)
        perform(lambda: way(work), lambda: way(work.first(_WARM_UP)), check)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
