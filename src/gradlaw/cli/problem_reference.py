"""A problem of the user's own, named as package.module:function."""

import importlib
import os
import sys
from importlib.util import find_spec

from gradlaw.errors import InputError
from gradlaw.problem import Problem


def import_problem(reference: str) -> Problem:
    """Call ``package.module:function``, looked up from the current directory first, and return its Problem.

    Raises:
        InputError: no such module or function, or it returns something else. Whatever the module itself raises is
            passed on.
    """
    module_name, colon, function_name = reference.partition(":")
    if not (module_name and colon and function_name):
        raise InputError(f"--problem takes package.module:function, got {reference!r}")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    if not _exists(module_name):
        raise InputError(f"no module {module_name!r} here or among the installed packages; is it in this directory?")
    function = getattr(importlib.import_module(module_name), function_name, None)
    if not callable(function):
        raise InputError(f"module {module_name!r} has no function {function_name!r}")
    problem = function()
    if not isinstance(problem, Problem):
        raise InputError(f"{reference} must return a gradlaw.Problem, got {type(problem).__name__}")
    return problem


def _exists(module_name: str) -> bool:
    """Whether a module can be found, looking for its parent packages one by one."""
    names = module_name.split(".")
    return all(find_spec(".".join(names[: i + 1])) is not None for i in range(len(names)))
