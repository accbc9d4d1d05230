"""Weights in files: read them, whoever wrote them, and put them into a model."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from gradlaw.errors import InputError, listed

PICKLED = (".pt", ".pth", ".bin", ".ckpt")
_NESTED = ("state_dict", "model", "model_state_dict")
_PREFIXES = ("module.", "_orig_mod.")
_MOST_NAMED = 5


def read_weights(path: Path) -> dict[str, Tensor]:
    """The state of a model from a safetensors file, or from a file of ``torch.save`` read with ``weights_only``.

    The state may lie under "state_dict", "model" or "model_state_dict".

    Raises:
        InputError: no such file, another kind of file, or one that holds no named tensors.
    """
    if not path.is_file():
        raise InputError(f"there is no file {path}")
    if path.suffix == ".safetensors":
        try:
            state: Any = safetensors.torch.load_file(path)
        except SafetensorError as error:
            raise InputError(f"{path} is no whole safetensors file: {error}") from error
    elif path.suffix in PICKLED:
        state = _unpickle(path)
    else:
        raise InputError(f"{path}: weights are read from .safetensors files and from {', '.join(PICKLED)}")
    while isinstance(state, Mapping) and not _named_tensors(state):
        inner = next((state[key] for key in _NESTED if isinstance(state.get(key), Mapping)), None)
        if inner is None:
            break
        state = inner
    if not isinstance(state, Mapping) or not _named_tensors(state):
        raise InputError(f"{path} holds no state_dict (a dict of tensors by name); save model.state_dict()")
    return dict(state)


def load_weights(model: nn.Module, state: Mapping[str, Tensor], where: str) -> None:
    """Copy a state into a model; of tensors that the model shares under several names, one is enough.

    A "module." or "_orig_mod." before all names (of DataParallel, of torch.compile) that the model does not have is
    taken off.

    Args:
        model: changed in place.
        state: tensors by name, as in ``model.state_dict()``.
        where: where the state is from, for messages.

    Raises:
        InputError: missing or unexpected names, other shapes or kinds of numbers (whole, real, complex), or parameters
            that are not finite; the model is left as it was.
    """
    own = model.state_dict()
    state = _without_prefix(state, own)
    names = _first_names(own)
    given = {names[name] for name in state if name in names}
    problems = [
        _listed("it lacks", [f"{name} {tuple(own[name].shape)}" for name in own if names[name] not in given]),
        _listed("the model has no", [name for name in state if name not in own]),
        _listed("shapes differ:", [
            f"{name} is {tuple(tensor.shape)} in the file and {tuple(own[name].shape)} in the model"
            for name, tensor in state.items() if name in own and tensor.shape != own[name].shape
        ]),
        _listed("kinds of numbers differ:", [
            f"{name} is {tensor.dtype} in the file and {own[name].dtype} in the model"
            for name, tensor in state.items() if name in own and _kind(tensor) != _kind(own[name])
        ]),
        _listed("not finite are", [
            name for name, _ in model.named_parameters() if name in state and not state[name].isfinite().all()
        ]),
    ]  # fmt: skip
    if any(problems):
        raise InputError(f"{where} does not fit {type(model).__name__}: {'; '.join(filter(None, problems))}")
    with torch.no_grad():
        for name, tensor in state.items():
            own[name].copy_(tensor)


def _kind(tensor: Tensor) -> str:
    return "complex" if tensor.is_complex() else "real" if tensor.is_floating_point() else "whole"


def distinct(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a state on the CPU, those that are shared under several names once."""
    first = _first_names(state)
    return {name: t.detach().cpu().contiguous() for name, t in state.items() if first[name] == name}


def _without_prefix(state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    for prefix in _PREFIXES:
        if all(name.startswith(prefix) and name not in own for name in state):
            state = {name.removeprefix(prefix): tensor for name, tensor in state.items()}
    return state


def _first_names(state: Mapping[str, Tensor]) -> dict[str, str]:
    """For each name the first one of the same tensor."""
    first: dict[tuple[int, tuple[int, ...]], str] = {}
    return {
        name: first.setdefault((t.data_ptr(), tuple(t.shape)), name) if t.numel() else name for name, t in state.items()
    }


def _unpickle(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the unpickler raises whatever damaged bytes lead it to
        reason = next(iter(str(error).splitlines()), "") or type(error).__name__
        raise InputError(
            f"{path} cannot be read as weights alone ({reason}); save model.state_dict(), not the model"
        ) from error


def _named_tensors(state: Mapping[Any, Any]) -> bool:
    return bool(state) and all(isinstance(k, str) and isinstance(t, Tensor) for k, t in state.items())


def _listed(what: str, items: list[str]) -> str:
    return f"{what} {listed(items, _MOST_NAMED)}" if items else ""
