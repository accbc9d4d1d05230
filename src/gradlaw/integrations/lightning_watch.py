"""A Trainer of Lightning, watched."""

from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

from gradlaw.errors import InputError
from gradlaw.extras import extra
from gradlaw.watch import Watch, watch

with extra("lightning", "watching a Trainer"):
    from lightning.pytorch import Callback


class WatchCallback(Callback):
    """Watches the gradients of a ``lightning.Trainer``, with automatic or manual optimisation.

    Every optimiser is watched by itself: of several, the logs are ``watch-0.jsonl``, ``watch-1.jsonl`` and so on. The
    state goes into Lightning's checkpoints, and a training that resumes from one appends to its log.

    Args:
        log: path of the log.
        resume: append to a log that is there also where the training begins anew.
        **settings: of :func:`gradlaw.watch`: ``every``, ``layers``, ``loggers`` and so on.

    Attributes:
        watches: one :class:`~gradlaw.watch.Watch` an optimiser; empty before the training.
    """

    def __init__(self, log: str | PathLike[str] | None = "runs/watch.jsonl", *, resume: bool = False, **settings: Any):
        self._log, self._resume, self._settings = log, resume, settings
        self._states: list[Mapping[str, Any]] = []
        self.watches: list[Watch] = []

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Begin to watch.

        Raises:
            InputError: what :func:`gradlaw.watch` refuses, or a training with several optimisers that resumes from a
                checkpoint without the state of this callback.
        """
        self._close()
        optimizers, self.watches = trainer.optimizers, []
        if len(optimizers) > 1 and trainer.global_step and not self._states:
            raise InputError(
                "the checkpoint was written without this callback, and of several optimisers nobody knows how many "
                "steps each has done"
            )
        for number, optimizer in enumerate(optimizers):
            state = self._states[number] if self._states else None
            log = self._path(number, len(optimizers))
            start = trainer.global_step if state is None else state["step"]
            made = watch(
                trainer.strategy.model,
                optimizer,
                log=log,
                scaler=getattr(trainer.precision_plugin, "scaler", None),
                start=start,
                resume=log is not None and log.is_file() and (self._resume or start > 0),
                **self._settings,
            )
            if state is not None:
                made.load_state_dict(state)
            self.watches.append(made)

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Close the logs."""
        self._close()

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Close the logs."""
        self._close()

    def state_dict(self) -> dict[str, Any]:
        """Of all watches, for Lightning's checkpoints."""
        return {"watches": [made.state_dict() for made in self.watches]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """From a checkpoint, before the training goes on."""
        self._states = state_dict["watches"]

    def _path(self, number: int, count: int) -> Path | None:
        if self._log is None:
            return None
        path = Path(self._log)
        return path if count == 1 else path.with_stem(f"{path.stem}-{number}")

    def _close(self) -> None:
        for made in self.watches:
            made.close()
