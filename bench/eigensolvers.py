"""Ways to the largest eigenpairs of a Hessian, as one process each.

python eigensolvers.py FOLDER NAME K   ->   one line of JSON on stdout

FOLDER is what cases.py wrote; its minibatches are the chunks in which the samples are taken. gradlaw runs first, in its
own interpreter, and leaves its eigenvalues and number of products in FOLDER; everything else runs in that of the peers.
"""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from cases import Work
from contest import perform
from multipliers import batches, double_backward
from torch import nn
from torch.nn.functional import cross_entropy

TOLERANCE = 1e-6
_CHECKED = 20  # pairs, evenly spread
Pairs = tuple[np.ndarray, np.ndarray]  # eigenvalues (k,), descending, and eigenvectors (k, n)
Solve = Callable[[Work, int, Path], Pairs]


def gradlaw(work: Work, k: int, folder: Path, measure: int | None = None) -> Pairs:
    """With the residuals of all pairs measured, or of some."""
    import gradlaw as gl
    from gradlaw.curvature.eigensolver.eigenpairs import eigenpairs
    from gradlaw.curvature.operators.hessian import hessian

    operator = hessian(gl.Problem(work.model, cross_entropy, (work.inputs, work.targets)))
    pairs = eigenpairs(operator, k, tol=TOLERANCE, measure=measure)
    if k > 1:
        np.savez(folder / "gradlaw.npz", eigenvalues=pairs.eigenvalues, steps=pairs.products - pairs.measured.sum())
        print(f"{pairs.products} products, {pairs.converged.sum()} of {k} converged", file=sys.stderr)
    return pairs.eigenvalues, pairs.vectors.numpy()


def arpack(work: Work, k: int, folder: Path) -> Pairs:
    """ARPACK's tolerance is relative to each eigenvalue; this one asks gradlaw's residual of the k-th pair."""
    from curvlinops import HessianLinearOperator
    from scipy.sparse.linalg import eigsh

    loss, parameters = nn.CrossEntropyLoss(), list(work.model.parameters())
    operator = HessianLinearOperator(work.model, loss, parameters, batches(work), check_deterministic=False)
    found = np.ones(1) if k == 1 else np.load(folder / "gradlaw.npz")["eigenvalues"]
    values, vectors = eigsh(operator.to_scipy(), k, which="LA", tol=TOLERANCE * found[0] / found[-1])
    descending = np.argsort(-values)
    return values[descending], vectors.T[descending]


def eigenthings(work: Work, k: int, folder: Path, reorthogonalize: bool = True) -> Pairs:
    """With as many steps as gradlaw found out to be enough."""
    from hessian_eigenthings import lanczos
    from hessian_eigenthings.operators import HessianOperator

    operator = HessianOperator(work.model, batches(work), lambda model, batch: cross_entropy(model(batch[0]), batch[1]))
    steps = 2 if k == 1 else int(np.load(folder / "gradlaw.npz")["steps"])
    found = lanczos(operator, k=k, max_iter=steps, which="LA", reorthogonalize=reorthogonalize, seed=0)
    return found.eigenvalues.numpy(), found.eigenvectors.numpy()


CONTENDERS: dict[str, Solve] = {
    "gradlaw": gradlaw,
    "gradlaw-unmeasured": lambda work, k, folder: gradlaw(work, k, folder, measure=0),
    "arpack": arpack,
    "eigenthings": eigenthings,
    "eigenthings-default": lambda work, k, folder: eigenthings(work, k, folder, reorthogonalize=False),
}


def error(work: Work, folder: Path, pairs: Pairs) -> float:
    """The larger of a residual and a difference to gradlaw's eigenvalues, relative to the largest eigenvalue."""
    values, vectors = pairs
    reference = np.load(folder / "gradlaw.npz")["eigenvalues"]
    multiply = double_backward(work, torch.float64)
    worst = float(np.abs(values - reference).max())
    for i in np.linspace(0, len(values) - 1, min(_CHECKED, len(values))).astype(int):
        vector = torch.from_numpy(vectors[i]).double()
        worst = max(worst, float((multiply(vector) - float(values[i]) * vector).norm() / vector.norm()))
    return worst / float(reference[0])


if __name__ == "__main__":
    where, name, count = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    case = Work.read(where)
    small = Work(case.model, case.inputs[:8], case.targets[:8], torch.arange(8)[None])
    perform(
        lambda: CONTENDERS[name](case, count, where),
        lambda: CONTENDERS[name](small, 1, where),
        lambda pairs: error(Work.read(where), where, pairs),
    )
