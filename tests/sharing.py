"""What several processes do that share an analysis, for tests that start them; and how they are started."""

import multiprocessing
import os
import signal
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any

import torch
from torch import distributed, nn
from torch.nn.functional import cross_entropy

import gradlaw as gl
from gradlaw.cli.main import main
from gradlaw.history.collect_sharded import collect_sharded
from gradlaw.history.stores.zarr_store import DiskGradients
from gradlaw.minibatches import Minibatches
from gradlaw.ranks import join
from gradlaw.spectra.gram.history_gram import history_gram
from gradlaw.zoo import GPT, ModelSettings, next_token_loss

ALONG = (gl.ClipByNorm(0.5), gl.WeightDecay(1e-2), gl.Momentum(0.9))
CASES: dict[str, dict[str, Any]] = {
    "plain autograd": {"network": "dense", "engine": "loop", "controls": True, "extended": True},
    "the fastest engine": {"network": "dense", "engine": "auto"},
    "a convolution with batch norm": {"network": "residual", "engine": "auto"},
    "an optimiser's updates": {"network": "dense", "engine": "loop", "transforms": ALONG, "dtype": "bfloat16"},
    "Adam": {"network": "dense", "engine": "loop", "transforms": (gl.Adam(),)},
    "randomness": {"network": "dropout", "engine": "loop", "dtype": "float16"},
}


@dataclass(frozen=True)
class InFolder:
    """A function of a rank and a folder, as a function of the rank."""

    function: Callable[[int, Path], Any]
    folder: Path

    def __call__(self, rank: int) -> Any:
        return self.function(rank, self.folder)


