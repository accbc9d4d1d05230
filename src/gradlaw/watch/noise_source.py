"""Where a watch takes the parts of a batch from, by which it tells signal from noise: what a loop has anyway.

Each source is described by a small object that is given to :func:`gradlaw.watch`, and measures one step at a time. What
a source cannot prove of a step it refuses, and the record says why instead of a number.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from gradlaw.errors import InputError
from gradlaw.watch.as_json import as_json
from gradlaw.watch.gradient_state import loss_scale
from gradlaw.watch.layout import Layer
from gradlaw.watch.microbatches import MicrobatchNorms, StepNorms, Weights
from gradlaw.watch.noise_scale import NoiseScaleAccumulator
from gradlaw.watch.per_sample_norms import PerSampleNorms
from gradlaw.watch.ranks import CommunicationHook, RankNorms

Sizes: TypeAlias = float | Sequence[float] | Callable[[], float | Sequence[float]]


@dataclass(frozen=True)
class Microbatches:
    """The parts are the microbatches of gradient accumulation.

    Attributes:
        microbatches: how many backward passes the loop makes before it steps, at least 2.
        samples: in a microbatch: a number, one for each, or a function that says so, called at each measured step.
        weights: how microbatches of different sizes count in the gradient: ``"samples"`` by their sizes, ``"equal"``
            alike; None where they are of one size.
    """

    microbatches: int
    samples: Sizes
    weights: Weights | None = None

    def source(self, model: nn.Module, layers: Sequence[Layer], seed: int) -> MicrobatchNorms:
        """What measures."""
        return MicrobatchNorms(_trained(layers), self.microbatches)

    def finish(self, source: Any, unscaled_by: float) -> StepNorms:
        """The norms of a step."""
        return source.finish(_now(self.samples), self.weights, unscaled_by)


@dataclass(frozen=True)
class Samples:
    """The parts are the single samples of the batch, as some layers see them.

    Attributes:
        layers: names of modules, of ``nn.Linear``, ``nn.LayerNorm``, ``nn.RMSNorm`` and ``nn.Embedding``.
        samples: in a batch, all microbatches together: a number, or a function that says so.
        weights: a function that gives the weights of the samples in the loss of the step, for a mean over tokens the
            number of labels of each; None for equal ones.
        batch_axis: of the inputs of the layers; None for the first, where no other could be meant.
    """

    layers: tuple[str, ...]
    samples: int | Callable[[], int]
    weights: Callable[[], Any] | None = None
    batch_axis: int | None = None

    def source(self, model: nn.Module, layers: Sequence[Layer], seed: int) -> PerSampleNorms:
        """What measures."""
        return PerSampleNorms(model, list(self.layers), self.batch_axis, seed)

    def finish(self, source: Any, unscaled_by: float) -> StepNorms:
        """The norms of a step."""
        weights = None if self.weights is None else self.weights()
        return source.finish(_now(self.samples), weights, unscaled_by)


@dataclass(frozen=True)
class Ranks:
    """The parts are those of the processes of ``DistributedDataParallel``, whose one communication hook this takes.

    All processes have to watch, with the same settings.

    Attributes:
        samples: in this process's part of a batch: a number, or a function that says so.
        weights: how parts of different sizes count in the mean over the processes: ``"equal"`` where each loss is the
            mean over its own samples, ``"samples"`` where it was multiplied by its size over the mean size.
        hook: what reduces the buckets of gradients; None for the mean over all processes.
        state: the first argument of ``hook``.
    """

    samples: float | Callable[[], float]
    weights: Weights | None = None
    hook: CommunicationHook | None = None
    state: Any = None

    def source(self, model: Any, layers: Sequence[Layer], seed: int) -> RankNorms:
        """What measures."""
        return RankNorms(model, _trained(layers), self.hook, self.state)

    def finish(self, source: Any, unscaled_by: float) -> StepNorms:
        """The norms of a step, in all processes."""
        return source.finish(_now(self.samples), self.weights, unscaled_by)


Noise: TypeAlias = Microbatches | Samples | Ranks


def _trained(layers: Sequence[Layer]) -> dict[str, list[Tensor]]:
    """By layer its parameters that get gradients, where there are any."""
    named = {layer.name: [p for p in layer.parameters if p.requires_grad] for layer in layers}
    return {name: parameters for name, parameters in named.items() if parameters}


def _now(sizes: Any) -> Any:
    return sizes() if callable(sizes) else sizes


class NoiseWatch:
    """Adds up what a source measures, and says what it comes to.

    Args:
        noise: the source.
        model: that is trained.
        layers: that are watched.
        window: how many of the last measured steps an estimate is of.
        seed: of the source's probes.
    """

    def __init__(self, noise: Noise, model: nn.Module, layers: Sequence[Layer], window: int, seed: int):
        self._noise = noise
        self._source = noise.source(model, layers, seed)
        self._sums = NoiseScaleAccumulator(self._source.layers, window=window)
        self._measuring = False
        self._refused: str | None = None
        self._refusals = 0

    def start(self) -> None:
        """Measure the step that begins."""
        self._source.start()
        self._measuring = True

    def finish(self, optimizer: torch.optim.Optimizer, scaler: Any | None) -> None:
        """The passes of the step are done, and its gradients not used yet; nothing if it is not measured."""
        if not self._measuring:
            return
        self._measuring = False
        try:
            norms = self._noise.finish(self._source, loss_scale(optimizer, scaler).value or 1.0)
            self._sums.add(*norms)
        except InputError as error:  # the training goes on; the record has the reason
            if self._refused is None:
                warnings.warn(f"no noise scale of this step: {error}", stacklevel=2)
            self._refused = str(error)
            self._refusals += 1

    def stop(self) -> None:
        """Leave no hooks."""
        self._source.stop()
        self._measuring = False

    def record(self) -> dict[str, Any]:
        """The estimates over the last measured steps, for the log."""
        record: dict[str, Any] = {
            "source": type(self._noise).__name__.lower(),
            "steps": len(self._sums),
            "not_finite": self._sums.skipped,
            "refused": self._refusals,
            "reason": self._refused,
        }
        if len(self._sums):
            found = self._sums.estimate()
            record["layers"] = {name: as_json(value.scalars()) for name, value in found.items()}
        return record

    def state_dict(self) -> dict[str, Any]:
        """What was added up."""
        return self._sums.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from there."""
        self._sums.load_state_dict(dict(state))
