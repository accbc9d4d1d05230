"""``gl.watch``: the statistics of the gradients of a training run, while it trains."""

import sys
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, Self

import torch
from torch import nn

from gradlaw.errors import InputError, count, significance
from gradlaw.errors import seed as check_seed
from gradlaw.provenance import versions
from gradlaw.stats.gaussian import SHORTEST
from gradlaw.watch.gradient_state import Deliveries, GradientState, loss_scale
from gradlaw.watch.layer_statistics import Row, StatisticsSettings, gradient_statistics
from gradlaw.watch.layout import LayersBy, digest, layers_of, parameters_of
from gradlaw.watch.log import FORMAT, LogWriter
from gradlaw.watch.loggers import check_loggers, send
from gradlaw.watch.movement import Movement
from gradlaw.watch.noise_source import Noise, NoiseWatch
from gradlaw.watch.statistics import STATISTICS

EVERY = 100
_UNKNOWN = (
    "gl.watch cannot tell whether gradients were changed between the backward pass and the optimiser: no backward pass "
    "of this step reached some of them, or they are not finite. The log says change: unknown"
)
_NO_SCALER = (
    "the gradients were divided by {} between the backward pass and the optimiser. If a GradScaler did that, give it "
    "to gl.watch as scaler=; until then the log says rescaled"
)
_STILL_SCALED = (
    "the optimiser receives gradients that are still multiplied by the loss scale {}: call scaler.step(optimizer) in "
    "place of optimizer.step(). The statistics are of the gradients divided by it"
)


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
        self._warned: set[str] = set()
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
        if log is not None and _rank() == 0:
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
        """The step, and what cosines with earlier steps need, for a checkpoint: 12 bytes a sampled coordinate."""
        state = {"step": self.step, "layout": digest(self._layers), "movement": self._movement.state_dict()}
        return state if self._noise is None else state | {"noise": self._noise.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a checkpoint, in a watch that was made with ``start=state["step"]``.

        Raises:
            InputError: the state is of another step or of other layers.
        """
        if state["step"] != self.step:
            raise InputError(f"the state is of step {state['step']}; make the watch with start={state['step']}")
        if state["layout"] != digest(self._layers):
            raise InputError("the state is of other layers than those that are watched")
        self._movement.load_state_dict(state["movement"])
        if self._noise is not None and "noise" in state:
            self._noise.load_state_dict(state["noise"])

    def _look_at_layers(self) -> None:
        self._layers = layers_of(self._model, self._optimizer, self._layers_by, self._patterns)
        self._moved = [id(p) for p in parameters_of(self._optimizer)]
        named = {name: p for layer in self._layers for name, p in zip(layer.names, layer.parameters, strict=True)}
        self._names, seed = list(named), self._settings["seed"]
        self._deliveries = Deliveries(list(named.values()), seed)
        self._movement = Movement(self._layers, self._settings["sample"], seed)

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
        if not watched and not self._is_watched(self.step + 1):
            self._movement.skip_step()
            return
        scale = loss_scale(self._optimizer, self._scaler)
        if watched:
            self._begun.state = self._deliveries.judge(self._names, scale, _ranks())
            self._deliveries.detach()
            gradients = [[p.grad for p in layer.parameters if p.grad is not None] for layer in self._layers]
            self._begun.rows = gradient_statistics(gradients, scale.held, self.step, self._statistics)
            self._warn(self._begun.state)
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
        self.last = record
        if self._writer is not None:
            self._writer.write(record)
        if _rank() == 0:
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

    def _warn(self, state: GradientState) -> None:
        """Say once, aloud, what the log cannot vouch for."""
        if state.change == "unknown" and state.skipped == 0 and not state.no_update:
            self._warn_once(_UNKNOWN)
        if state.unscaled is False and getattr(self._optimizer, "grad_scale", None) is None:
            self._warn_once(_STILL_SCALED.format(state.loss_scale))
        if state.loss_scale is None and state.factor is not None and _looks_like_a_scale(state.factor):
            self._warn_once(_NO_SCALER.format(round(1 / state.factor)))

    def _warn_once(self, text: str) -> None:
        if text not in self._warned:
            self._warned.add(text)
            warnings.warn(text, stacklevel=2)


def watch(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    *,
    log: str | PathLike[str] | None = "runs/watch.jsonl",
    every: int = EVERY,
    layers: LayersBy = "module",
    parameters: str | Sequence[str] | None = None,
    k: int = 1000,
    gaussian_k: int = 100,
    alpha: float = 0.05,
    sample: int = 1024,
    seed: int = 0,
    noise: Noise | None = None,
    noise_every: int | None = None,
    noise_window: int = 100,
    scaler: Any | None = None,
    loggers: Sequence[Any] = (),
    start: int | None = None,
    resume: bool = False,
) -> Watch:
    """Record statistics of the gradients of a training run, by layer, while it trains.

    Call it once, before the loop; hooks of the optimiser do the rest, at the steps 0, ``every``, 2 ``every`` and so on.
    The training is the same to the bit. See ``docs/watch.md`` for what each number means.

    Args:
        model: the module whose parameters are trained; one wrapped by DistributedDataParallel or ``torch.compile`` too.
        optimizer: of ``torch.optim``, or a subclass; one that another library wrapped (Accelerate) is unwrapped.
        log: path of the log, JSON lines; None keeps none, and ``last`` and ``loggers`` have the records.
        every: steps from one that is watched to the next.
        layers: what one row describes: ``"module"``, the parameters that one module holds itself (weight and bias),
            ``"parameter"`` each by itself, or a function from a parameter's name to that of its layer.
        parameters: names of parameters to watch, or shell-style patterns; default: all that the optimiser moves.
        k: how many of the largest magnitudes of a layer the power law is fitted to; at most a third of the layer.
        gaussian_k: how many values of a layer, drawn anew at each watched step, are tested for Gaussianity; at least 8.
        alpha: significance level of the verdicts.
        sample: coordinates of a layer, at most, by which updates and cosines are measured.
        seed: of draws and samples; the generators of PyTorch are not touched.
        noise: where the parts of a batch come from, by which the noise scale is measured:
            :class:`~gradlaw.watch.Microbatches`, :class:`~gradlaw.watch.Ranks`, :class:`~gradlaw.watch.Samples`; None
            measures none.
        noise_every: steps from one at which it is measured to the next; default: ``every``.
        noise_window: how many measured steps, the last, an estimate is of.
        scaler: the ``torch.amp.GradScaler`` of the loop, if there is one.
        loggers: TensorBoard ``SummaryWriter``, W&B run, Trackio run: those records go to as well.
        start: steps of the optimiser done before, for a run that goes on from a checkpoint. Default: 0.
        resume: append to a log that is there, written with the same settings and layers; ``start`` must be given.

    Returns:
        The watch; ``close()`` or a ``with`` block ends it, and it need not be ended.

    Raises:
        InputError: arguments out of their range, a log that is there already or belongs to another setting, an
            optimiser or parameters that cannot be watched (LBFGS, sparse or complex gradients, sharded parameters).

    Example:
        >>> import torch, gradlaw as gl
        >>> model = torch.nn.Linear(20, 4)
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        >>> watch = gl.watch(model, optimizer, log=None, every=10)
        >>> for _ in range(11):
        ...     loss = model(torch.randn(8, 20)).square().mean()
        ...     optimizer.zero_grad()
        ...     loss.backward()
        ...     optimizer.step()
        >>> watch.last["step"], watch.last["gradient"]["change"]
        (10, 'unmodified')
    """
    if not isinstance(model, nn.Module):
        raise InputError(f"model must be a torch.nn.Module, got {type(model).__name__}")
    if resume and start is None:
        raise InputError("resume=True needs start, the number of steps that the optimiser had done at the checkpoint")
    if resume and log is None:
        raise InputError("resume=True needs the path of a log")
    check_loggers(loggers)
    settings = {
        "every": count(every, "every"),
        "k": count(k, "k", 2),
        "gaussian_k": count(gaussian_k, "gaussian_k", SHORTEST),
        "alpha": significance(alpha),
        "sample": count(sample, "sample"),
        "seed": check_seed(seed),
    }
    if noise is not None:
        settings["noise_every"] = settings["every"] if noise_every is None else count(noise_every, "noise_every")
        settings["noise_window"] = count(noise_window, "noise_window")
    made = Watch(model, plain_optimizer(optimizer), settings, layers, parameters, noise, scaler, loggers)
    try:
        made.start(0 if start is None else count(start, "start", 0), None if log is None else Path(log), resume)
    except BaseException:
        made.close()
        raise
    return made


def plain_optimizer(optimizer: Any) -> torch.optim.Optimizer:
    """The optimiser of PyTorch inside of those that wrap one, as Accelerate and Lightning do.

    Raises:
        InputError: it is none, or one with several gradients a step.
    """
    inner = optimizer
    while not isinstance(inner, torch.optim.LBFGS) and isinstance(
        deeper := getattr(inner, "optimizer", None), torch.optim.Optimizer
    ):
        inner = deeper
    if not isinstance(inner, torch.optim.Optimizer):
        raise InputError(f"optimizer must be a torch.optim.Optimizer, got {type(optimizer).__name__}")
    if isinstance(inner, torch.optim.LBFGS):
        raise InputError("LBFGS evaluates several gradients a step, which are not watched")
    return inner


def _looks_like_a_scale(factor: float) -> bool:
    """Whether dividing by it undoes a power of two of at least 1,024, as gradient scalers use."""
    return factor <= 2**-10 and abs(1 / factor) == 2 ** round(torch.tensor(1 / factor).log2().item())


def _distributed() -> Any | None:
    module = sys.modules.get("torch.distributed")
    return module if module is not None and module.is_available() and module.is_initialized() else None


def _ranks() -> int:
    module = _distributed()
    return module.get_world_size() if module else 1


def _rank() -> int:
    module = _distributed()
    return module.get_rank() if module else 0
