"""``--json`` of every command: one object of standard JSON on standard output, and nothing else there."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, NoReturn

import pytest

import gradlaw as gl
from gradlaw.analysis.overview import overview
from gradlaw.cli.main import main
from gradlaw.training import load_checkpoint

SIZES = ["--iterations", "40", "--k", "12", "--gaussian-k", "12"]
# Of a user who prints while the problem is made and while gradients are computed; no tail and no noise scale to find.
TALKS = """
import torch, gradlaw as gl

class Talking(torch.nn.Linear):
    def forward(self, x):
        print("in the forward pass")
        return super().forward(x)

def problem():
    torch.manual_seed(0)
    print("making the problem")
    data = torch.randn(50, 3), torch.randn(50, 2)
    return gl.Problem(Talking(3, 2), torch.nn.functional.mse_loss, data, name="mine")
"""


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path.copy())


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> tuple[Path, subprocess.CompletedProcess]:
    """A folder with a run, and what the command that made it printed."""
    folder = tmp_path_factory.mktemp("json")
    (folder / "talks.py").write_text(TALKS)
    command = [sys.executable, "-m", "gradlaw", "analyze", "--problem", "talks.py:problem", *SIZES, "--out", "run"]
    return folder, subprocess.run([*command, "--json"], cwd=folder, capture_output=True, text=True, check=True)


def _no_json(text: str) -> NoReturn:
    raise AssertionError(f"{text} is not of JSON")


def parsed(text: str) -> dict[str, Any]:
    record: dict[str, Any] = json.loads(text, parse_constant=_no_json)
    return record


def printed(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 0) -> dict[str, Any]:
    """What the command prints with ``--json``."""
    assert main([*arguments, "--json"]) == status
    return parsed(capsys.readouterr().out)


def test_an_analysis_prints_the_object_alone(finished):
    folder, done = finished
    record = parsed(done.stdout)
    run = gl.Analysis.load(folder / "run")
    assert (record["run"], record["report"]) == ("run", "run/report.html")
    assert record["statistics"] == json.loads(json.dumps(overview(run)))
    assert (record["settings"], record["notices"]) == (run.settings, run.notices)
    assert [finding["headline"] for finding in record["findings"]] == [finding.headline for finding in run.findings]
    for told in ("making the problem", "in the forward pass", "collect gradients"):
        assert told in done.stderr


def test_a_finished_run_is_reported_drawn_and_verified(finished, capsys):
    folder, done = finished
    shutil.copytree(folder / "run", "run")
    analysed = parsed(done.stdout)
    record = printed(capsys, "report", "run")
    assert record == {name: value for name, value in analysed.items() if name != "run"}
    figures = printed(capsys, "figures", "run", "--format", "svg", "--output", "drawn")["figures"]
    assert sorted(map(Path, figures)) == sorted(Path("drawn").iterdir())
    found = printed(capsys, "verify", "run")
    assert found["whole"]
    assert [(one["directory"], one["holds"], one["damages"]) for one in found["directories"]] == [("run", "a run", [])]
    Path("run/report.html").unlink()
    found = printed(capsys, "verify", "run", "--quiet", status=1)
    (damage,) = found["directories"][0]["damages"]
    assert (found["whole"], damage["file"], damage["repaired"]) == (False, "run/report.html", False)


def test_several_runs_are_in_one_object(finished, capsys):
    folder, done = finished
    for name in ("a", "b"):
        shutil.copytree(folder / "run", name)
    record = printed(capsys, "report", "a", "b", "--output", "page.html")
    assert record["report"] == "page.html"
    statistics = parsed(done.stdout)["statistics"]
    assert {name: run["statistics"] for name, run in record["runs"].items()} == {"a": statistics, "b": statistics}
    assert list(printed(capsys, "compare", "a", "b", "--separate", "--quiet", "--out", "out")["groups"]) == ["a", "b"]
    assert parsed(Path("out/comparison.json").read_text())["level"] == 0.95


def test_a_training_and_its_checkpoints(capsys):
    arguments = ["--width", "4", "--epochs", "1", "--batch-size", "600", "--label-noise", "symmetric=0.2", "--quiet"]
    record = printed(capsys, "train", *arguments, "--out", "trained")
    checkpoint = load_checkpoint(record["checkpoint"])
    assert record["model"] == checkpoint.settings["model"]
    assert record["recipe"] == json.loads(json.dumps(checkpoint.settings["recipe"]))
    assert record["label_noise"]["kind"] == "symmetric"
    assert record["training"]["loss"] > 0
    assert (record["test"], len(record["epochs"])) == (None, 1)
    found = printed(capsys, "analyze", "--checkpoints", record["checkpoint"], *SIZES, "--quiet", "--out", "runs")
    assert (found["directory"], found["table"]) == ("runs", "runs/checkpoints.csv")
    ((name, run),) = found["runs"].items()
    assert run["statistics"] == json.loads(json.dumps(overview(gl.Analysis.load(Path("runs") / name))))


def test_a_plan_has_numbers_without_units(capsys, mnist_folder):
    arguments = ["plan", "table3 row 4", "--mnist", str(mnist_folder), "--offline", "--store", "store", "--quiet"]
    record = printed(capsys, *arguments)
    assert (record["profile"], record["in_store"], record["missing"]) == ("quick", 0, [])
    assert record["seconds"] == sum(task["seconds"] for task in record["tasks"]) > 0
    assert all(task["memory"] > 0 and task["disk"] > 0 for task in record["tasks"])
    assert "table3 row 4" in record["tasks"][-1]["for"]
    nothing = printed(capsys, "plan", "table3 row 4", "--offline", "--store", "store", "--quiet")
    assert (nothing["tasks"], nothing["seconds"]) == ([], 0)
    assert all("mnist" in missing["reason"] for missing in nothing["missing"])
    assert len(nothing["missing"]) == sum("history" in task["task"] for task in record["tasks"]) > 0


def test_an_error_leaves_standard_output_empty(capsys):
    assert main(["report", "nowhere", "--json"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "nowhere" in captured.err
