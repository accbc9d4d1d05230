"""Arguments of the front doors, held against the types that their annotations name before any work begins."""

import inspect
from collections.abc import Callable
from functools import cache, wraps
from numbers import Real
from os import PathLike
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin

import numpy as np

from gradlaw.errors import InputError

Function = TypeVar("Function", bound=Callable[..., Any])
_MOST_SHOWN = 60  # characters of a wrong value


def checked(function: Function) -> Function:
    """Refuse arguments that are of another type than the annotation says, where it names classes of gradlaw, truth
    values, numbers, words or paths. Counts, seeds and arrays are checked by what takes them.

    Raises:
        InputError: on a call with a wrong argument; the message has its name, what it must be and what it was.
    """
    signature = inspect.signature(function)

    @wraps(function)
    def checking(*args: Any, **kwargs: Any) -> Any:
        try:
            given = signature.bind(*args, **kwargs).arguments
        except TypeError:
            return function(*args, **kwargs)  # Python says what is missing or too much
        for name, value in given.items():
            _check(name, value, signature.parameters[name])
        return function(*args, **kwargs)

    return cast(Function, checking)


def _check(name: str, value: Any, parameter: inspect.Parameter) -> None:
    if parameter.kind in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD):
        return
    allowed = _allowed(parameter.annotation)
    if allowed is None or any(accepts(value) for _, accepts in allowed):
        return
    shown = repr(value)
    shown = shown if len(shown) <= _MOST_SHOWN and "\n" not in shown else f"a {type(value).__name__}"
    hint = "; gradlaw.Progress() shows it" if name == "progress" else ""
    raise InputError(f"{name} must be {' or '.join(words for words, _ in allowed)}, got {shown}{hint}")


@cache
def _allowed(annotation: Any) -> tuple[tuple[str, Callable[[Any], bool]], ...] | None:
    """What an annotation allows, in words and as tests; None if part of it is not understood."""
    parts = get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)
    found = [_of_one(part) for part in parts]
    understood = [one for one in found if one is not None]
    return tuple(dict(understood).items()) if len(understood) == len(found) else None


def _of_one(part: Any) -> tuple[str, Callable[[Any], bool]] | None:
    if part in _SIMPLE:
        return _SIMPLE[part]
    if get_origin(part) is PathLike:
        return _SIMPLE[Path]
    if get_origin(part) is Literal:
        return _SIMPLE[str]
    if inspect.isclass(part) and part.__module__.startswith("gradlaw.") and not getattr(part, "_is_protocol", False):
        return f"a gradlaw {part.__name__}", _instance_of(part)
    return None


def _instance_of(kind: type[Any]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, kind)


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool | np.bool_)


_SIMPLE: dict[Any, tuple[str, Callable[[Any], bool]]] = {
    None: ("None", _instance_of(NoneType)),
    NoneType: ("None", _instance_of(NoneType)),
    bool: ("True or False", lambda value: isinstance(value, bool | np.bool_)),
    float: ("a number", _is_number),
    str: ("a text", _instance_of(str)),
    Path: ("a path", _instance_of(PathLike)),
}
