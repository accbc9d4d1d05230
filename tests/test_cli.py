import inspect
import os
import subprocess
import sys
from pathlib import Path

import datasets
import numpy as np
import pytest

import gradlaw as gl
from gradlaw.cli.demonstration import fill_sizes, is_demonstration
from gradlaw.cli.main import _parser, main

_COMMANDS = ("analyze", "batch-size", "compare", "report", "train", "reproduce", "plan", "verify")
QUICK = ["--iterations", "40", "--k", "20", "--gaussian-k", "20", "--quiet"]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path.copy())


def _gradlaw(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess:
    environment = os.environ | {"COLUMNS": "200"}
    return subprocess.run([sys.executable, "-m", "gradlaw", *arguments], capture_output=True, text=True, cwd=cwd,
                          env=environment, check=False)  # fmt: skip


@pytest.mark.parametrize("function", [gl.analyze, gl.collect])
def test_defaults_are_those_of_python_and_of_the_paper(function):
    options = _parser(["analyze"]).parse_args(["analyze", "--model", "fcn"])
    fill_sizes(options)
    named = "iterations", "batch_size", "seed", *(("k", "gaussian_k", "alpha") if function is gl.analyze else ())
    parameters = inspect.signature(function).parameters
    assert [getattr(options, name) for name in named] == [parameters[name].default for name in named]
    assert (options.iterations, options.data, options.problem, options.out) == (5000, None, None, None)


def test_a_demonstration_is_what_names_nothing_to_analyse():
    bare, sized, named = (_parser(["analyze"]).parse_args(["analyze", *arguments]) for arguments in (
        [], ["--iterations", "40", "--width", "8"], ["--data", "digits"]))  # fmt: skip
    for options, sizes in ((bare, ("fcn-relu", 200, 1500)), (sized, ("fcn-relu", 8, 40)), (named, (None, None, 5000))):
        assert is_demonstration(options) == (options is not named)
        fill_sizes(options)
        assert (options.model, options.width, options.iterations) == sizes


def test_the_digits_are_analysed_as_installed(capsys):
    done = _gradlaw("analyze", "--iterations", "600")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= 100
    assert lines[0] == "fcn-relu on digits, B = 10, T = 600"
    assert lines[-1] == "report: runs/fcn-relu-digits-width200-B10-T600-seed0/report.html"
    assert "collect gradients" in done.stderr
    run = gl.Analysis.load("runs/fcn-relu-digits-width200-B10-T600-seed0")
    assert (run.settings["iterations"], run.settings["batch_size"], run.settings["k"]) == (600, 10, 200)
    assert {axis: (tests.series, tests.k) for axis, tests in run.tests.items()} == {
        "dimension": (600, 1000),
        "iteration": (55_210, 200),  # 64-200-200-10
    }
    # The effect that the tool is for, and words for it.
    assert run.tests["dimension"].power_law_rate > 0.9
    assert run.tests["dimension"].power_law_rate_calibrated > 0.7
    assert run.tests["iteration"].power_law_rate_calibrated < 0.05
    assert all(verdict.fit.is_power_law_calibrated for verdict in run.spectral_verdicts())
    seen = lines[lines.index("What is seen:") + 1 :]
    assert seen[: len(run.findings)] == [f"- {finding}" for finding in run.findings]
    assert seen[0] == "- Across parameters, most gradients have power-law tails (high certainty)"
    assert any(line.startswith("This is a demonstration") for line in seen)
    assert main(["analyze", "--iterations", "600"]) == 2
    assert "already holds a run" in capsys.readouterr().err


def test_real_images_from_the_command_line(mnist_folder):
    arguments = ["analyze", "--data", str(mnist_folder), "--model", "lenet", "--batch-size", "1", "--out", "run"]
    assert main([*arguments, "--iterations", "1200", "--k", "400", "--quiet"]) == 0
    run = gl.Analysis.load("run")
    assert run.tests["iteration"].series == 61_706
    assert run.provenance["problem"]["data"]["samples"] == 1_500
    # What the paper reports of this model on MNIST, in broad terms.
    assert run.tests["dimension"].power_law_rate > 0.2
    assert run.tests["dimension"].gaussian_rate < 0.01
    assert run.tests["iteration"].power_law_rate < 0.05
    assert 1.1 < run.spectral_verdicts()[0].fit.s < 2


def test_report_is_written_again(capsys):
    assert main(["analyze", "--model", "fcn", *QUICK, "--out", "run"]) == 0
    first = capsys.readouterr().out
    page = Path("run/report.html").read_bytes()
    Path("run/report.html").unlink()
    assert main(["report", "run"]) == 0
    assert capsys.readouterr().out == first
    assert Path("run/report.html").read_bytes() == page
    assert main(["report", "run", "--output", "page.html"]) == 0
    assert Path("page.html").read_bytes() == page


def test_force_overwrites(capsys):
    assert main(["analyze", *QUICK, "--out", "run"]) == 0
    assert main(["analyze", *QUICK, "--out", "run", "--seed", "1"]) == 2
    assert gl.Analysis.load("run").settings["seed"] == 0
    assert main(["analyze", *QUICK, "--out", "run", "--seed", "1", "--force"]) == 0
    assert gl.Analysis.load("run").settings["seed"] == 1


def test_transforms_are_named_and_recorded(capsys):
    assert main(["analyze", "--model", "fcn", *QUICK, "--transform", "clip-norm=1.0", "--transform", "adam"]) == 0
    assert "fcn on digits (clip-norm=1.0" in capsys.readouterr().out
    run = gl.Analysis.load("runs/fcn-digits-clip-norm1.0-adam-B10-T40-seed0")
    assert [text.partition("=")[0] for text in run.settings["transforms"]] == ["clip-norm", "adam"]


def test_controls_and_types_are_asked_for(capsys):
    assert main(["analyze", *QUICK, "--controls", "--dtype", "bfloat16", "--out", "run"]) == 0
    assert "isotropic" in capsys.readouterr().out
    run = gl.Analysis.load("run")
    assert list(run.controls) == ["isotropic", "permuted", "diagonal"]
    assert run.settings["storage"]["dtype"] == "bfloat16"


def test_a_stored_history_is_read_by_the_next_run(capsys):
    arguments = ["analyze", *QUICK, "--store", "gradients"]
    assert main([*arguments, "--out", "run"]) == 0
    assert main([*arguments, "--out", "other", "--alpha", "0.01"]) == 0
    assert main([*arguments, "--out", "third", "--seed", "1"]) == 2
    assert "seed is 0, not 1" in capsys.readouterr().err
    first, second = gl.Analysis.load("run"), gl.Analysis.load("other")
    np.testing.assert_array_equal(first.spectra["covariance"].eigenvalues, second.spectra["covariance"].eigenvalues)


def test_a_problem_of_ones_own(capsys):
    Path("mine").mkdir()
    Path("mine/models.py").write_text(
        "import torch, gradlaw as gl\n"
        "def problem():\n"
        "    torch.manual_seed(0)\n"
        "    data = torch.randn(50, 6), torch.randn(50, 4)\n"
        "    return gl.Problem(torch.nn.Linear(6, 4), torch.nn.functional.mse_loss, data, name='mine')\n"
        "def nothing():\n"
        "    return 3\n"
    )
    assert main(["analyze", "--problem", "mine.models:problem", *QUICK, "--out", "run"]) == 0
    assert gl.Analysis.load("run").provenance["problem"]["model"] == "mine"
    for reference, message in (
        ("mine.models", "package.module:function"),
        ("mine.nowhere:problem", "no module 'mine.nowhere'"),
        ("nowhere.at.all:problem", "no module 'nowhere.at.all'"),
        ("mine.models:missing", "no function 'missing'"),
        ("mine.models:nothing", "must return a gradlaw.Problem, got int"),
    ):
        assert main(["analyze", "--problem", reference, *QUICK, "--out", "other"]) == 2
        assert message in capsys.readouterr().err
    assert main(["analyze", "--problem", "mine.models:problem", "--model", "fcn", "--out", "other"]) == 2
    assert "--model does not go with --problem" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "mnst"], "unknown data set 'mnst'"),
        (["--data", "empty"], "no Parquet file"),
        (["--data", "unlabelled"], "no label column"),
        (["--model", "resnet"], "unknown model 'resnet'; there are lenet, "),
        (["--model", "lenet"], "lenet takes images of 28x28 or 32x32, the samples have shape 1x8x8"),
        (["--batch-size", "1798"], "batch_size=1798 is larger than the data set (N=1797)"),
        (["--iterations", "1"], "--iterations/-T: must be at least 2, got 1"),
        (["--model", "fcn", "--batch-size", "1"], "a single value per channel"),
        (["--k", "1"], "--k/-K: must be at least 2, got 1"),
        (["--alpha", "1"], "alpha must lie between 0 and 1"),
        (["--parameters", "conv*"], "no trainable parameter matches 'conv*'"),
        (["--transform", "clip=1"], "clip-norm"),
        (["--transform", "adam", "--transform", "clip-norm=1"], "clip"),
        (["--device", "nowhere"], "device 'nowhere'"),
        (["--engine", "magic"], "invalid choice"),
    ],
)
def test_bad_input_ends_with_status_2_and_a_message(capsys, arguments, message):
    Path("empty").mkdir()
    Path("unlabelled").mkdir()
    datasets.Dataset.from_dict({"a": np.arange(4.0)}).to_parquet("unlabelled/train-00000-of-00001.parquet")
    try:
        status = main(["analyze", "--quiet", *arguments])
    except SystemExit as end:  # how argparse leaves
        status = end.code
    assert status == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert "Traceback" not in captured.err
    assert not list(Path().rglob("analysis.json"))


def test_interruption_ends_with_status_130(monkeypatch, capsys):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("gradlaw.cli.analyze.analyze", interrupted)
    assert main(["analyze", *QUICK]) == 130
    assert "interrupted" in capsys.readouterr().err


def test_help_is_there_for_every_command(capsys):
    for arguments in (["--help"], *([name, "--help"] for name in _COMMANDS), ["--version"]):
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        assert ended.value.code == 0
        assert "gradlaw" in capsys.readouterr().out
    assert _gradlaw().returncode == 2


@pytest.mark.parametrize("before", ["", "import torch; "])
def test_threads_are_those_asked_for(before):
    code = f"{before}from gradlaw.cli.main import main; main(['report', 'nowhere', '--threads', '1']); import torch"
    done = subprocess.run([sys.executable, "-c", f"{code}; print(torch.get_num_threads())"], capture_output=True,
                          text=True, check=True, env=os.environ | {"OMP_NUM_THREADS": "2"})  # fmt: skip
    assert done.stdout == "1\n"
    with pytest.raises(SystemExit, match="2"):
        main(["report", "nowhere", "--threads", "0"])
