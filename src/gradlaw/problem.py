"""Problem: a model, a per-batch mean loss and a data set, at fixed parameters."""

import copy
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from gradlaw._torch import pytree, uncompiled
from gradlaw.choices import RANDOMNESS as RANDOMNESS
from gradlaw.choices import Randomness
from gradlaw.errors import InputError, count, listed
from gradlaw.html_repr import html_table
from gradlaw.model_state import ModelState
from gradlaw.patterns import chosen
from gradlaw.plain import description_of
from gradlaw.provenance import sha256
from gradlaw.samples import Data, as_samples, collated, count_samples, digest, leaf_of, pair
from gradlaw.training_step import Batches, Step, StepCaller, mean_of_steps
from gradlaw.user_code import noting
from gradlaw.whole_model import whole_model

Loss = Callable[[Any, Any], Tensor]
ModuleKinds = Mapping[str, type[nn.Module] | tuple[type[nn.Module], ...]]
_locks: "weakref.WeakKeyDictionary[nn.Module, threading.RLock]" = weakref.WeakKeyDictionary()
_locks_lock = threading.Lock()


@dataclass(frozen=True)
class ParameterSlice:
    """Where one parameter tensor sits among the n dimensions of a gradient: ``gradient[start:stop]``."""

    name: str
    shape: tuple[int, ...]
    start: int
    stop: int
    layer_type: str


def layer_groups(layout: Sequence[ParameterSlice]) -> dict[tuple[str, str], list[slice]]:
    """The dimensions of the whole model, of each parameter tensor and of each type of layer, as ranges."""
    groups: dict[tuple[str, str], list[slice]] = {("model", "all"): [slice(0, layout[-1].stop)]}
    for part in layout:
        groups[("tensor", part.name)] = [slice(part.start, part.stop)]
    for part in layout:
        groups.setdefault(("layer type", part.layer_type), []).append(slice(part.start, part.stop))
    return groups


