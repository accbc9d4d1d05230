"""Keeping the weights at the points of a training."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from gradlaw.errors import InputError
from gradlaw.training.checkpoint import write_weights
from gradlaw.training.epoch import NotFinite, Setup, evaluate
from gradlaw.training.points import point_file, steps_at
from gradlaw.training.weights import distinct


@dataclass(frozen=True)
class PointKeeper:
    """Writes the weights at the points of a training, with the score of the model at each.

    Attributes:
        folder: where to; None without points.
        points: in epochs, ascending.
        steps: of an epoch.
        setup: model and data.
        record: what the checkpoints of the training say; read when a point is written.
    """

    folder: Path | None
    points: tuple[float, ...]
    steps: int
    setup: Setup
    record: Mapping[str, Any]

    def start(self) -> None:
        """Write the point 0, if it is one.

        Raises:
            InputError: the loss is not finite there.
        """
        if 0 not in self.points:
            return
        try:
            self._write(0)
        except NotFinite as error:
            raise InputError(f"the model that the training starts from cannot be evaluated: {error}") from error

    def stops(self, epoch: int) -> dict[int, float]:
        """The points of an epoch, counted from 0, by the number of its steps that are done there."""
        by_step = {steps_at(point, self.steps) - epoch * self.steps: point for point in self.points}
        return {step: point for step, point in by_step.items() if 0 < step <= self.steps}

    def reached(self, epoch: int, step: int) -> None:
        """Write the point at which so many steps of an epoch are done."""
        self._write(self.stops(epoch)[step])

    def _write(self, point: float) -> None:
        assert self.folder is not None, "points have a folder"
        setup = self.setup
        with torch.random.fork_rng([setup.inputs.device] if setup.inputs.device.type == "cuda" else []):
            score = evaluate(setup.model, setup.loss, setup.inputs, setup.targets)
        at = {"point": point, "steps": steps_at(point, self.steps), "training": asdict(score), "test": None}
        write_weights(point_file(self.folder, point), distinct(setup.model.state_dict()), dict(self.record) | at)
