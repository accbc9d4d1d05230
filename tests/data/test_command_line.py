import json
from pathlib import Path

import numpy as np
import pytest

import gradlaw as gl
from gradlaw.cli.main import main

QUICK = ["analyze", "--iterations", "40", "--k", "20", "--gaussian-k", "20", "--quiet"]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def _data(run):
    return json.loads(Path("runs", run, "analysis.json").read_text())["provenance"]["problem"]["data"]


def test_normalisation_and_label_noise_are_recorded():
    assert (
        main([*QUICK, "--data", "digits", "--normalise", "pixel", "--label-noise", "symmetric=0.4", "--seed", "3"]) == 0
    )
    data = _data("fcn-digits-pixel-symmetric0.4-B10-T40-seed3")
    clean = gl.load_data("digits", normalise="pixel")
    noise = gl.corrupt_labels(clean, "symmetric", 0.4, seed=3).source.label_noise
    assert data["label_noise"] == {"kind": "symmetric", "rate": 0.4, "seed": 3, "realised_rate": noise.realised_rate}
    assert data["normalisation"] == {"per": "pixel"}


def test_a_text_and_a_file_of_ones_own():
    text = "".join(np.random.default_rng(0).choice(list("abcd "), 3000))
    Path("poem.txt").write_text(text)
    assert main([*QUICK, "--data", "poem.txt", "--model", "gpt", "--parameters", "norm*"]) == 0
    assert _data("gpt-poem.txt-B10-T40-seed0")["classes"] == [" ", "a", "b", "c", "d"]
    rows = "".join(f"{a:.3f},{b:.3f},{'ab'[int(a > b)]}\n" for a, b in np.random.default_rng(0).normal(size=(60, 2)))
    Path("mine.csv").write_text("x,y,label\n" + rows)
    assert main([*QUICK, "--data", "mine.csv"]) == 0
    assert _data("fcn-mine.csv-B10-T40-seed0")["samples"] == 60


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--label-noise", "symmetric"], "give a rate from 0 to 1"),
        (["--label-noise", "swap=0.1"], "unknown label noise 'swap=0.1'"),
        (["--data", "poem.txt"], "gpt is for texts, and texts for gpt only"),
        (["--model", "gpt"], "gpt is for texts, and texts for gpt only"),
        (["--data", "poem.txt", "--model", "gpt", "--label-noise", "pair=0.1"], "one class a sample"),
        (["--problem", "a:b", "--label-noise", "pair=0.1"], "--label-noise does not go with --problem"),
        (["--problem", "a:b", "--normalise", "none"], "--normalise does not go with --problem"),
    ],
)
def test_bad_input(capsys, arguments, message):
    Path("poem.txt").write_text("to be or not to be " * 50)
    assert main([*QUICK, *arguments]) == 2
    assert message in capsys.readouterr().err