class Problem:
    """A model, a loss and data at fixed parameters theta: all that a gradient depends on besides its minibatch.

    Args:
        model: any module. It is used in the mode it is in: in training mode (PyTorch's default) BatchNorm takes the
            statistics of the minibatch, in evaluation mode its running ones. Every pass starts from the parameters,
            buffers and attributes that the model has now, and leaves them as they were. Of one that ``torch.compile``
            made, and of one in ``nn.DataParallel``, the module inside is used; one that is spread over ranks is
            unwrapped or gathered (see :mod:`gradlaw.whole_model`).
        loss: ``loss(model(inputs), targets)``, a scalar: the mean over the minibatch.
            It may be any function of the whole minibatch: class weights, masks, pairs of samples, penalties on theta.
        data: ``(inputs, targets)`` or a map-style ``Dataset`` of such pairs. Inputs and targets are tensors or arrays
            of first dimension N, or dicts (other mappings, such as a BatchEncoding, too), tuples and lists of those; a
            dict is passed to the model as keyword arguments, a tuple or list as positional ones.
        parameters: names of parameters to analyse, or shell-style patterns of them (``"fc*"``), or a list. A name
            that exists is taken as a name, whatever characters it has. Default: all that require a gradient.
        device: where to compute. Default: where the model is; a model that has to move is copied, never moved.
        randomness: ``"refuse"`` a model whose loss is random at fixed theta and minibatch (active dropout), or take it
            ``"seeded"``: each iteration seeds the generators of PyTorch, NumPy and Python, and those that model and
            loss hold.
        name: what to call the model in reports. Default: its class.

    Raises:
        InputError: no trainable parameter, a complex one, one without a shape yet (lazy modules) or without numbers
            (the meta device), a module of TorchScript, a pattern that matches none, data that are empty or of unequal
            lengths, sparse tensors, or arrays of objects.
    """

    def __init__(
        self,
        model: nn.Module,
        loss: Loss,
        data: Dataset[Any] | Sequence[Any] | Batches,
        parameters: str | Sequence[str] | None = None,
        device: torch.device | str | None = None,
        *,
        randomness: Randomness = "refuse",
        name: str | None = None,
    ):
        if not isinstance(model, nn.Module):
            raise InputError(f"model must be a torch.nn.Module, got {type(model).__name__}")
        if not callable(loss):
            raise InputError(f"loss must be callable as loss(output, targets), got {type(loss).__name__}")
        if randomness not in RANDOMNESS:
            raise InputError(f"randomness must be one of {', '.join(RANDOMNESS)}, got {randomness!r}")
        _refuse_scripts(model)
        model = uncompiled(model)
        if isinstance(model, nn.DataParallel) and not isinstance(data, Batches):  # a step may name what is inside
            model = model.module
        model, self.notices = whole_model(model)
        self.loss, self.randomness = loss, randomness
        self.device = _device_of(model, device)
        self.model, self.name = _on_device(model, self.device), name or type(model).__name__
        self.layout, self.takes_all = _layout(self.model, parameters), parameters is None
        self.data: Data = as_samples(data)
        self.data_description = description_of(data)
        self.samples = count_samples(self.data)
        self._caller: StepCaller | None = None

    @classmethod
    def from_step(
        cls,
        model: nn.Module,
        step: Step,
        data: Iterable[Any],
        parameters: str | Sequence[str] | None = None,
        device: torch.device | str | None = None,
        *,
        batches: int | None = None,
        seed: int = 0,
        randomness: Randomness = "refuse",
        name: str | None = None,
    ) -> "Problem":
        """A problem from a training loop: the user's own step on the batches of the user's own loader.

        The samples of such a problem are batches: ``batch_size`` counts them, the loss of an iteration is the mean of
        their losses (as gradient accumulation takes it), and its gradient is that of ``step``, by plain autograd.

        Args:
            model: any module, in the mode it is in.
            step: ``step(model, batch)``, a scalar loss. It has to use the model that it is given.
            data: batches in whatever form the step takes them: a list, a ``DataLoader``, any iterable. What has a
                length and an index is asked for batch by batch; of anything else one pass is made, seeded, and kept.
            parameters: as for :class:`Problem`; this and the next.
            device: where to compute. Tensors of a batch are moved there, and what else has a method ``to``.
            batches: how many batches to take. Default: all.
            seed: of that pass over a loader that shuffles, augments or masks.
            randomness: as for :class:`Problem`; this and the next.
            name: what to call the model in reports.

        Raises:
            InputError: as :class:`Problem`; a step that cannot be called, or no batch.
        """
        if not callable(step):
            raise InputError(f"step must be callable as step(model, batch), got {type(step).__name__}")
        made = Batches(data, None if batches is None else count(batches, "batches"), seed)
        problem = cls(model, mean_of_steps, made, parameters, device, randomness=randomness, name=name)
        problem._caller = StepCaller(problem.model, step)
        return problem

    def part(self, names: Sequence[str]) -> "Problem":
        """The same problem with these of its parameters alone."""
        part = type(self)(
            self.model, self.loss, self.data, names, self.device, randomness=self.randomness, name=self.name
        )
        part._caller, part.notices = self._caller, self.notices
        return part

    def dimensions_by_module(self, kinds: ModuleKinds) -> dict[str, list[slice]]:
        """The dimensions that belong to each kind of module, as ranges: groups for statistics by layer type.

        A parameter belongs to the kind of the innermost module that holds it and is of one of the types, so that the
        linear layers of an attention count as attention where only the attention is named. A parameter that several
        modules share is where ``named_parameters`` lists it, at the first of them. Those in no module of these types
        are in no group.

        Args:
            kinds: the type of module, or types, by the name of the kind. A module of two kinds is of the first.

        Raises:
            InputError: no kinds, or one that no analysed parameter belongs to.

        Example:
            >>> model = nn.Sequential(nn.Linear(2, 3), nn.LayerNorm(3))
            >>> problem = Problem(model, nn.functional.mse_loss, (torch.ones(1, 2), torch.ones(1, 3)))
            >>> problem.dimensions_by_module({"linear": nn.Linear, "norm": nn.LayerNorm})
            {'linear': [slice(0, 6, None), slice(6, 9, None)], 'norm': [slice(9, 12, None), slice(12, 15, None)]}
        """
        if not kinds:
            raise InputError("kinds is empty: pass at least one, a name and its type of module")
        groups: dict[str, list[slice]] = {kind: [] for kind in kinds}
        for part in self.layout:
            kind = _kind_of(self.model, part.name, kinds)
            if kind is not None:
                groups[kind].append(slice(part.start, part.stop))
        empty = [kind for kind, ranges in groups.items() if not ranges]
        if empty:
            held = ", ".join(sorted({part.layer_type for part in self.layout}))
            raise InputError(
                f"no analysed parameter belongs to: {', '.join(empty)}. Those that hold parameters themselves are: "
                f"{held}; a type that is around one of these takes its parameters only where the inner type is not "
                "named as well"
            )
        return groups

    @property
    def by_batches(self) -> bool:
        """Whether its samples are batches of a step (:meth:`from_step`), which only plain autograd takes."""
        return self._caller is not None

    @property
    def functions(self) -> tuple[Any, ...]:
        """What a pass calls, model first: the model and the loss, or the step."""
        return self.model, self.loss if self._caller is None else self._caller.step

    def refuse_batches(self, what: str) -> None:
        """Refuse a problem of a step for what needs gradients of samples, or a model's outputs.

        Raises:
            InputError: it is one.
        """
        if self.by_batches:
            raise InputError(
                f"{what} is not defined for a problem of a step, whose samples are whole batches and whose outputs are "
                "losses; make it of a model, a loss and data: gradlaw.Problem(model, loss, data)"
            )

    @property
    def dimensions(self) -> int:
        """n, the number of parameters analysed."""
        return self.layout[-1].stop

    @property
    def dtype(self) -> torch.dtype:
        """In what gradients are kept: float64 if any analysed parameter is, otherwise float32."""
        return torch.float64 if any(p.dtype == torch.float64 for p in self.parameters()) else torch.float32

    def parameters(self) -> list[nn.Parameter]:
        """The analysed parameters, in the order of ``layout``.

        Raises:
            InputError: the model has some of them no more.
        """
        named = dict(self.model.named_parameters())
        if any(part.name not in named for part in self.layout):
            self.refuse_other_parameters()
        return [named[part.name] for part in self.layout]

    def refuse_other_parameters(self) -> None:
        """See that the model still has the parameters that the problem was made of; their values may have changed.

        Raises:
            InputError: it has not; the message names them.
        """
        now = dict(self.model.named_parameters())
        names = [part.name for part in self.layout]
        gone = [name for name in names if name not in now]
        reshaped = [part.name for part in self.layout if part.name in now and now[part.name].shape != part.shape]
        frozen = [name for name in names if name in now and not now[name].requires_grad]
        added = [name for name, p in now.items() if self.takes_all and p.requires_grad and name not in {*names}]
        found = {"has no more": gone, "has in other shapes": reshaped, "has frozen": frozen, "has added": added}
        changes = "; ".join(f"{how} {listed(which)}" for how, which in found.items() if which)
        if changes:
            raise InputError(
                f"the model {self.name} has other parameters than when its Problem was made: it {changes}. Make the "
                "Problem anew"
            )

    def buffers(self) -> dict[str, Tensor]:
        """Fresh copies of the model's buffers, so that a forward pass may write to them without changing the model."""
        return {name: buffer.clone() for name, buffer in self.model.named_buffers()}

    def fetch(self, indices: np.ndarray) -> tuple[Any, Any]:
        """Inputs and targets of the samples ``indices`` (any shape), on the device, of leading shape ``indices``'s."""
        with torch.inference_mode(False):
            return self._fetch(indices)

    def _fetch(self, indices: np.ndarray) -> tuple[Any, Any]:
        if isinstance(self.data, Batches):
            return self.data.fetch(indices, self.device), None
        if isinstance(self.data, tuple):
            chosen = torch.from_numpy(np.array(indices, order="C"))
            return pytree.tree_map(lambda a: leaf_of(a[chosen.to(a.device)].to(self.device)), self.data)
        pairs = collated([pair(self.data[int(i)], i) for i in indices.ravel()])
        reshape = lambda a: leaf_of(a.reshape(*indices.shape, *a.shape[1:]).to(self.device))  # noqa: E731
        return pytree.tree_map(reshape, tuple(pairs))

    def minibatch_loss(self, state: Mapping[str, Tensor], inputs: Any, targets: Any) -> Tensor:
        """The loss of one minibatch with the parameters and buffers in ``state`` put in place of the model's own."""
        return self.loss(self.output(state, inputs), targets)

    def output(self, state: Mapping[str, Tensor], inputs: Any) -> Any:
        """What the model makes of inputs, with ``state`` put in place; a dict of inputs is passed as keywords."""
        if self._caller is not None:
            inside = {StepCaller.PREFIX + name: value for name, value in state.items()}
            return torch.func.functional_call(self._caller, inside, (inputs,))
        args, kwargs = _arguments(inputs)
        return torch.func.functional_call(self.model, dict(state), args, kwargs)

    def plain_loss(self, inputs: Any, targets: Any) -> Tensor:
        """The loss of one minibatch by the model as it stands, and as its own code would call it."""
        where = "the step" if self.by_batches else f"the model {self.name} or its loss {self._loss_name}"
        with noting(where, inputs=inputs, targets=targets):
            if self._caller is not None:
                return mean_of_steps(self._caller(inputs), None)
            args, kwargs = _arguments(inputs)
            return self.loss(self.model(*args, **kwargs), targets)

    def state(self, parameters: bool = False) -> ModelState:
        """What passes may change in model and loss, as it is now."""
        with self.turn():
            return ModelState(*self.functions, parameters=parameters)

    def turn(self) -> AbstractContextManager[Any]:
        """A lock that is held while the model is used; threads that share a model take turns."""
        return _lock_of(self.model)

    @contextmanager
    def undisturbed(self, state: ModelState) -> Iterator[None]:
        """Passes inside leave the model in ``state``; threads that share a model take turns.

        Raises:
            InputError: parameters have been replaced by others inside, which is no function of the parameters.
        """
        with self.turn(), torch.inference_mode(False):
            torch.clear_autocast_cache()  # of weights that belong to another pass
            try:
                yield
            finally:
                torch.clear_autocast_cache()
                replaced = state.replaced_parameters()
                state.restore()
        if replaced:
            raise InputError(
                f"the forward pass puts others in the place of the parameters {listed(replaced)}, so that the loss is "
                "no function of them; they have been put back. Compute with a changed copy of their values instead"
            )

    @property
    def _loss_name(self) -> str:
        return str(getattr(self.functions[1], "__name__", type(self.functions[1]).__name__))

    def __repr__(self) -> str:
        noun = "batches" if self.by_batches else "samples"
        return f"Problem({self.name}, {self._loss_name}, n={self.dimensions:,}, {self.samples:,} {noun}, {self.device})"

    def _repr_html_(self) -> str:
        rows: dict[str, object] = {
            "loss": self._loss_name,
            "batches" if self.by_batches else "samples": f"{self.samples:,}",
            "parameters analysed, n": f"{self.dimensions:,} in {len(self.layout)} tensors",
            "mode": "train" if self.model.training else "eval",
            "device": self.device,
        }
        return html_table(f"Problem: {self.name}", rows)

    def describe(self) -> dict[str, Any]:
        """What a result has to record of the problem, with digests of theta and of the data held in memory."""
        analysed = {part.name for part in self.layout}
        return {
            "model": self.name,
            "mode": "train" if self.model.training else "eval",
            "loss": self._loss_name,
            "dimensions": self.dimensions,
            "parameters_not_analysed": [name for name, _ in self.model.named_parameters() if name not in analysed],
            "parameters_sha256": sha256([p.detach() for p in self.model.parameters()]),
            "randomness": self.randomness,
            "data": {
                **self.data_description,
                "samples": self.samples,
                "sha256": digest(self.data),
            },
        }


