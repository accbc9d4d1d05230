"""What several processes do that share a Hessian or a Gauss-Newton matrix, for tests that start them."""

import os
import shutil
import signal
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.func import functional_call
from torch.nn.functional import cross_entropy

import gradlaw as gl
import sharing
from gradlaw.curvature import CurvatureOperator, Eigenpairs
from gradlaw.curvature.eigensolver.checkpoint import SolverState
from gradlaw.ranks import join

K, SAMPLES = 6, 57
CASES: dict[str, dict[str, Any]] = {
    "an MLP": {},
    "batch norm by minibatches, some anew": {"batch_size": 9, "chunk_samples": 9, "memory": 20_000},
    "ignored labels": {},
    "Gauss-Newton": {"matrix": "gauss_newton"},
    "fewer samples than ranks": {"samples": 3},
}
N, ROWS = 150, 63  # of a matrix at hand, and of the basis before a restart


@dataclass(frozen=True)
class Found:
    """Of one case."""

    product: torch.Tensor
    pairs: Eigenpairs
    vectors: torch.Tensor
    density: Any
    notices: tuple[str, ...]


def problem(name: str) -> gl.Problem:
    """A small problem in float64, 63 dimensions or so."""
    torch.manual_seed(0)
    inputs, targets = torch.randn(SAMPLES, 6, dtype=torch.float64), torch.randint(3, (SAMPLES,))
    inner = nn.BatchNorm1d(6) if "batch norm" in name else nn.Identity()
    model = nn.Sequential(nn.Identity(), nn.Linear(6, 6), inner, nn.Tanh(), nn.Linear(6, 3)).double()
    if name == "ignored labels":
        targets[::5] = -100
    return gl.Problem(model, cross_entropy, (inputs, targets))


def operator(name: str, net: gl.Problem | None = None) -> CurvatureOperator:
    settings = {key: value for key, value in CASES[name].items() if key != "matrix"}
    make = gl.gauss_newton if CASES[name].get("matrix") else gl.hessian
    return make(net or problem(name), **settings)


def dense_by_autograd(name: str) -> np.ndarray:
    """The matrix by plain autograd, of all samples at once or as the mean over the operator's minibatches."""
    net, made = problem(name), operator(name)
    pieces = np.atleast_2d(made._samples.indices)
    return np.mean([_dense(net, piece, CASES[name].get("matrix")) for piece in pieces], axis=0)


def _dense(net: gl.Problem, indices: np.ndarray, matrix: str | None) -> np.ndarray:
    names = [part.name for part in net.layout]
    shapes = [p.shape for p in net.parameters()]
    theta = torch.cat([p.detach().flatten() for p in net.parameters()])
    inputs, targets = net.data[0][indices], net.data[1][indices]

    def outputs(flat: torch.Tensor) -> torch.Tensor:
        parts = flat.split([s.numel() for s in shapes])
        state = {n: p.view(s) for n, p, s in zip(names, parts, shapes, strict=True)}
        return functional_call(net.model, state, (inputs,))

    def loss(logits: torch.Tensor) -> torch.Tensor:
        return cross_entropy(logits.view(-1, 3), targets)

    if matrix is None:
        return torch.autograd.functional.hessian(lambda flat: loss(outputs(flat)), theta).numpy()
    jacobian = torch.autograd.functional.jacobian(outputs, theta).reshape(-1, len(theta))
    inner = torch.autograd.functional.hessian(loss, outputs(theta).flatten().detach())
    return (jacobian.T @ inner @ jacobian).numpy()


class Dense(CurvatureOperator):
    """Evenly spaced eigenvalues, the fifth of them three times; each rank multiplies some columns of the matrix."""

    name, dimensions, dtype, device = "matrix at hand", N, torch.float64, torch.device("cpu")

    def __init__(self) -> None:
        values = np.linspace(1, 0, N)
        values[5:7] = values[4]
        self.eigenvalues, self.ranks = values, join()
        rotation = np.linalg.qr(np.random.default_rng(0).standard_normal((N, N)))[0]
        self.matrix, self.columns = torch.from_numpy(rotation * values @ rotation.T), self.ranks.share(N)

    def _product(self, block: torch.Tensor) -> torch.Tensor:
        own = slice(self.columns.start, self.columns.stop)
        return self.ranks.sum(self.matrix[:, own] @ block[own])


