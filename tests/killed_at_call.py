"""Work in a process of its own that is killed on the way."""

import os
import signal
from collections.abc import Callable, Iterable
from pathlib import Path

from tools.forked import exit_status, forked


def killed_at_call(work: Callable[[], object], call: int, names: Iterable[str]) -> bool:
    """Whether the work was killed: at the ``call``-th call of one of these methods of paths, if there are as many."""

    def counting() -> None:
        left = [call]
        for name in names:
            original = getattr(Path, name)

            def counted(self, *arguments, original=original, **options):
                left[0] -= 1
                if left[0] == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                return original(self, *arguments, **options)

            setattr(Path, name, counted)
        work()

    status = exit_status(forked(counting))
    assert status in (0, -signal.SIGKILL), f"the work ended with status {status}"
    return status != 0
