"""``gradlaw compare`` from the command line, on runs of the digits."""

import json
import sys
from pathlib import Path

import pytest

from gradlaw.cli.main import main

QUICK = ["--iterations", "60", "--k", "18", "--gaussian-k", "12", "--width", "8", "--quiet"]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path.copy())


def test_runs_are_compared_printed_and_written(capsys):
    for name, settings in {"a": ["-B", "5"], "b": ["-B", "20", "--store", "gradients"]}.items():
        assert main(["analyze", *QUICK, *settings, "--out", name]) == 0
    capsys.readouterr()
    assert main(["compare", "a", "b", "--history", "b=gradients", "--out", "out", "--quiet"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("2 groups of runs: a, b.")
    assert "Overlap of leading subspaces" in printed
    assert max(map(len, printed.splitlines())) <= 80
    assert printed.endswith("\npage: out/comparison.html\n")
    assert Path("out/comparison.html").is_file()
    assert main(["compare", "a", "b", "--json", "--quiet"]) == 0
    assert list(json.loads(capsys.readouterr().out)["groups"]) == ["a", "b"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a"], "at least 2 runs"),
        (["a", "b"], "a holds no run"),
        (["a", "b", "--history", "folder"], "--history takes NAME=FOLDER"),
    ],
)
def test_bad_input_ends_with_a_message(capsys, arguments, message):
    Path("a").mkdir()
    assert main(["compare", *arguments, "--quiet"]) == 2
    assert message in capsys.readouterr().err
