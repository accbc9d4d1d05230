"""Work in a forked process, which never goes on with what its parent was doing."""

import os
import signal
import sys
import time
import traceback
from collections.abc import Callable


def forked(work: Callable[[], object]) -> int:
    """Begin the work in a process of its own, and return the number of that process.

    The process ends with what the work returns as its status (0 if that is no whole number), and with 1 after an
    exception, which is printed. However the work ends, the process does not come back from here: it would go on as a
    second copy of its parent, sharing its files and pipes.
    """
    child = os.fork()
    if child == 0:
        status = 1
        try:
            result = work()
            status = result if isinstance(result, int) else 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(status)
    return child


def exit_status(child: int, kill_after: float | None = None) -> int:
    """Of a forked process, when it has ended; minus the signal that ended it. It is killed after so many seconds."""
    if kill_after is not None:
        time.sleep(kill_after)
        os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
