"""What is loaded when: heavy packages only where they are used."""

import ast
import importlib
import pkgutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import get_args

import pytest

import gradlaw as gl
from gradlaw import choices
from gradlaw.curvature.eigensolver.projection import PREFERENCE
from gradlaw.history.engines.choose import _FAST
from gradlaw.history.stores.precision import DTYPES
from gradlaw.zoo import MODELS

HEAVY = ("torch", "numpy", "pandas", "scipy", "zarr", "matplotlib", "datasets", "pyarrow", "PIL", "sklearn", "jinja2")


def _loaded_by(code: str) -> set[str]:
    """The modules that a fresh interpreter has after the code, which may end with SystemExit."""
    program = f"import sys\ntry:\n    {code}\nexcept SystemExit:\n    pass\nprint('\\n', *sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


@pytest.mark.parametrize("arguments", ["--version", "--help", "analyze --help", "report --help", "train --help"])
def test_help_loads_nothing_heavy(arguments):
    given = ["gradlaw", *arguments.split()]
    loaded = _loaded_by(f"sys.argv = {given}; from gradlaw.__main__ import command; command()")
    assert "gradlaw.cli.main" in loaded
    assert not loaded.intersection(HEAVY)


def test_the_package_loads_nothing_heavy():
    assert not _loaded_by("import gradlaw; gradlaw.__version__; dir(gradlaw)").intersection(HEAVY)


@pytest.mark.parametrize(
    "name", ["Problem", "fit_power_law", "collect", "gradient_spectrum", "hessian_spectrum", "train", "analyze"]
)
def test_parts_load_what_they_use(name):
    later = {"pandas", "scipy.stats", "scipy.optimize", "zarr", "matplotlib", "datasets", "pyarrow", "PIL", "sklearn"}
    assert not _loaded_by(f"import gradlaw; gradlaw.{name}").intersection(later)


def test_public_names_of_the_package_are_those_that_a_type_checker_sees():
    tree = ast.parse(Path(gl.__file__).read_text())
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    seen = {alias.name: node.module for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert {name: getattr(importlib.import_module(home), name) for name, home in seen.items()} == {
        name: getattr(gl, name) for name in gl.__all__ if not isinstance(getattr(gl, name), ModuleType)
    }
    assert set(gl.__all__) < set(dir(gl))
    with pytest.raises(AttributeError, match="no attribute 'fit_powerlaw'"):
        gl.fit_powerlaw  # noqa: B018


def test_a_submodule_does_not_hide_the_function_of_its_name():
    gl.collect = ModuleType("gradlaw.collect")  # as the import system sets a submodule
    assert callable(gl.collect)
    for module in pkgutil.walk_packages(gl.__path__, "gradlaw."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    rooms = {name for name in gl.__all__ if isinstance(getattr(gl, name), ModuleType)}
    assert rooms == {"curvature", "data", "dynamics", "history", "integrations", "spectra", "stats", "training", "zoo"}


def test_the_words_that_arguments_take_are_those_that_the_package_knows():
    assert tuple(MODELS) == choices.MODELS
    assert tuple(DTYPES) == choices.DTYPES
    assert set(choices.ENGINES) == {"auto", "loop", *_FAST}
    assert set(get_args(choices.Which)) == set(PREFERENCE)
