"""Squared norms of the gradient of each sample for chosen layers, by hooks and one backward pass of the whole batch.

With them the parts of a batch are single samples, and one step without accumulation tells the noise scale; layer norms
alone are enough to follow that of a transformer (Gray et al. 2024).

A loss that is a weighted mean of losses of samples, sum w_i l_i, has the gradient G = sum w_i g_i, and what a layer's
hooks see of sample i is h_i = w_i g_i: the weights have to be known, and are taken to be equal unless they are given.
What can be proved is proved at every watched step:

- the parts of the samples add up to ``.grad``, by random probes: a layer that is called in another way, weights that
  are used elsewhere, gradients that were there before, are found;
- every layer sees as many samples as the batch has, and no other axis could be meant;
- all samples have a gradient at as many positions, unless weights are given: the mean over the tokens of a batch counts
  long samples more.

Models with batch norms by batch statistics are refused, which mix samples. That the loss has no terms between samples
(as contrastive losses have) is for the caller to know: no gradient of a whole batch shows it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gradlaw import random_streams
from gradlaw.errors import InputError, count
from gradlaw.errors import seed as checked_seed
from gradlaw.history.layers.normalisation import takes_batch_statistics
from gradlaw.watch.microbatches import StepNorms, inner
from gradlaw.watch.sample_squares import RULES, as_rows, draw_probes, probe

_ROUNDING = 1e-4  # of a probe, relative to the sum of the norms of all samples
_REFUSED = ("sparse", "scale_grad_by_freq", "max_norm")  # options of embeddings that change gradients or weights


@dataclass(eq=False)
class _Call:
    """One call of a layer: its input, and the gradient of its output once that is there."""

    x: Tensor
    g: Tensor | None = None


class PerSampleNorms:
    """Watches one step of a loop: :meth:`start`, forward and backward passes, :meth:`finish`.

    Hooks are there from ``start`` to ``finish`` only and never raise. They keep the inputs of the layers, which
    autograd keeps as well unless activations are recomputed, and two numbers a sample and layer.

    Args:
        model: it.
        layers: names of modules, each an ``nn.Linear``, ``nn.LayerNorm``, ``nn.RMSNorm`` or ``nn.Embedding`` itself, no
            subclass; with at least one parameter that needs a gradient and is in no other module.
        batch_axis: of the inputs of the layers, on which the samples are. None: the first, and a batch is refused whose
            size is that of another axis too.
        seed: of the probes.

    Raises:
        InputError: no layers, ones that are not in the model, or of another kind than above.

    Example:
        >>> model = nn.Sequential(nn.Linear(3, 2), nn.LayerNorm(2))
        >>> norms = PerSampleNorms(model, ["1"])
        >>> norms.start()
        >>> model(torch.randn(5, 3)).square().mean().backward()
        >>> norms.finish(samples=5).small_squared_norms.shape
        (5, 1)
    """

    def __init__(self, model: nn.Module, layers: Sequence[str], batch_axis: int | None = None, seed: int = 0):
        modules = dict(model.named_modules())
        if not layers or isinstance(layers, str):
            raise InputError(f"layers must be a list of names of modules, got {layers!r}")
        for name in layers:
            _check_layer(name, modules)
        _refuse_shared(model, layers)
        self.layers = list(layers)
        self.batch_axis = None if batch_axis is None else count(batch_axis, "batch_axis", minimum=0)
        self._model, self._modules = model, [modules[name] for name in layers]
        stream = np.random.default_rng([random_streams.SAMPLE_PROBES, checked_seed(seed)])
        self._generator = torch.Generator().manual_seed(int(stream.integers(2**63)))
        self._handles: list[Any] = []

    def start(self) -> None:
        """Watch from here on, before the first forward pass of a step; what was watched before is forgotten."""
        self.stop()
        number = len(self.layers)
        self._calls: list[list[_Call]] = [[] for _ in range(number)]
        self._squares: list[list[Tensor]] = [[] for _ in range(number)]
        self._positions: list[list[Tensor]] = [[] for _ in range(number)]
        self._dtypes: list[set[torch.dtype]] = [set() for _ in range(number)]
        self._probes = [draw_probes(module, self._generator) for module in self._modules]
        self._sums: list[dict[str, Tensor]] = [{} for _ in range(number)]
        self._found: list[dict[str, tuple[Tensor, Tensor]]] = [{} for _ in range(number)]  # probe and square of .grad
        self._problem: str | None = None
        for i, module in enumerate(self._modules):
            self._handles.append(module.register_forward_hook(partial(self._forward, i), with_kwargs=True))
            for name, p in module.named_parameters(recurse=False):
                if p.requires_grad:
                    self._handles.append(p.register_post_accumulate_grad_hook(partial(self._accumulated, i, name)))

    def stop(self) -> None:
        """Take the hooks off."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def finish(
        self, samples: int, weights: Sequence[float] | np.ndarray | Tensor | None = None, unscaled_by: float = 1.0
    ) -> StepNorms:
        """The norms of the step, after its last backward pass.

        Args:
            samples: of the batch, those of all its microbatches.
            weights: w_i of the samples in the loss, in their order, relative to their sum; None for equal ones. For a
                mean over tokens, the number of tokens with a label of each sample.
            unscaled_by: the loss scale, by whose square all norms are divided.

        Returns:
            One part a sample, in the order of the layers; sizes are 1, so that a noise scale counts samples.

        Raises:
            InputError: :meth:`start` was not called, or what the module says is found.
        """
        if not self._handles:
            raise InputError("nothing was watched: call start() before the first forward pass of a step")
        self.stop()
        for i in range(len(self.layers)):
            self._settle(i)
        if self._problem:
            raise InputError(self._problem)
        w = _weights(weights, count(samples, "samples", minimum=2))
        squares = np.stack([self._of_layer(i, samples) for i in range(len(self.layers))], axis=1)
        whole = [sum(float(square) for _, square in found.values()) for found in self._found]
        if weights is None:
            self._refuse_uneven_positions()
        small = squares / (w**2)[:, None] / unscaled_by**2
        return StepNorms(small, np.ones(samples), np.array(whole) / unscaled_by**2, float(samples), w)

    def _forward(self, i: int, module: nn.Module, args: Any, kwargs: dict[str, Any], output: Any) -> None:
        x = args[0] if args else kwargs.get("input")
        if not (isinstance(output, Tensor) and output.requires_grad and isinstance(x, Tensor)):
            return
        mixing = [name for name, m in self._model.named_modules() if takes_batch_statistics(m)]
        if mixing:
            self._problem = (
                f"{mixing[0]} normalises by the statistics of the batch, which mixes its samples: their gradients are "
                "those of no sample alone"
            )
        call = _Call(x.detach())
        self._calls[i].append(call)
        output.register_hook(partial(self._backward, i, call))

    def _backward(self, i: int, call: _Call, gradient: Tensor) -> None:
        if call.g is not None:
            self._problem = f"layer {self.layers[i]!r} had two backward passes through one forward pass"
            return
        call.g = gradient.detach()
        if all(one.g is not None for one in self._calls[i]):
            self._settle(i)

    def _settle(self, i: int) -> None:
        """Take the squares of the calls that have a gradient; other outputs were not used, or computed once more."""
        calls, self._calls[i] = [call for call in self._calls[i] if call.g is not None], []
        problem = self._what_is_ambiguous(i, calls)
        if problem or not calls:
            self._problem = self._problem or problem
            return
        module, axis = self._modules[i], self.batch_axis or 0
        rows = [as_rows(module, call.x, call.g, axis) for call in calls if call.g is not None]
        x, g = (torch.cat(column, dim=1) for column in zip(*rows, strict=True))
        with torch.no_grad():
            parts = RULES[type(module)](module, x, g, self._probes[i])
        self._squares[i].append(torch.stack(list(parts.squares.values())).sum(dim=0))
        self._positions[i].append((g != 0).any(dim=2).sum(dim=1))
        for name, value in parts.probes.items():
            self._sums[i][name] = self._sums[i].get(name, 0) + value
        self._dtypes[i] |= {call.g.dtype for call in calls if call.g is not None}
        for call in calls:  # the hook of the output lives as long as the output
            call.x = call.x.new_empty(0)

    def _what_is_ambiguous(self, i: int, calls: list[_Call]) -> str | None:
        axis = self.batch_axis or 0
        shapes = [tuple(call.x.shape) for call in calls]
        channels = len(getattr(self._modules[i], "normalized_shape", (0,)))
        for shape in shapes:
            others = shape if isinstance(self._modules[i], nn.Embedding) else shape[: len(shape) - channels]
            if not -len(others) <= axis < len(others):
                return f"layer {self.layers[i]!r} got an input of shape {shape}, which has no batch axis {axis}"
            if shape[axis] != shapes[0][axis]:
                return f"layer {self.layers[i]!r} is called with different numbers of samples: {shapes}"
            if self.batch_axis is None and others.count(others[0]) > 1:
                return (
                    f"layer {self.layers[i]!r} got an input of shape {shape}, in which two axes could be the samples: "
                    "pass batch_axis"
                )
        return None

    def _accumulated(self, i: int, name: str, parameter: Tensor) -> None:
        if parameter.grad is not None:
            gradient = parameter.grad
            self._found[i][name] = probe(gradient, self._probes[i][name]), inner(gradient, gradient)

    def _of_layer(self, i: int, samples: int) -> np.ndarray:
        """Squares of all samples, once they are known to add up to the gradient; shape (samples,)."""
        if not self._squares[i]:
            raise InputError(f"layer {self.layers[i]!r} got no gradient in this step")
        squares = torch.cat(self._squares[i]).cpu().numpy()
        if len(squares) != samples:
            raise InputError(
                f"layer {self.layers[i]!r} saw {len(squares)} samples, the batch has {samples}: is the batch on "
                "another axis, or one with the positions of a sequence?"
            )
        bound = float(np.sqrt(squares).sum())
        for name, expected in self._sums[i].items():
            found = float(self._found[i][name][0]) if name in self._found[i] else 0.0
            eps = torch.finfo(self._lowest(i, name)).eps
            if np.isfinite(bound) and not abs(found - float(expected)) <= max(_ROUNDING, 8 * eps) * bound:
                raise InputError(
                    f"the gradients of the samples of {self.layers[i]!r} do not add up to the .grad of its {name}: "
                    "is it used elsewhere, was .grad not zero before, or are only some of its calls watched?"
                )
        return squares

    def _lowest(self, i: int, name: str) -> torch.dtype:
        dtypes = {p.dtype for n, p in self._modules[i].named_parameters(recurse=False) if n == name} | self._dtypes[i]
        return max(dtypes, key=lambda dtype: torch.finfo(dtype).eps)

    def _refuse_uneven_positions(self) -> None:
        for name, positions in zip(self.layers, self._positions, strict=True):
            numbers = torch.cat(positions)
            if numbers.min() != numbers.max():
                raise InputError(
                    f"samples have gradients at {int(numbers.min())} to {int(numbers.max())} positions of layer "
                    f"{name!r}: in a mean over tokens they count by how many have a label; pass weights, equal ones if "
                    "the loss is the mean over samples of their own means"
                )


