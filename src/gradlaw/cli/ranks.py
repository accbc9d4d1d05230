"""A command on several ranks, as ``torchrun`` starts them: who they are, and that they find one another."""

import argparse
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch

from gradlaw.errors import InputError, RankLost
from gradlaw.ranks import ALONE, RankGroup, join

_START_SECONDS = 300  # for machines that are slow to start
_JOIN_SECONDS = 60  # after which all are there


@contextmanager
def ranks_of(options: argparse.Namespace) -> Iterator[RankGroup]:
    """The ranks of the command, around its work; with ``--device cuda`` each takes the GPU of its number.

    Raises:
        InputError: a rank does not come, or a device that all would share.
        RankLost: a rank has died.
    """
    if not started_by_torchrun():
        yield ALONE
        return
    on_gpu = options.device is not None and options.device.startswith("cuda")
    if on_gpu:
        if options.device != "cuda":
            raise InputError(
                f"--device {options.device} names one GPU for every rank; --device cuda gives each its own"
            )
        options.device = f"cuda:{os.environ['LOCAL_RANK']}"
        torch.cuda.set_device(options.device)
    torch.distributed.init_process_group(
        "cpu:gloo,cuda:nccl" if on_gpu else "gloo", timeout=timedelta(seconds=_START_SECONDS)
    )
    try:
        group = join(_JOIN_SECONDS)
        with group.alive():
            yield group
    except RankLost:  # to take leave of a group would wait for the lost
        raise
    except BaseException:
        torch.distributed.destroy_process_group()
        raise
    torch.distributed.destroy_process_group()


def started_by_torchrun() -> bool:
    """Whether the environment says that there are several ranks, and where they meet."""
    needed = ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
    return int(os.environ.get("WORLD_SIZE", "1")) > 1 and all(name in os.environ for name in needed)