class Residual(nn.Module):
    """A block of a ResNet, with the statistics of the minibatch."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = nn.Conv2d(1, 6, 3, padding=1), nn.BatchNorm2d(6)
        self.second, self.head = nn.Conv2d(6, 6, 3, padding=1), nn.Linear(6, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.norm(self.first(x)).relu()
        return self.head((h + self.second(h)).relu().mean(dim=(2, 3)))


def problem(network: str = "dense") -> gl.Problem:
    """A small problem: 300 dimensions or so, five of which are always zero."""
    torch.manual_seed(0)
    inputs, targets = torch.randn(90, 1, 4, 4), torch.randint(3, (90,))
    inputs[:, :, 0, 0] = 0
    if network == "residual":
        return gl.Problem(Residual(), cross_entropy, (inputs, targets))
    inner = nn.Dropout(0.5) if network == "dropout" else nn.Identity()
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 14), nn.Tanh(), inner, nn.Linear(14, 3))
    return gl.Problem(model, cross_entropy, (inputs, targets), randomness="seeded")


def analysis(network: str, **settings: Any) -> gl.Analysis:
    return gl.analyze(problem(network), 61, 4, k=25, gaussian_k=30, seed=3, **settings)


def all_cases(rank: int) -> dict[str, gl.Analysis]:
    return {name: analysis(**case) for name, case in CASES.items()}


def _message(call: Callable[[], object]) -> str:
    try:
        call()
    except gl.InputError as error:
        return str(error)
    return "nothing"


def _moved(rank: int, index: int) -> gl.Problem:
    changed = problem("residual")
    if rank == 1:
        with torch.no_grad():
            [*changed.model.parameters(), *changed.model.buffers(), changed.data[0]][index].flatten()[0] += 1
    return changed


def _other_loss(rank: int) -> gl.Problem:
    def loss(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return cross_entropy(outputs, targets) * (1.5 if rank == 1 else 1)

    return gl.Problem(problem().model, loss, problem().data)


def _not_finite() -> gl.Problem:
    """The sample of iteration 12 of 20, which the third of four ranks computes."""
    changed = problem()
    changed.data[0][Minibatches(90, 1, 20)[12]] = float("nan")
    return changed


def refusals(rank: int) -> dict[str, str]:
    """By what is wrong: what this rank was told."""
    small = {"iterations": 20, "batch_size": 1, "k": 5}
    wrong = {
        "a parameter": lambda: gl.analyze(_moved(rank, 0), **small),
        "a buffer": lambda: gl.analyze(_moved(rank, 9), **small),
        "data": lambda: gl.analyze(_moved(rank, -1), **small),
        "a loss": lambda: gl.analyze(_other_loss(rank), **small),
        "a setting": lambda: gl.analyze(problem(), 20, k=5 + rank),
        "iterations": lambda: gl.analyze(problem(), 20 + rank, k=5),
        "few iterations": lambda: gl.analyze(problem(), 3, k=2),
        "not finite": lambda: gl.analyze(_not_finite(), engine="loop", **small),
        "store": lambda: gl.analyze(problem(), store=f"history-{rank}", **small),
        "out of range": lambda: gl.analyze(_steep(), dtype="float16", engine="loop", **small),
        "sketch": lambda: gl.analyze(problem(), sketch=256, **small),
    }
    return {name: _message(call) for name, call in wrong.items()}


def _steep() -> gl.Problem:
    """A loss whose gradients float16 does not hold."""

    def loss(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return 1e7 * cross_entropy(outputs, targets)

    return gl.Problem(problem().model, loss, problem().data)


def stored(rank: int, folder: Path) -> list[Any]:
    """A history that is kept, twice, the second time read; and an analysis that reads it."""
    settings: dict[str, Any] = {"seed": 3, "engine": "loop", "dtype": "bfloat16", "store": folder / "history"}
    made, read = (collect_sharded(join(), problem(), 61, 4, band_bytes=12_000, **settings) for _ in range(2))
    assert torch.equal(made.share, read.share)
    return [made.settings, read.settings, gl.analyze(problem(), 61, 4, k=25, gaussian_k=30, **settings)]


def killed_while_keeping(rank: int, folder: Path) -> str:
    """The second rank is killed where it writes its first chunks."""
    if rank == 1:
        DiskGradients.write = lambda self, first, rows: os.kill(os.getpid(), signal.SIGKILL)
    try:
        gl.analyze(problem(), 61, 4, k=25, engine="loop", store=folder / "history")
    except RuntimeError as error:
        return str(error)
    return "nothing"


AT_CHECKPOINTS: dict[str, Any] = {"iterations": 20, "batch_size": 4, "k": 5, "engine": "loop"}


def weights(folder: Path) -> list[Path]:
    """Files of two weights of the small problem."""
    paths = [folder / "early.pt", folder / "late.pt"]
    for scale, path in enumerate(paths, 1):
        torch.save({name: scale * value for name, value in problem().model.state_dict().items()}, path)
    return paths


def checkpoints(rank: int, folder: Path) -> list[gl.CheckpointAnalyses]:
    """The analyses at both weights, measured and then read."""
    files = [folder / "early.pt", folder / "late.pt"]
    return [gl.analyze_checkpoints(problem(), files, folder / "shared", **AT_CHECKPOINTS) for _ in range(2)]


def wrapped(rank: int) -> dict[str, gl.Analysis]:
    """DistributedDataParallel around the model; and one rank by itself while the others do something else."""
    plain = problem()
    parallel = gl.Problem(nn.parallel.DistributedDataParallel(plain.model), plain.loss, plain.data)
    return {"parallel": gl.analyze(parallel, 20, k=5), "alone": gl.analyze(plain, 20 + rank, k=5, ranks="one")}


def gpt() -> gl.Problem:
    """A transformer whose first and last weights are one parameter."""
    torch.manual_seed(1)
    model = GPT(11, context=8, width=8, depth=2, heads=2)
    return gl.Problem(model, next_token_loss, (torch.randint(11, (40, 8)), torch.randint(11, (40, 8))))


def gram_of_layers(rank: int) -> tuple[torch.Tensor, torch.Tensor, float, Any]:
    """The Gram matrix layer by layer, and from the gradients."""
    net = problem()
    history = collect_sharded(join(), net, 40, 1, engine="layerwise")
    by_layers, dense = history_gram(history, net, least_saved=1.0), history_gram(history, net)
    return by_layers.gram, dense.gram, by_layers.rounding, gl.gradient_spectrum(history).eigenvalues


def spread(rank: int) -> dict[str, Any]:
    """The same spread by fully_shard, used before and after; and what is spread in other ways."""
    from torch.distributed.device_mesh import init_device_mesh  # these take seconds to load
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
    from torch.distributed.tensor.parallel import ColwiseParallel, parallelize_module

    plain = gpt()
    model, tokens = plain.model, plain.data[0][:2]
    mesh = init_device_mesh("cpu", (2,))
    with torch.no_grad():
        before = model(tokens)
    for block in model.blocks:
        fully_shard(block, mesh=mesh)
    fully_shard(model, mesh=mesh)
    gathered = gl.Problem(model, plain.loss, plain.data)
    found = gl.analyze(gathered, 30, 2, k=10, engine="loop")
    curvature = gl.hessian_spectrum(gathered, 3, samples=9, dtype=torch.float64)
    with torch.no_grad():
        unmoved = torch.allclose(model(tokens), before, atol=1e-5)
    half = nn.Sequential(nn.Linear(4, 4))
    fully_shard(half, mesh=mesh, mp_policy=MixedPrecisionPolicy(param_dtype=torch.bfloat16))
    by_tensors = parallelize_module(nn.Sequential(nn.Linear(4, 4)), mesh, {"0": ColwiseParallel()})
    data = torch.randn(8, 4), torch.randn(8, 4)
    refused = [_message(lambda m=m: gl.Problem(m, nn.functional.mse_loss, data)) for m in (half, by_tensors)]
    return {"analysis": found, "curvature": curvature, "unmoved": unmoved, "refused": refused}


def dying(rank: int) -> str:
    """The second rank is killed in the middle of its work."""
    inputs, targets = problem().data

    def loss(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        loss.calls += 1
        if rank == 1 and loss.calls == 60:
            os.kill(os.getpid(), signal.SIGKILL)
        return cross_entropy(outputs, targets)

    loss.calls = 0
    try:
        gl.analyze(gl.Problem(problem().model, loss, (inputs, targets)), 2000, engine="loop")
    except RuntimeError as error:
        return str(error)
    return "nothing"


def commands(rank: int, size: int, folder: str) -> None:
    """What torchrun starts: a command that works, the same again, two with checkpoints, and another command."""
    os.chdir(folder)
    place = Path(folder, "ports")
    if rank == 0:
        for seed in (1, 2):
            torch.save(ModelSettings("lnn", (1, 8, 8), 10, seed).build().state_dict(), f"weights-{seed}.pt")
        with ExitStack() as stack:
            servers = [stack.enter_context(socket.create_server(("localhost", 0))) for _ in range(4)]
            place.with_suffix(".new").write_text(" ".join(str(server.getsockname()[1]) for server in servers))
        place.with_suffix(".new").rename(place)
    while not place.exists():
        time.sleep(0.02)
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(size), "MASTER_ADDR": "localhost"}
    arguments = ["analyze", "--iterations", "40", "--k", "10", "--gaussian-k", "20", "--quiet", "--out"]
    told = []
    options = [["run"], ["run"], ["none", "--checkpoints", "nothing-*.pt"],
               ["more", "--model", "lnn", "--checkpoints", "weights-*.pt"]]  # fmt: skip
    for port, option in zip(place.read_text().split(), options, strict=True):
        os.environ["MASTER_PORT"] = port
        told.append(_told([*arguments, *option]))
    told.append(_told(["report", "run"]))
    torch.save(told, f"{folder}/{rank}-of-{size}.pt")


def _told(arguments: list[str]) -> tuple[int, str, str]:
    """Status, and what is printed to either stream."""
    with redirect_stdout(StringIO()) as out, redirect_stderr(StringIO()) as err:
        status = main(arguments)
    return status, out.getvalue(), err.getvalue()


def _work(function: Callable[[int], Any], rank: int, size: int, folder: str) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", f"file://{folder}/store-{size}", rank=rank, world_size=size)
    torch.save(function(rank), f"{folder}/{rank}-of-{size}.pt")


def run(function: Callable[[int], Any], size: int, folder: Path) -> list[Any]:
    """What ``function`` returns on each of ``size`` ranks of a Gloo group; None of one that has died."""
    return start(partial(_work, function), size, folder)


def start(work: Callable[[int, int, str], None], size: int, folder: Path) -> list[Any]:
    """What processes called with a rank, ``size`` and a folder leave there, by rank."""
    context = multiprocessing.get_context("forkserver")  # imports once; ranks are forks of it
    context.set_forkserver_preload(["torch", "gradlaw.analyze", "pandas"])
    ranks = [context.Process(target=work, args=(rank, size, str(folder))) for rank in range(size)]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join()
    files = [folder / f"{rank}-of-{size}.pt" for rank in range(size)]
    return [torch.load(file, weights_only=False) if file.exists() else None for file in files]