def _check_layer(name: str, modules: dict[str, nn.Module]) -> None:
    module = modules.get(name)
    if module is None:
        raise InputError(f"the model has no module {name!r}; it has {', '.join(filter(None, modules))}")
    if type(module) not in RULES:
        kinds = ", ".join(kind.__name__ for kind in RULES)
        raise InputError(f"{name!r} is a {type(module).__name__}; gradients of samples are known of {kinds} themselves")
    if not any(p.requires_grad for p in module.parameters(recurse=False)):
        raise InputError(f"{name!r} has no parameter that needs a gradient")
    changing = [option for option in _REFUSED if getattr(module, option, None)]
    if changing:
        raise InputError(f"{name!r} has {changing[0]} set, with which its gradient is not a plain sum over samples")


def _refuse_shared(model: nn.Module, layers: Sequence[str]) -> None:
    owners: dict[int, list[str]] = {}
    for name, p in model.named_parameters(remove_duplicate=False):
        owners.setdefault(id(p), []).append(name)
    for names in owners.values():
        if len(names) > 1 and any(name.rpartition(".")[0] in layers for name in names):
            raise InputError(
                f"{' and '.join(names)} are one parameter: its gradient has terms of both that go together, which "
                "hooks of one layer do not see; leave these layers out"
            )


def _weights(weights: Sequence[float] | np.ndarray | Tensor | None, samples: int) -> np.ndarray:
    if weights is None:
        return np.full(samples, 1 / samples)
    w = weights.detach().cpu().numpy() if isinstance(weights, Tensor) else np.asarray(weights)
    w = w.astype(np.float64)
    if w.shape != (samples,) or not (w > 0).all():
        raise InputError(f"weights must be {samples} positive numbers, one a sample, got shape {w.shape}")
    return w / w.sum()
