"""What two processes under DistributedDataParallel do, for tests that start them."""

from pathlib import Path
from typing import Any

import torch
from torch import distributed, nn
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import fp16_compress_hook

from gradlaw.errors import InputError
from gradlaw.watch.ranks import RankNorms

RANKS = 2


def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 50), nn.Tanh(), nn.Linear(50, 3))


def rows(rank: int, step: int, size: int) -> torch.Tensor:
    return torch.randn(size, 6, generator=torch.Generator().manual_seed(100 * step + rank))


def loss(net: nn.Module, x: torch.Tensor) -> torch.Tensor:
    return (net(x) - 1).square().mean()


def layers(net: nn.Module) -> dict[str, list[torch.Tensor]]:
    return {"first": list(net[0].parameters()), "last": list(net[2].parameters())}


def _summed(_: Any, bucket: distributed.GradBucket) -> torch.futures.Future[torch.Tensor]:
    work = distributed.all_reduce(bucket.buffer(), async_op=True)
    return work.get_future().then(lambda future: future.value()[0])


def _first_half(_: Any, bucket: distributed.GradBucket) -> torch.futures.Future[torch.Tensor]:
    """As hooks that project gradients do."""
    bucket.buffer()[bucket.buffer().numel() // 2 :] = 0
    work = distributed.all_reduce(bucket.buffer().div_(RANKS), async_op=True)
    return work.get_future().then(lambda future: future.value()[0])


CASES: dict[str, dict[str, Any]] = {
    "equal sizes": {"sizes": (8, 8)},
    "accumulated": {"sizes": (8, 8), "microbatches": 4},
    "equal weights": {"sizes": (2, 6), "weights": "equal"},
    "weights by samples": {"sizes": (2, 6), "weights": "samples"},
    "no weights": {"sizes": (2, 6)},
    "summed": {"sizes": (8, 8), "hook": _summed},
    "projected": {"sizes": (8, 8), "hook": _first_half},
    "half": {"sizes": (8, 8), "hook": fp16_compress_hook, "rounding": 1e-6},
    "half allowed for": {"sizes": (8, 8), "hook": fp16_compress_hook, "rounding": 1e-3},
}


def work(rank: int, folder: Path) -> None:
    """Train a little in every case, and write down what each step's norms were."""
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", f"file://{folder}/store", rank=rank, world_size=RANKS)
    torch.save({name: _steps(rank, **case) for name, case in CASES.items()}, folder / f"rank{rank}.pt")
    distributed.destroy_process_group()


def _steps(
    rank: int,
    sizes: tuple[int, int],
    microbatches: int = 1,
    weights: str | None = None,
    hook: Any = None,
    rounding: float = 1e-4,
) -> list[Any]:
    net = model()
    parallel = nn.parallel.DistributedDataParallel(net, bucket_cap_mb=0.001)
    norms = RankNorms(parallel, layers(net), hook=hook, rounding=rounding)
    found: list[Any] = []
    for step in range(3):
        parallel.zero_grad()
        if step != 1:
            norms.start()
        size = sizes[rank]
        scale = size / (sum(sizes) / RANKS) if weights == "samples" else 1
        parts = rows(rank, step, size).chunk(microbatches)
        for x in parts[:-1]:
            with parallel.no_sync():
                (scale * loss(parallel, x) / len(parts)).backward()
        (scale * loss(parallel, parts[-1]) / len(parts)).backward()
        try:
            found.append(norms.finish(size, weights))
        except InputError as error:
            found.append(str(error))
    return found
