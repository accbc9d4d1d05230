"""A Trainer of transformers, watched."""

from os import PathLike
from pathlib import Path
from typing import Any

from gradlaw.errors import InputError
from gradlaw.extras import extra
from gradlaw.watch import Watch, watch

with extra("transformers", "watching a Trainer"):
    from transformers import TrainerCallback


class WatchCallback(TrainerCallback):
    """Watches the gradients of a ``transformers.Trainer`` (and those made of it, as in TRL).

    The watch begins with the training, when the optimiser is there, and takes the loss scaler of Accelerate. A Trainer
    clips by norm to 1 unless ``max_grad_norm=0``: the log says by how much (``gradients().factor``).

    Args:
        log: path of the log. A training that resumes from a checkpoint appends to the log that is there.
        resume: append to a log that is there also where the training begins anew.
        **settings: of :func:`gradlaw.watch`: ``every``, ``layers``, ``loggers`` and so on.

    Attributes:
        watch: the :class:`~gradlaw.watch.Watch`; None before the training.
    """

    def __init__(self, log: str | PathLike[str] | None = "runs/watch.jsonl", *, resume: bool = False, **settings: Any):
        self._log, self._resume, self._settings = log, resume, settings
        self.watch: Watch | None = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Begin to watch.

        Raises:
            InputError: what :func:`gradlaw.watch` refuses, or a Trainer that has made no optimiser of PyTorch.
        """
        self._close()
        model, optimizer = kwargs.get("model"), kwargs.get("optimizer")
        if model is None or optimizer is None:
            raise InputError("the Trainer has no model or optimiser of its own when training begins (DeepSpeed)")
        there = self._log is not None and Path(self._log).is_file()
        self.watch = watch(
            model,
            optimizer,
            log=self._log,
            scaler=getattr(optimizer, "scaler", None),
            start=state.global_step,
            resume=there and (self._resume or state.global_step > 0),
            **self._settings,
        )

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Close the log."""
        self._close()

    def _close(self) -> None:
        if self.watch is not None:
            self.watch.close()
