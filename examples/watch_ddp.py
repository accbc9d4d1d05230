"""Watch a run of two processes under DistributedDataParallel, on the CPU: the log is the first one's.

python examples/watch_ddp.py [FOLDER]
"""

import os
import sys
import tempfile
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel

import gradlaw as gl

RANKS, STEPS = 2, 20


def train(rank: int, folder: str) -> None:
    """One process: half of every batch; the gradients that the optimiser receives are the means over both."""
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=RANKS, timeout=timedelta(seconds=60)
    )
    torch.manual_seed(0)
    model = DistributedDataParallel(nn.Sequential(nn.Linear(20, 60), nn.Tanh(), nn.Linear(60, 4)))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    gl.watch(model, optimizer, log=f"{folder}/watch.jsonl", every=5)
    rng = torch.Generator().manual_seed(rank)
    for _ in range(STEPS):
        inputs, labels = torch.randn(16, 20, generator=rng), torch.randint(4, (16,), generator=rng)
        optimizer.zero_grad()
        F.cross_entropy(model(inputs), labels).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.1)
        optimizer.step()
    dist.barrier()  # no process leaves before the other is done
    dist.destroy_process_group()


def main(folder: str) -> None:
    """Start both, and print what the first wrote."""
    os.makedirs(folder, exist_ok=True)
    Path(folder, "rendezvous").unlink(missing_ok=True)
    mp.spawn(train, args=(folder,), nprocs=RANKS)
    log = gl.read_watch(f"{folder}/watch.jsonl")
    print(log)
    print(log.to_frame()[["step", "layer", "norm", "update_ratio"]].to_string(index=False))
    print(log.gradients()[["step", "change", "factor", "delivered_norm", "ranks"]].to_string(index=False))


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp())
