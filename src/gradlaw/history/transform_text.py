"""Transforms as text: what the command line and stored settings say."""

import inspect
from collections.abc import Callable
from typing import Any

from gradlaw.errors import InputError, unknown
from gradlaw.history.transforms import Adam, ClipByNorm, ClipByValue, Momentum, Transform, WeightDecay


def _adam(beta1: float = 0.9, beta2: float = 0.999, eps: float = 1e-8, amsgrad: bool = False) -> Adam:
    return Adam((beta1, beta2), eps, amsgrad)


_BY_NAME: dict[str, Callable[..., Transform]] = {
    "clip-norm": ClipByNorm,
    "clip-value": ClipByValue,
    "weight-decay": WeightDecay,
    "momentum": Momentum,
    "adam": _adam,
}
TRANSFORMS = tuple(_BY_NAME)


def parse_transform(text: str) -> Transform:
    """The transform that ``name=value,value,setting=value,flag`` means; settings are those of the class, in its order.

    >>> parse_transform("clip-norm=1.0")
    ClipByNorm(max_norm=1.0, norm_type=2.0)
    >>> parse_transform("momentum=0.9,nesterov")
    Momentum(beta=0.9, dampening=0.0, nesterov=True)
    >>> parse_transform("adam")
    Adam(betas=(0.9, 0.999), eps=1e-08, amsgrad=False)

    Raises:
        InputError: no such transform or setting, a value that is no number or out of range.
    """
    name, _, rest = text.partition("=")
    if name not in _BY_NAME:
        raise unknown("transform", text, map(_usage, TRANSFORMS))
    settings: dict[str, Any] = {}
    for position, item in enumerate(rest.split(",") if rest else []):
        key, value = _setting(text, name, position, item)
        if key in settings:
            raise InputError(f"transform {text!r} gives {key} twice")
        settings[key] = value
    try:
        return _BY_NAME[name](**settings)
    except InputError as error:
        raise InputError(f"transform {text!r}: {error}") from error
    except TypeError as error:  # what a call raises for a setting that is missing
        raise InputError(f"transform {text!r} lacks a value: {_usage(name)}") from error


def describe(transform: Transform) -> str:
    """All settings in the words of :func:`parse_transform`, which makes the same transform of them.

    >>> describe(Adam(eps=1e-6))
    'adam=0.9,0.999,eps=1e-06'
    """
    match transform:
        case ClipByNorm(max_norm, norm_type):
            return f"clip-norm={float(max_norm)!r},norm_type={float(norm_type)!r}"
        case ClipByValue(value):
            return f"clip-value={float(value)!r}"
        case WeightDecay(coefficient):
            return f"weight-decay={float(coefficient)!r}"
        case Momentum(beta, dampening, nesterov):
            return f"momentum={float(beta)!r},dampening={float(dampening)!r}" + ",nesterov" * bool(nesterov)
        case Adam((beta1, beta2), eps, amsgrad):
            return f"adam={float(beta1)!r},{float(beta2)!r},eps={float(eps)!r}" + ",amsgrad" * bool(amsgrad)


def _setting(text: str, name: str, position: int, item: str) -> tuple[str, float | bool]:
    """Name and value of one setting: a flag, ``key=value``, or a number that its position names."""
    defaults = {key: p.default for key, p in inspect.signature(_BY_NAME[name]).parameters.items()}
    numbers = [key for key, default in defaults.items() if default is not False]
    if defaults.get(item) is False:
        return item, True
    key, equals, value = item.rpartition("=")
    if not equals and position < len(numbers):
        key = numbers[position]
    try:
        if key in numbers:
            return key, float(value)
    except ValueError:
        pass
    raise InputError(f"transform {text!r}: cannot read {item!r}; write {_usage(name)}")


def _usage(name: str) -> str:
    """``momentum[=BETA,DAMPENING,nesterov]``: how a transform is written, brackets around what may be left out."""
    parameters = inspect.signature(_BY_NAME[name]).parameters.values()
    words = [p.name if p.default is False else p.name.upper() for p in parameters]
    needed = [word for word, p in zip(words, parameters, strict=True) if p.default is p.empty]
    optional = words[len(needed) :]
    if not needed:
        return f"{name}[={','.join(optional)}]"
    return f"{name}={','.join(needed)}" + (f"[,{','.join(optional)}]" if optional else "")
