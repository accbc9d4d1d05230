"""A problem of the user's own, named as package.module:function."""

import os
import sys
from pkgutil import resolve_name

from gradlaw.errors import InputError
from gradlaw.problem import Problem


def import_problem(reference: str) -> Problem:
    """Call ``package.module:function``, looked up from the current directory first, and return its Problem.

    Raises:
        InputError: no such module or function, or it returns something else. Whatever the module itself raises is
            passed on.
    """
    parts = reference.split(":")
    if len(parts) != 2 or not all(name.isidentifier() for part in parts for name in part.split(".")):
        raise InputError(f"--problem takes package.module:function, got {reference!r}")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    module = parts[0]
    try:
        resolve_name(f"{module}:")  # apart from its function, so that an AttributeError of its own is passed on
    except ModuleNotFoundError as error:
        if not f"{module}.".startswith(f"{error.name}."):  # one that the module itself imports
            raise
        raise InputError(
            f"no module {module!r} here or among the installed packages; is it in this directory?"
        ) from None
    try:
        function = resolve_name(reference)
    except AttributeError:
        function = None
    if not callable(function):
        raise InputError(f"module {module!r} has no function {parts[1]!r}")
    problem = function()
    if not isinstance(problem, Problem):
        raise InputError(f"{reference} must return a gradlaw.Problem, got {type(problem).__name__}")
    return problem
