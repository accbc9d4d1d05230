"""``gradlaw batch-size`` from the command line, on the digits and on checkpoints."""

import json
import sys
from pathlib import Path

import pytest

from gradlaw.cli.main import main

QUICK = ["--iterations", "60", "--hessian-samples", "100", "--width", "8", "--quiet"]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path.copy())


def test_the_digits_have_a_table_that_fits_the_terminal(capsys):
    assert main(["batch-size", *QUICK, "--in-use", "32", "--out", "out"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("fcn: critical batch size, in samples\nAbout ")
    assert "In use: 32, which is " in printed
    assert max(map(len, printed.splitlines())) <= 80
    assert Path("out/batch_size.csv").is_file()


def test_a_checkpoint_brings_its_training(capsys):
    recipe = ["--batch-size", "64", "--optimiser", "momentum", "--learning-rate", "0.02", "--milestones", "1"]
    assert main(["train", "--width", "8", "--epochs", "2", *recipe, "--out", "trained", "--quiet"]) == 0
    capsys.readouterr()
    assert main(["batch-size", "--checkpoint", "trained", *QUICK[:-3], "--quiet", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["training"] == {"batch_size": 64, "optimizer": "momentum", "learning_rate": pytest.approx(0.002)}
    assert record["model"].startswith("fcn (epoch-0002")


def test_bad_input_ends_with_a_message(capsys):
    assert main(["batch-size", "--iterations", "5", "--quiet"]) == 2
    assert "iterations must be at least 20" in capsys.readouterr().err
