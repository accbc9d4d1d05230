"""The notebook among the examples: its cells run in order, and what they end with can be shown."""

import ast
import json
from pathlib import Path
from typing import Any

import matplotlib
import pytest

NOTEBOOK = json.loads((Path(__file__).parents[1] / "examples/first_look.ipynb").read_text(encoding="utf-8"))
CELLS = [cell for cell in NOTEBOOK["cells"] if cell["cell_type"] == "code"]


def run(source: str, names: dict[str, Any]) -> Any:
    """Run a cell as a notebook does, and return the value of its last line if that is an expression."""
    tree = ast.parse(source)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "first_look.ipynb", "exec"), names)
    return eval(compile(ast.Expression(last.value), "first_look.ipynb", "eval"), names) if last else None


def test_its_cells_run_and_show_what_they_say(capsys: pytest.CaptureFixture[str]) -> None:
    matplotlib.use("agg")
    names: dict[str, Any] = {}
    shown = [run("".join(cell["source"]), names) for cell in CELLS]
    objects = [value for value in shown if hasattr(value, "_repr_html_")]
    assert [type(value).__name__ for value in objects] == ["Problem", "GradientHistory", "Spectrum", "PowerLawFit"]
    assert all("<table" in value._repr_html_() for value in objects)
    assert names["axes"].lines
    assert set(shown[-1]) == {"norm", "zero_share", "s", "update_ratio"}
    assert "Gaussian" in capsys.readouterr().out


def test_it_is_kept_without_outputs() -> None:
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in CELLS)
