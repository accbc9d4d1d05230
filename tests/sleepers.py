"""Two worker processes that sleep, and print who they are: ``python sleepers.py``."""

import os
import time

from gradlaw.cli.signals import end_at_once, raise_from_now
from gradlaw.reproduction.workers import live_with_parent, workers


def sleep(seconds: float) -> None:
    try:
        print(os.getpid(), flush=True)
        time.sleep(seconds)
    finally:
        print("cleaned", flush=True)


def main() -> None:
    end_at_once()
    raise_from_now()
    with workers(2, live_with_parent, ()) as pool:
        for task in [pool.submit(sleep, 300.0) for _ in range(2)]:
            task.result()


if __name__ == "__main__":
    main()
