"""The recorder behind ``gl.watch``: what happens at each step of the optimiser, in which order."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch
from torch import nn

from gradlaw.errors import InputError
from gradlaw.provenance import versions
from gradlaw.ranks.processes import is_first, world_size
from gradlaw.watch.as_json import as_json
from gradlaw.watch.gradient_state import Deliveries, GradientState, loss_scale
from gradlaw.watch.layer_statistics import Row, StatisticsSettings, gradient_statistics
from gradlaw.watch.layout import LayersBy, digest, layers_of, parameters_of
from gradlaw.watch.log import FORMAT, LogWriter
from gradlaw.watch.loggers import send
from gradlaw.watch.movement import Movement
from gradlaw.watch.noise_source import Noise, NoiseWatch
from gradlaw.watch.statistics import STATISTICS
from gradlaw.watch.warn import Warnings
from gradlaw.watch.window import Window


@dataclass
class _Step:
    """A step that has begun: what is known before the optimiser moves."""

    watched: bool
    state: GradientState | None = None
    rows: list[Row] | None = None


class Watch:
    """Records the gradients that an optimiser receives; made by :func:`gradlaw.watch`.

    Attributes:
        step: how many steps of the optimiser are done.
        last: the record of the last watched step; None before the first.
        path: of the log; None without one, and in all processes but the first.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        settings: Mapping[str, Any],
        layers: LayersBy,
        parameters: str | Sequence[str] | None,
        noise: Noise | None,
        scaler: Any | None,
        loggers: Sequence[Any],
    ):
        self._optimizer, self._scaler, self._loggers = optimizer, scaler, tuple(loggers)
        self._settings, self._model = dict(settings), model
        self._layers_by, self._patterns = layers, parameters
        self._statistics = StatisticsSettings(*(settings[name] for name in ("k", "gaussian_k", "alpha", "seed")))
        self.step = 0
        self.last: dict[str, Any] | None = None
        self.path: Path | None = None
        self._writer: LogWriter | None = None
        self._begun: _Step | None = None
        self._evaluations = 0
        self._warnings = Warnings()
        self._look_at_layers()
        self._noise = None
        if noise is not None:  # of the layers that are there now
            self._noise = NoiseWatch(noise, model, self._layers, settings["noise_window"], settings["seed"])
        self._handles = [
            optimizer.register_step_pre_hook(self._before_step),
            optimizer.register_step_post_hook(self._after_step),
        ]

    def start(self, step: int, log: Path | None, resume: bool) -> None:
        """Begin at a step, and open the log."""
        self.step = step
        if log is not None and is_first():
            self._writer, self.path = LogWriter(log, self._header(), resume), log
        self._prepare()

    def close(self) -> None:
        """Take all hooks away and close the log; the training goes on unwatched."""
        for handle in self._handles:
            handle.remove()
        self._handles = []
        self._stop_looking()
        if self._writer is not None:
            self._writer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def state_dict(self) -> dict[str, Any]:
        """The step, and what is remembered from earlier ones, for a checkpoint: about 1.5 MB as it stands."""
        state = {"step": self.step, "layout": digest(self._layers)}
        return state | {name: part.state_dict() for name, part in self._memories().items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a checkpoint, in a watch that was made with ``start=state["step"]``.

        Raises:
            InputError: the state is of another step or of other layers.
        """
        if state["step"] != self.step:
            raise InputError(f"the state is of step {state['step']}; make the watch with start={state['step']}")
        if state["layout"] != digest(self._layers):
            raise InputError("the state is of other layers than those that are watched")
        for name, part in self._memories().items():
            if name in state:
                part.load_state_dict(state[name])

    def _memories(self) -> dict[str, Any]:
        """What is remembered from step to step."""
        parts = {"movement": self._movement, "noise": self._noise, "window": self._window}
        return {name: part for name, part in parts.items() if part is not None}

    def _look_at_layers(self) -> None:
        self._layers = layers_of(self._model, self._optimizer, self._layers_by, self._patterns)
        self._moved = [id(p) for p in parameters_of(self._optimizer)]
        named = {name: p for layer in self._layers for name, p in zip(layer.names, layer.parameters, strict=True)}
        self._names, self._parameters = list(named), list(named.values())
        seed, window = self._settings["seed"], self._settings["window"]
        self._deliveries = Deliveries(self._parameters, seed)
        self._movement = Movement(self._layers, self._settings["sample"], seed)
        self._window = None
        if window is not None:
            coordinates, sketch = (self._settings[f"window_{name}"] for name in ("coordinates", "sketch"))
            self._window = Window(self._parameters, window, coordinates, sketch, seed)

    def _is_watched(self, step: int) -> bool:
        return step % self._settings["every"] == 0

    def _prepare(self) -> None:
        """Look at the backward passes of the next step, if that is watched."""
        if self._is_watched(self.step):
            self._deliveries.attach()
        if self._noise is not None and self.step % self._settings["noise_every"] == 0:
            self._noise.start()

    def _stop_looking(self) -> None:
        self._deliveries.detach()
        if self._noise is not None:
            self._noise.stop()

    def _before_step(self, _: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Called before a step; with a closure, which computes the gradients inside the step, look after that."""
        self._begun, self._evaluations = None, 0
        positional = len(args) > 1
        closure = args[1] if positional else kwargs.get("closure")
        if closure is None:
            self._observe()
            return None
        observed = self._observing(closure)
        return ((args[0], observed, *args[2:]), kwargs) if positional else (args, kwargs | {"closure": observed})

    def _observing(self, closure: Callable[[], Any]) -> Callable[[], Any]:
        def evaluate() -> Any:
            loss = closure()
            self._evaluations += 1
            if self._evaluations > 1:
                raise InputError(
                    f"{type(self._optimizer).__name__} evaluates its closure several times a step, so that a step has "
                    "several gradients, which are not watched"
                )
            self._observe()
            return loss

        return evaluate

    @torch.no_grad()
    def _observe(self) -> None:
        """Describe the gradients that the optimiser is about to use."""
        if [id(p) for p in parameters_of(self._optimizer)] != self._moved:
            self._take_new_layers()
        watched = self._is_watched(self.step)
        self._begun = _Step(watched)
        if self._noise is not None:
            self._noise.finish(self._optimizer, self._scaler)
        enters = self._window is not None and self.step % self._settings["window_every"] == 0
        moves = watched or self._is_watched(self.step + 1)
        if not moves:
            self._movement.skip_step()
        if not moves and not enters:
            return
        scale = loss_scale(self._optimizer, self._scaler)  # asked once: a device has to be waited for
        if self._window is not None and enters:
            self._window.add(self.step, [p.grad for p in self._parameters], scale.held)
        if not moves:
            return
        if watched:
            self._begun.state = self._deliveries.judge(self._names, scale, world_size())
            self._deliveries.detach()
            gradients = [[p.grad for p in layer.parameters if p.grad is not None] for layer in self._layers]
            self._begun.rows = gradient_statistics(gradients, scale.held, self.step, self._statistics)
            self._warnings.about(self._begun.state, getattr(self._optimizer, "grad_scale", None) is not None)
        self._movement.before_step([[p.grad for p in layer.parameters] for layer in self._layers], scale.held)

    @torch.no_grad()
    def _after_step(self, *_: Any) -> None:
        """Called after a step: what moved, and the record."""
        begun = self._begun
        if begun is None:
            raise InputError(f"{type(self._optimizer).__name__} made a step without calling its closure")
        if begun.watched or self._is_watched(self.step + 1):
            moved = self._movement.after_step(begun.watched)
            if begun.state is not None and begun.rows is not None:
                self._record(begun.state, [row | more for row, more in zip(begun.rows, moved, strict=True)])
        self._begun = None
        self.step += 1
        self._prepare()

    def _record(self, state: GradientState, rows: Sequence[Row]) -> None:
        rows = [{name: row.get(name) for name in STATISTICS} for row in rows]
        record = {
            "kind": "step",
            "step": self.step,
            "time": round(time.time(), 3),
            "gradient": state.to_dict(),
            "model": rows[0],
            "layers": {name: [row[name] for row in rows[1:]] for name in STATISTICS},
        }
        if self._noise is not None:
            record["noise"] = self._noise.record()
        if self._window is not None and self._window.ready:
            found = self._window.statistics(*(self._settings[name] for name in ("k", "gaussian_k", "alpha")))
            record["window"] = as_json(found.scalars() | {"skipped": self._window.skipped})
        self.last = record
        if self._writer is not None:
            self._writer.write(record)
        if is_first():
            send(record, [layer.name for layer in self._layers], self._loggers)

    def _take_new_layers(self) -> None:
        """The optimiser moves other parameters than before: describe those from now on."""
        self._stop_looking()
        self._look_at_layers()
        if self._writer is not None:
            self._writer.write({"kind": "layout", "step": self.step, "layout": self._layout()})

    def _layout(self) -> dict[str, Any]:
        return {"digest": digest(self._layers), "layers": [layer.describe() for layer in self._layers]}

    def _header(self) -> dict[str, Any]:
        model = {"model": type(self._model).__name__, "optimizer": type(self._optimizer).__name__}
        about = {"format": FORMAT, "step": self.step, "versions": versions(), **model}
        return about | {"settings": self._settings, "layout": self._layout()}
