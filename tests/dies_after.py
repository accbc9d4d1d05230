"""A training that dies at a chosen epoch, as if it had been killed there."""

import gradlaw as gl


class Killed(Exception):
    """What ends the training."""


class DiesAfter(gl.Progress):
    """Stops the training when it announces an epoch: behind its points, before its checkpoint is written."""

    def __init__(self, epoch: int):
        super().__init__(shown=False)
        self.last = f"epoch {epoch} "

    def say(self, text: str) -> None:
        if text.startswith(self.last):
            raise Killed
