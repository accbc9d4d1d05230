"""What two processes under DistributedDataParallel do when they are watched, for tests that start them."""

import json
from pathlib import Path

import torch
from torch import distributed, nn
from torch.nn import functional as F

import gradlaw as gl
from gradlaw.watch import Ranks
from watched_loops import batches, network

RANKS, STEPS = 2, 4


def work(rank: int, folder: str) -> None:
    """Train with accumulation, clipping and one bucket a layer; each step's gradients are written down as received."""
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", f"file://{folder}/store", rank=rank, world_size=RANKS)
    model = nn.parallel.DistributedDataParallel(network(), bucket_cap_mb=0.001)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    gl.watch(model, optimizer, log=f"{folder}/log.jsonl", every=1, noise=Ranks(samples=32))
    received = []

    def keep(*_: object) -> None:
        received.append({name: float(p.grad.double().norm()) for name, p in model.module.named_parameters()})

    optimizer.register_step_post_hook(keep)
    data = iter(batches(2 * STEPS, seed=10 + rank))
    for _ in range(STEPS):
        optimizer.zero_grad()
        with model.no_sync():
            inputs, labels = next(data)
            (F.cross_entropy(model(inputs), labels) / 2).backward()
        inputs, labels = next(data)
        (F.cross_entropy(model(inputs), labels) / 2).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.2)
        optimizer.step()
    Path(folder, f"received-{rank}.json").write_text(json.dumps(received))
    distributed.barrier()
    distributed.destroy_process_group()


def alone() -> tuple[list[dict[str, float]], list[float]]:
    """The same training in one process: norms of the parameters' gradients after clipping, and of all before it."""
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    data = [iter(batches(2 * STEPS, seed=10 + rank)) for rank in range(RANKS)]
    after, before = [], []
    for _ in range(STEPS):
        optimizer.zero_grad()
        for part in (*data, *data):
            inputs, labels = next(part)
            (F.cross_entropy(model(inputs), labels) / 4).backward()
        before.append(float(nn.utils.clip_grad_norm_(model.parameters(), 0.2)))
        after.append({name: float(p.grad.double().norm()) for name, p in model.named_parameters()})
        optimizer.step()
    return after, before
