import sys
from pathlib import Path

import datasets
import numpy as np
import pytest
import torch

import gradlaw as gl
from gradlaw.cli.main import main
from gradlaw.training import load_checkpoint

QUICK = ["--iterations", "40", "--k", "20", "--gaussian-k", "20", "--quiet"]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path.copy())


def _fails(capsys, *arguments: str) -> str:
    assert main(list(arguments)) == 2
    return capsys.readouterr().err


def _problem(directory: str) -> dict:
    return gl.Analysis.load(directory).provenance["problem"]


def test_digits_are_trained_and_the_checkpoint_analysed(capsys):
    assert main(["train", "--epochs", "4", "--seed", "1", "--quiet"]) == 0
    out = capsys.readouterr().out.splitlines()
    folder = Path("runs/train-fcn-digits-epochs4-seed1")
    assert out[0] == "fcn on digits, 4 epochs of sgd"
    assert out[-1] == f"checkpoint: {folder}/epoch-0004.safetensors"
    checkpoint = load_checkpoint(folder)
    assert checkpoint.settings["training"]["accuracy"] > 0.85
    assert main(["analyze", *QUICK, "--checkpoint", str(folder)]) == 0
    problem = _problem("runs/train-fcn-digits-epochs4-seed1-epoch-0004-B10-T40-seed0")
    assert problem["model"] == "fcn (epoch-0004.safetensors)"
    assert problem["data"]["name"] == "digits"
    expected = gl.Problem(checkpoint.build(), torch.nn.functional.cross_entropy, gl.load_data("digits")).describe()
    assert problem["parameters_sha256"] == expected["parameters_sha256"]
    assert "already holds a training" in _fails(capsys, "train", "--epochs", "4", "--seed", "1", "--quiet")


def test_sizes_and_label_noise_come_from_the_checkpoint():
    sizes = ["--model", "lnn-relu", "--width", "12", "--hidden-layers", "1", "--logits", "20"]
    noise = ["--label-noise", "symmetric=0.4", "--seed", "5"]
    assert main(["train", *sizes, *noise, "--epochs", "1", "--quiet", "--out", "trained"]) == 0
    trained = load_checkpoint("trained").settings
    assert abs(trained["data"]["label_noise"]["realised_rate"] - 0.4) < 0.04
    assert main(["analyze", *QUICK, "--checkpoint", "trained", "--out", "run"]) == 0
    problem = _problem("run")
    assert problem["data"]["sha256"] == trained["data"]["sha256"]
    assert problem["dimensions"] == 64 * 12 + 12 + 12 * 20 + 20


def test_the_weights_of_a_user_fit_a_named_model_or_a_problem(tmp_path, capsys):
    torch.save({"state_dict": gl.build_model("lnn", (1, 8, 8), 10, seed=9).state_dict()}, "mine.pt")
    assert "does not say which model it is of; name it with --model" in _fails(
        capsys, "analyze", *QUICK, "--checkpoint", "mine.pt"
    )
    assert main(["analyze", *QUICK, "--checkpoint", "mine.pt", "--model", "lnn", "--out", "run"]) == 0
    message = _fails(capsys, "analyze", *QUICK, "--checkpoint", "mine.pt", "--model", "fcn", "--out", "other")
    assert "mine.pt does not fit FCN: it lacks 2.running_mean (70,)" in message
    Path("mine_problem.py").write_text(
        "import gradlaw as gl\nfrom torch.nn.functional import cross_entropy\n\n\ndef make():\n"
        "    data = gl.load_data('digits')\n"
        "    return gl.Problem(gl.build_model('lnn', data.sample_shape, 10), cross_entropy, data)\n"
    )
    assert main(["analyze", *QUICK, "--problem", "mine_problem:make", "--checkpoint", "mine.pt", "--out", "user"]) == 0
    assert _problem("user")["parameters_sha256"] == _problem("run")["parameters_sha256"]


def test_numbers_and_texts_train_as_well(tmp_path, capsys):
    rng = np.random.default_rng(0)
    rows = {f"f{i}": rng.normal(size=80) for i in range(10)} | {"label": np.arange(80) % 12}
    for split in ("train", "test"):
        datasets.Dataset.from_dict(rows).to_parquet(tmp_path / f"avila/{split}-00000-of-00001.parquet")
    assert main(["train", "--data", "avila", "--epochs", "2", "--quiet", "--out", "numbers"]) == 0
    assert load_checkpoint("numbers").model.classes == 12
    assert load_checkpoint("numbers").settings["test"]["accuracy"] is not None
    assert load_checkpoint("numbers").settings["test_data"]["split"] == "test"
    Path("poem.txt").write_text("the quick brown fox jumps over the lazy dog\n" * 60)
    small = ["--model", "gpt", "--width", "8", "--hidden-layers", "1", "--heads", "2", "--epochs", "1", "--quiet"]
    assert main(["train", "--data", "poem.txt", *small, "--out", "text"]) == 0
    assert load_checkpoint("text").settings["recipe"]["optimiser"] == "adam"
    assert main(["analyze", *QUICK, "--checkpoint", "text", "--batch-size", "2", "--out", "run"]) == 0
    assert _problem("run")["loss"] == "next_token_loss"
    assert "gpt is for texts" in _fails(capsys, "train", "--model", "gpt", "--quiet")


def test_mistakes_on_the_command_line(capsys):
    assert "unknown model 'alexnet'" in _fails(capsys, "train", "--model", "alexnet")
    assert "fcn has no heads to choose" in _fails(capsys, "train", "--heads", "2", "--quiet")
    assert "has 10 classes, more than the 3 logits" in _fails(capsys, "train", "--logits", "3", "--quiet")
    assert "has no split 'test'" in _fails(capsys, "train", "--test-split", "test", "--quiet")
    with pytest.raises(SystemExit):  # how argparse leaves
        main(["train", "--epochs", "0", "--quiet"])
    assert "--epochs: must be at least 1, got 0" in capsys.readouterr().err
    assert "there is no file nowhere.pt" in _fails(capsys, "analyze", "--checkpoint", "nowhere.pt")
    assert "unknown label noise" in _fails(capsys, "train", "--label-noise", "much", "--quiet")
