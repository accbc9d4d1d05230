"""Processes that measure side by side, none of which is left when the one that started them ends, however it does."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import active_children, get_context, parent_process
from types import FrameType
from typing import Any

_SECONDS_TO_END = 5.0  # that a process has to clean up, before it is killed


@contextmanager
def workers(jobs: int, start: Callable[..., None], arguments: tuple[Any, ...]) -> Iterator[ProcessPoolExecutor]:
    """A pool of processes; an exception in the block, an interruption for one, ends them at once.

    Args:
        jobs: how many.
        start: called in each as it starts, and is to call :func:`live_with_parent`.
        arguments: of it.
    """
    others = set(active_children())
    pool = ProcessPoolExecutor(jobs, get_context("spawn"), initializer=start, initargs=arguments)
    try:
        yield pool
    except BaseException:
        mine = [process for process in active_children() if process not in others]
        for process in mine:
            process.terminate()
        deadline = time.monotonic() + _SECONDS_TO_END
        pool.shutdown(wait=False, cancel_futures=True)
        for process in mine:
            process.join(max(0.0, deadline - time.monotonic()))
            if process.is_alive():
                process.kill()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def live_with_parent() -> None:
    """Have this process end with the one that started it, which alone hears of Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _clean_up)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _clean_up(number: int, frame: FrameType | None) -> None:
    signal.signal(number, signal.SIG_IGN)  # another one would interrupt the cleaning
    sys.exit(128 + number)  # passes through the task, which removes what it made


def _end_with_parent() -> None:
    parent = parent_process()
    assert parent is not None
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_SECONDS_TO_END)
    os._exit(128 + signal.SIGTERM)
