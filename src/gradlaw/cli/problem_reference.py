"""A problem of the user's own, named as package.module:function or path/to/file.py:function."""

import importlib.util
import os
import sys
import traceback
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from gradlaw.errors import InputError
from gradlaw.problem import Problem


def import_problem(reference: str) -> Problem:
    """Call the function that is referred to and return its Problem.

    Modules are looked up from the current directory first; a file is imported with its folder first.

    Raises:
        InputError: no such file, module or function, it raises something, or it returns something else.
    """
    place, _, name = reference.rpartition(":")
    if place.endswith(".py") and _dotted(name):
        module = _from_file(Path(place), reference)
    elif _dotted(name) and _dotted(place):
        module = _from_name(place, reference)
    else:
        raise InputError(f"--problem takes package.module:function or file.py:function, got {reference!r}")
    function: Any = module
    for part in name.split("."):
        function = getattr(function, part, None)
    if not callable(function):
        raise InputError(f"module {place!r} has no function {name!r}")
    problem = _run(function, reference)
    if not isinstance(problem, Problem):
        raise InputError(f"{reference} must return a gradlaw.Problem, got {type(problem).__name__}")
    return problem


def _dotted(text: str) -> bool:
    return all(part.isidentifier() for part in text.split("."))


def _from_name(name: str, reference: str) -> ModuleType:
    _search(os.getcwd())
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if not f"{name}.".startswith(f"{error.name}."):  # one that the module itself imports
            raise _of_user(error, reference) from error
        raise InputError(f"no module {name!r} here or among the installed packages; is it in this directory?") from None
    except Exception as error:
        raise _of_user(error, reference) from error


def _from_file(path: Path, reference: str) -> ModuleType:
    if not path.is_file():
        raise InputError(f"there is no file {path}")
    _search(str(path.absolute().parent))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None  # a file that ends in .py has one, and a loader
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module  # where pickling and dataclasses look for what it defines
    loader = spec.loader
    _run(lambda: loader.exec_module(module), reference)
    return module


def _search(folder: str) -> None:
    if folder not in sys.path:
        sys.path.insert(0, folder)


def _run(function: Callable[[], Any], reference: str) -> Any:
    """What the user's code returns; an error of it in one line, with its place."""
    try:
        return function()
    except InputError:
        raise
    except (Exception, SystemExit) as error:  # whatever the user's code raises is told, and nothing goes on
        raise _of_user(error, reference) from error


def _of_user(error: BaseException, reference: str) -> InputError:
    frame = traceback.extract_tb(error.__traceback__)[-1]
    place = f"{frame.filename}, line {frame.lineno}"
    return InputError(f"{reference} raised {type(error).__name__}: {error} ({place})")
