"""``gradlaw analyze --checkpoints``: which files, in which order, and what comes out."""

import sys
from pathlib import Path

import pandas as pd
import pytest
import torch
from safetensors.torch import save_file

from gradlaw.cli.checkpoint_files import matching
from gradlaw.cli.main import main
from gradlaw.zoo import build_model

QUICK = ["--iterations", "40", "--k", "20", "--gaussian-k", "20", "--width", "8", "--quiet"]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path.copy())
    Path("run").mkdir()
    for step in (1000, 100, 20):
        torch.save(build_model("fcn", (1, 8, 8), 10, seed=step, width=8).state_dict(), f"run/step-{step}.pt")
    Path("run/step-20.json").write_text("{}")


def test_every_checkpoint_is_analysed_by_its_number_and_again_read(capsys):
    assert main(["analyze", "--model", "fcn", "--checkpoints", "run/*", *QUICK]) == 0
    printed = capsys.readouterr().out
    places = [printed.index(name) for name in ("step-20 ", "step-100 ", "step-1000 ")]
    assert places == sorted(places)
    out = Path("runs/checkpoints-run-fcn-digits-width8-B10-T40-seed0")
    assert list(pd.read_csv(out / "checkpoints.csv")["checkpoint"]) == ["step-20", "step-100", "step-1000"]
    assert (out / "step-100/report.html").is_file()
    written = (out / "step-100/analysis.json").stat().st_mtime_ns
    assert main(["analyze", "--model", "fcn", "--checkpoints", "run/*", *QUICK]) == 0
    assert capsys.readouterr().out == printed
    assert (out / "step-100/analysis.json").stat().st_mtime_ns == written
    assert max(map(len, printed.splitlines())) <= 80


def test_what_a_training_of_ours_leaves_needs_no_other_name(capsys):
    assert main(["train", "--width", "8", "--epochs", "2", "--keep-all", "--out", "trained", "--quiet"]) == 0
    assert main(["analyze", "--checkpoints", "trained/*.safetensors", *QUICK[:-3], "--quiet", "--out", "out"]) == 0
    assert list(pd.read_csv("out/checkpoints.csv")["checkpoint"]) == ["epoch-0001", "epoch-0002"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none/*.pt"], "nothing matches 'none/*.pt'"),
        (["ru*"], "matches folders only; name the files in them, such as run/model.safetensors"),
        (["run/*.json"], "matches no file of weights, only such as run/step-20.json"),
        (["run/step-20.pt", "gone.pt"], "there is no file gone.pt"),
        (["run/*.pt", "other.safetensors"], "other.safetensors does not fit FCN: it lacks"),
        (["run/*.pt", "pickled.pt"], "pickled.pt holds no state_dict"),
        (["run/*.pt", "--checkpoint", "run/step-20.pt"], "--checkpoint does not go with --checkpoints"),
        (["run/*.pt", "--store", "x"], "--store does not go with --checkpoints"),
    ],
)
def test_what_cannot_be_analysed_is_refused_before_any_work(capsys, arguments, message):
    save_file({"weight": torch.zeros(3)}, "other.safetensors")
    torch.save([1, 2], "pickled.pt")
    assert main(["analyze", "--model", "fcn", *QUICK, "--checkpoints", *arguments]) == 2
    assert message in capsys.readouterr().err
    assert not Path("runs").exists()


def test_fractions_in_names_are_taken_by_their_values():
    names = ["epoch-9", "epoch-10", "point-0", "point-0.1", "point-0.25", "point-0.5", "point-2", "point-10.5"]
    for name in reversed(names):
        save_file({"weight": torch.zeros(1)}, f"run/{name}.safetensors")
    assert [path.stem for path in matching(["run/*.safetensors"])] == names
