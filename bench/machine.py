"""What a benchmark ran on, and how it is timed."""

import platform
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import torch


def describe() -> str:
    """Processor, cores, memory, versions, in a line."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        cpu = next(
            (line.partition(":")[2].strip() for line in info.read_text().splitlines() if "model name" in line), cpu
        )
    memory = psutil.virtual_memory().total / 2**30
    return (
        f"{cpu}, {torch.get_num_threads()} threads, {memory:.0f} GiB; Python {platform.python_version()}, "
        f"torch {torch.__version__}"
    )


def best_of(repeats: int, work: Callable[[], Any]) -> float:
    """The shortest of several wall times, in seconds: the one least disturbed by other work on the machine."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def extra_memory(work: Callable[[], Any]) -> float:
    """By how many MB the resident memory of this process rises above its start while ``work`` runs."""
    with watched_memory() as rise:
        work()
    return rise()


@contextmanager
def watched_memory() -> Iterator[Callable[[], float]]:
    """Yields a function that says by how many MB the resident memory has risen above its start, at the most."""
    process, done = psutil.Process(), threading.Event()
    start = peak = process.memory_info().rss

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.002):
            peak = max(peak, process.memory_info().rss)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield lambda: (peak - start) / 1e6
    finally:
        done.set()
        watcher.join()