def search(folder: Path | None = None, on_disk: bool = False) -> Eigenpairs:
    """Of the matrix at hand, with restarts."""
    matrix = Dense()
    memory = 0 if on_disk else 8 * ROWS * -(-N // matrix.ranks.size)
    return gl.eigenpairs(matrix, 6, tol=1e-10, memory=memory, checkpoint=folder, save_seconds=0)


SEARCHES = {"in memory": search, "on disk": partial(search, on_disk=True)}
EVERY = (*SEARCHES, *CASES)


@dataclass(frozen=True)
class Run:
    """Some cases by name, one after the other, as a function of the rank."""

    names: tuple[str, ...]

    def __call__(self, rank: int) -> dict[str, Any]:
        return {name: _found(name) if name in CASES else SEARCHES[name]() for name in self.names}


def _found(name: str) -> Found:
    made = operator(name)
    vector = torch.from_numpy(np.random.default_rng(1).standard_normal(made.dimensions))
    pairs = gl.eigenpairs(made, K, tol=1e-12)
    density = gl.spectral_density(made, probes=2, steps=8)
    return Found(made @ vector, pairs, pairs.vectors[:3], density, made.notices)


class Stopped(Exception):
    pass


def stopped(rank: int, folder: Path) -> str:
    """A search that ends after 20 saves."""
    save, saves = SolverState.save, []

    def save_and_stop(self: SolverState, state: Any, basis: Any) -> None:
        save(self, state, basis)
        saves.append(1)
        if len(saves) == 20:
            raise Stopped

    SolverState.save = save_and_stop
    try:
        search(folder / "state", on_disk=True)
    except Stopped:
        return "stopped"
    finally:
        SolverState.save = save
    return "not stopped"


def resumed(rank: int, folder: Path) -> tuple[Eigenpairs, list[str]]:
    """The result, and what is left of the state."""
    return search(folder / "state", on_disk=True), sorted(path.name for path in folder.glob("state/*"))


def resumed_by(size: int, saved: Path, folder: Path) -> list[tuple[Eigenpairs, list[str]]]:
    shutil.copytree(saved / "state", folder / "state")
    if size == 1:
        return [resumed(0, folder)]
    return sharing.run(sharing.InFolder(resumed, folder), size, folder)


def refusals(rank: int, folder: Path) -> dict[str, str]:
    """By what is wrong: what this rank was told."""
    made, moved, tiny = operator("an MLP"), problem("an MLP"), nn.Linear(1, 2, bias=False)
    if rank == 1:
        with torch.no_grad():
            moved.model[1].weight[0, 0] += 1
    data = torch.randn(9, 1), torch.randn(9, 2)
    broken = problem("an MLP")
    broken.data[0][50] = float("nan")
    wrong = {
        "a parameter": lambda: operator("an MLP", moved),
        "another matrix": lambda: (gl.gauss_newton if rank == 1 else gl.hessian)(problem("an MLP")),
        "vectors": lambda: made @ torch.full((made.dimensions,), 1.0 + rank),
        "k": lambda: gl.eigenpairs(made, 3 + rank),
        "few dimensions": lambda: gl.hessian(gl.Problem(tiny, nn.functional.mse_loss, data)),
        "not finite": lambda: gl.hessian(broken),
        "a product": lambda: _failing(rank, operator("an MLP")),
        "a damaged file": lambda: _damaged(rank, folder),
    }
    return {name: sharing._message(call) for name, call in wrong.items()}


def _failing(rank: int, made: Any) -> None:
    def fail(tangents: Any, total: torch.Tensor) -> None:
        raise gl.InputError("it fails here")

    if rank == 1:
        made._add_own = fail
    gl.eigenpairs(made, 3)


def _damaged(rank: int, folder: Path) -> None:
    """Rows of the last rank are changed on the disk."""
    assert stopped(rank, folder) == "stopped"
    if rank == 2:
        path = max(folder.glob("state/basis-*-2-of-3.npy"))
        content = bytearray(path.read_bytes())
        content[200] ^= 1
        path.write_bytes(content)
    search(folder / "state", on_disk=True)


def dying(rank: int) -> str:
    """The second rank is killed in the middle of its work."""
    made, calls = operator("an MLP"), []
    product = type(made)._product

    def counted(self: Any, block: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        if rank == 1 and len(calls) == 15:
            os.kill(os.getpid(), signal.SIGKILL)
        return product(self, block)

    type(made)._product = counted
    try:
        gl.eigenpairs(made, K)
    except RuntimeError as error:
        return str(error)
    return "nothing"
