"""References to a problem of one's own: what is wrong with one, or with its code, is said."""

import sys
from pathlib import Path

import pytest

from gradlaw.cli.problem_reference import import_problem
from gradlaw.errors import InputError

MODULE = """
import torch, gradlaw as gl
def problem():
    data = torch.randn(50, 6), torch.randn(50, 4)
    return gl.Problem(torch.nn.Linear(6, 4), torch.nn.functional.mse_loss, data, name='own')
class Problems:
    small = staticmethod(problem)
number = 3
def nothing():
    return 3
"""


@pytest.fixture(autouse=True)
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The package ``own`` in the current directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    Path("own").mkdir()
    Path("own/models.py").write_text(MODULE)
    Path("own/needs.py").write_text("import not_installed_anywhere\n")
    Path("own/fails.py").write_text("import own\nown.no_such_attribute\n")


@pytest.mark.parametrize("reference", ["own.models:problem", "own.models:Problems.small", "own/models.py:problem"])
def test_a_function_gives_its_problem(reference: str) -> None:
    assert import_problem(reference).name == "own"


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("", "takes package.module:function"),
        ("own.models", "takes package.module:function"),
        ("own.models:", "takes package.module:function"),
        (":problem", "takes package.module:function"),
        (".own:problem", "takes package.module:function"),
        ("own..models:problem", "takes package.module:function"),
        ("own/nowhere.py:problem", "there is no file own/nowhere.py"),
        ("own/models.py:1", "takes package.module:function"),
        ("own.models:problem:again", "takes package.module:function"),
        ("own.nowhere:problem", "no module 'own.nowhere'"),
        ("nowhere.at.all:problem", "no module 'nowhere.at.all'"),
        ("own.models.deeper:problem", "no module 'own.models.deeper'"),
        ("math.deeper:problem", "no module 'math.deeper'"),
        ("own.models:missing", "no function 'missing'"),
        ("own.models:problem.missing", "no function 'problem.missing'"),
        ("own.models:number", "no function 'number'"),
        ("own.models:nothing", "must return a gradlaw.Problem, got int"),
    ],
)
def test_what_is_wrong_is_said(reference: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        import_problem(reference)


@pytest.mark.parametrize("reference", ["own.{}:problem", "own/{}.py:problem"])
def test_errors_of_the_user_s_code_are_told_with_their_place(reference: str) -> None:
    with pytest.raises(InputError, match=r"raised ModuleNotFoundError: .*not_installed_anywhere.*needs.py, line 1\)"):
        import_problem(reference.format("needs"))
    with pytest.raises(InputError, match=r"raised AttributeError: .*no_such_attribute.*fails.py, line 2\)"):
        import_problem(reference.format("fails"))


def test_errors_of_the_function_are_told_with_their_place() -> None:
    Path("own/raises.py").write_text("def problem():\n    return {}['missing']\n")
    with pytest.raises(InputError, match=r"own.raises:problem raised KeyError: 'missing' \(.*raises.py, line 2\)"):
        import_problem("own.raises:problem")
