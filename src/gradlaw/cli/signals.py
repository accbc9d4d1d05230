"""SIGINT and SIGTERM end a command in order: one message, an exit status that says which, nothing left behind.

While modules are imported nothing is written yet, and an exception in the midst of an import may be taken for a fault
of the module: the process ends at once. From then on a signal is an exception, which passes whatever cleans up.
"""

import os
import signal
from types import FrameType

_NAMES = {signal.SIGINT: "SIGINT", signal.SIGTERM: "SIGTERM"}
_installed = False


class Ended(KeyboardInterrupt):
    """A signal that ends the command; whatever saves its work on Ctrl-C does so on SIGTERM too.

    Attributes:
        status: of the process, 128 and the number of the signal.
        name: of the signal.
    """

    def __init__(self, number: int = signal.SIGINT):
        super().__init__(number)
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
    for number in _NAMES:
        if signal.getsignal(number) is _exit:
            signal.signal(number, _raise)


def _exit(number: int, frame: FrameType | None) -> None:
    os.write(2, f"gradlaw: ended by {_NAMES[signal.Signals(number)]}\n".encode())
    os._exit(128 + number)


def _raise(number: int, frame: FrameType | None) -> None:
    for other in _NAMES:
        if signal.getsignal(other) is _raise:
            signal.signal(other, _exit)
    raise Ended(number)
