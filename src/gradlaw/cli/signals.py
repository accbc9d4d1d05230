"""SIGINT and SIGTERM end a command in order: one message, an exit status that says which, nothing left behind.

While modules are imported nothing is written yet, and an exception in the midst of an import may be taken for a fault
of the module: the process ends at once. From then on a signal is an exception, which passes whatever cleans up. In a
finaliser or a callback of the garbage collector Python drops exceptions: there the signal is sent again, until it
arrives where it can pass.
"""

import os
import signal
import sys
from collections.abc import Callable
from functools import partial
from threading import Timer
from types import FrameType
from typing import Any

_AGAIN = 0.05  # seconds until a signal is sent again
_NAMES = {signal.SIGINT: "SIGINT", signal.SIGTERM: "SIGTERM"}
_installed = False

Handler = Callable[[int, FrameType | None], None]


class Ended(KeyboardInterrupt):
    """A signal that ends the command; whatever saves its work on Ctrl-C does so on SIGTERM too.

    Attributes:
        status: of the process, 128 and the number of the signal.
        name: of the signal.
        number: of the signal.
    """

    def __init__(self, number: int = signal.SIGINT):
        super().__init__(number)
        self.number = number
        self.status = 128 + number
        self.name = _NAMES[signal.Signals(number)]


def end_at_once() -> None:
    """From now on a signal ends this process without a traceback; in its main thread, before anything is imported."""
    global _installed
    _installed = True
    for number in _NAMES:
        if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup and shells have it for what runs behind
            signal.signal(number, _exit)


def raise_from_now() -> None:
    """From now on a signal raises :class:`Ended`, if :func:`end_at_once` was called; a second one ends at once."""
    if not _installed:
        return
    _exchange(_exit, _raise)
    sys.unraisablehook = partial(_send_again_if_dropped, sys.unraisablehook)


def _exit(number: int, frame: FrameType | None) -> None:
    os.write(2, f"gradlaw: ended by {_NAMES[signal.Signals(number)]}\n".encode())
    os._exit(128 + number)


def _raise(number: int, frame: FrameType | None) -> None:
    _exchange(_raise, _exit)
    raise Ended(number)


def _exchange(handler: Handler, other: Handler) -> None:
    for number in _NAMES:
        if signal.getsignal(number) is handler:
            signal.signal(number, other)


def _send_again_if_dropped(before: Callable[[Any], object], dropped: Any) -> None:
    """What is told of an exception that Python drops: the signal comes again, anything else is told as before."""
    if not isinstance(dropped.exc_value, Ended):
        before(dropped)
        return
    _exchange(_exit, _raise)
    timer = Timer(_AGAIN, os.kill, (os.getpid(), dropped.exc_value.number))
    timer.daemon = True
    timer.start()