def _kind_of(model: nn.Module, name: str, kinds: ModuleKinds) -> str | None:
    """The kind of the innermost module around a parameter that has one."""
    path = name.split(".")[:-1]
    for depth in range(len(path), -1, -1):
        module = model.get_submodule(".".join(path[:depth]))
        for kind, types in kinds.items():
            if isinstance(module, types):
                return kind
    return None


def _lock_of(model: nn.Module) -> threading.RLock:
    """One for all problems of a model: hooks, swapped layers and buffers allow one pass through it at a time."""
    with _locks_lock:
        return _locks.setdefault(model, threading.RLock())


def _arguments(inputs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Positional and keyword arguments of the model."""
    if isinstance(inputs, dict):
        return (), inputs
    return (tuple(inputs) if isinstance(inputs, tuple | list) else (inputs,)), {}


def _device_of(model: nn.Module, device: torch.device | str | None) -> torch.device:
    if device is not None:
        return _checked_device(device)
    return next((p.device for p in model.parameters()), torch.device("cpu"))


def _checked_device(device: torch.device | str) -> torch.device:
    try:
        found = torch.empty(0, device=device).device  # the one question that every backend answers
    except (RuntimeError, AssertionError, ImportError, TypeError, ValueError) as error:
        raise InputError(f"device {str(device)!r} cannot be used: {str(error).splitlines()[0]}") from error
    if found.type == "meta":
        raise InputError("device 'meta' cannot be used: its tensors have no values")
    return torch.device(device)


def _refuse_scripts(model: nn.Module) -> None:
    scripts = [
        name or "the model" for name, module in model.named_modules() if isinstance(module, torch.jit.ScriptModule)
    ]
    if scripts:
        raise InputError(
            f"{scripts[0]} is a module of TorchScript, in which nothing can be put in place of parameters; give the "
            "module that it was made from"
        )


def _on_device(model: nn.Module, device: torch.device) -> nn.Module:
    tensors = [*model.parameters(), *model.buffers()]
    return model if all(t.device == device for t in tensors) else copy.deepcopy(model).to(device)


def _layout(model: nn.Module, patterns: str | Sequence[str] | None) -> list[ParameterSlice]:
    lazy = [name for name, p in model.named_parameters() if isinstance(p, nn.parameter.UninitializedParameter)]
    if lazy:
        raise InputError(
            f"parameters without a shape yet: {', '.join(lazy)} (lazy modules); call the model on a minibatch first"
        )
    empty = [name for name, p in model.named_parameters() if p.is_meta]
    if empty:
        raise InputError(f"parameters on the meta device hold no numbers: {listed(empty)}; load the weights first")
    if any(p.is_inference() for p in model.parameters()):
        raise InputError(
            "parameters made in torch.inference_mode() cannot be differentiated; make the model outside of it"
        )
    trainable = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    if not trainable:
        raise InputError(
            "the model has no trainable parameters (all are frozen, or there are none); set requires_grad on those "
            "whose gradients are to be analysed"
        )
    names = [name for name, _ in trainable]
    taken = set(chosen(patterns, names, "no trainable parameter matches", len(names)))
    trainable = [(name, p) for name, p in trainable if name in taken]
    no_text = [name for name, _ in trainable if name.encode(errors="replace").decode() != name]
    if no_text:
        raise InputError(f"the name of a parameter has to be text that a file can hold (UTF-8), got {listed(no_text)}")
    complex_ones = [name for name, p in trainable if p.is_complex()]
    if complex_ones:
        raise InputError(
            f"complex parameters: {', '.join(complex_ones)}. Make each of them two real ones (torch.view_as_complex of "
            "a real parameter in the forward pass), or leave them out by the names in parameters"
        )
    layout, start = [], 0
    for name, p in trainable:
        layer = model.get_submodule(name.rpartition(".")[0])
        layout.append(ParameterSlice(name, tuple(p.shape), start, start + p.numel(), type(layer).__name__))
        start += p.numel()
    return layout
