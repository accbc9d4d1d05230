"""Whatever is wrong on the command line ends with status 2 and one line: what, where, what to do."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import gradlaw as gl
from data_files import write_images
from gradlaw.cli.main import main

LONG = "a" * 300


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path.copy())
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)


def complaint(capsys, arguments):
    """What is printed of arguments that are refused: one line."""
    try:
        status = main(arguments)
    except SystemExit as end:  # how argparse leaves
        status = end.code
    assert status == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert "error: " in lines[-1]
    assert not any("Traceback" in line for line in lines)
    return lines[-1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["analyse"], "did you mean analyze?"),
        (["analyse"], "unknown command 'analyse'; there are analyze, "),
        (["reproduce", "tabel1"], "nothing in the paper is called 'tabel1'; there are table1 to table"),
        (["reproduce", "tabel1"], "and all; did you mean table1?"),
        (["train", "--data", "digitz"], "one of digits, mnist, cifar10, cifar100; did you mean digits?"),
        (["reproduce", "table1", "--data-root", "nowhere"], "--data-root nowhere: no such folder"),
        (["reproduce", "table1", "--seeds", "1,x"], "--seeds: takes an integer, got 'x'"),
        (["reproduce", "table1", "--jobs", "0"], "--jobs: must be at least 1, got 0"),
        (["analyze", "--seed", "-1"], "--seed: seed must be an integer from 0 to 2^64 - 1, got -1"),
        (["analyze", "--seed", "1.5"], "--seed: takes an integer, got '1.5'"),
        (["analyze", "--logits", "0"], "--logits: must be at least 1, got 0"),
        (["analyze", "--data", ""], "--data is empty"),
        (["analyze", "--parameters", ""], "--parameters is empty"),
        (["analyze", "--inputs", "a,,b"], "--inputs: has an empty name in its list"),
        (["analyze", "--model", "fcn", "--width", "100000000"], "take 40,000,032.0 GB and"),
        (["analyze", "--model", "lnn", "--hidden-layers", "100000"], "the depth of lnn must be at most 10,000"),
        (["analyze", "--out", LONG], "cannot be made: File name too long"),
        (["analyze", "--out", "file"], "the run directory file cannot be made: File exists"),
        (["analyze", "--store", "file", "--out", "run"], "the store file cannot be made: File exists"),
        (
            ["analyze", "--data", "folder/missing"],
            "the folder 'folder' is here and holds no 'missing'; it holds inside",
        ),
        (
            ["analyze", "--checkpoint", "empty.pt", "--model", "fcn"],
            "empty.pt cannot be read as weights alone (EOFError)",
        ),
        (["train", "--learning-rate", "1e308"], "learning_rate must be positive and at most 3.4e+38"),
        (["train", "--learning-rate", "nan"], "--learning-rate: must be positive and finite, got nan"),
        (["train", "--resume", "--force"], "--force: not allowed with argument --resume"),
        (["train", "--seed", "-4"], "--seed: seed must be"),
        (["verify", ""], "an argument is empty; leave it out, or give . for the current directory"),
        (["report", ""], "an argument is empty"),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else "",
)
def test_one_line_says_what_is_wrong(capsys, arguments, message):
    Path("file").write_text("")
    Path("folder/inside").mkdir(parents=True)
    Path("empty.pt").write_bytes(b"")
    assert message in complaint(capsys, arguments)


def test_control_characters_do_not_reach_the_terminal(capsys):
    line = complaint(capsys, ["analyze", "--data", "\x1b[31mred\x07"])
    assert "\\x1b[31mred\\x07" in line
    assert not set("\x1b\x07") & set(line)


def test_brackets_in_a_path_are_a_path():
    arguments = ["--iterations", "40", "--k", "20", "--gaussian-k", "20", "--quiet"]
    assert main(["analyze", *arguments, "--out", "[red]runs[/red]"]) == 0
    assert Path("[red]runs[/red]/report.html").is_file()


def test_a_closed_pipe_is_no_error():
    assert main(["analyze", "--iterations", "40", "--k", "20", "--gaussian-k", "20", "--quiet", "--out", "run"]) == 0
    # A reader that is gone before anything is written, as head may be.
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run([sys.executable, "-m", "gradlaw", "report", "run"], stdout=write, stderr=subprocess.PIPE,
                          text=True, check=False)  # fmt: skip
    os.close(write)
    assert done.returncode in (1, 141)  # rich ends a program whose output is closed with 1
    assert done.stderr == ""


OFFLINE = """
import socket, sys
asked = []

def refuse(*arguments, **_):
    asked.append(arguments[1:])
    raise OSError("no network here")

socket.socket.connect = socket.socket.connect_ex = socket.getaddrinfo = refuse
import gradlaw as gl
for name in sys.argv[1:]:
    print(name, tuple(gl.load_data(name, cache=False).inputs.shape), flush=True)
assert asked == [], asked
"""


def test_local_data_ask_nothing_of_the_network():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.standard_normal((40, 3)), columns=["a", "b", "c"]).assign(label=np.arange(40) % 2)
    frame.to_csv("semicolons.csv", sep=";", index=False)
    frame.to_parquet("table.parquet")
    write_images(Path("images"), [np.zeros((4, 4), np.uint8)] * 2, ["cat", "dog"])
    # In a process of its own: threads of the hub's library, which counts uses, would be heard of nowhere else.
    done = subprocess.run([sys.executable, "-c", OFFLINE, "semicolons.csv", "table.parquet", "images"],
                          capture_output=True, text=True, check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["semicolons.csv (40, 3)", "table.parquet (40, 3)", "images (2, 1, 4, 4)"]


def test_names_of_data_do_not_command_the_terminal(capsys):
    name = "\x1b[31m[bold]$x$.csv"
    frame = pd.DataFrame(np.random.default_rng(0).standard_normal((40, 3)), columns=["a\x1b[2J", "[red]b", "c"])
    frame.assign(label=["cat\x07", "dog"] * 20).to_csv(name, index=False)
    arguments = ["analyze", "--data", name, "--iterations", "40", "--k", "20", "--gaussian-k", "20", "--width", "2"]
    assert main([*arguments, "--out", "run\x1b[31m[red]\udcff"]) == 0
    printed = "".join(capsys.readouterr())
    assert not set("\x1b\x07\udcff") & set(printed)
    assert "\\x1b[31m[bold]$x$.csv" in printed
    assert main(["report", "run\x1b[31m[red]\udcff"]) == 0
    assert "\x1b" not in "".join(capsys.readouterr())


def test_a_hub_that_cannot_be_reached_is_said_at_once(monkeypatch):
    def nowhere(*_, **__):
        raise OSError(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", nowhere)
    monkeypatch.setattr("gradlaw.data.hub.getproxies", dict)
    with pytest.raises(
        gl.InputError, match=r"on the hub, which cannot be reached \(.*Name or service not known\).*--offline"
    ):
        gl.load_data("someone/something", cache=False)


def test_row_numbers_are_no_feature():
    frame = pd.DataFrame({"id": range(1, 31), "width": np.linspace(0, 1, 30), "label": [0, 1] * 15})
    frame.to_csv("numbered.csv", index=False)
    with pytest.raises(gl.InputError, match=r"column 'id' .* numbers the rows \(1, 2, ...\)"):
        gl.load_data("numbered.csv", cache=False)
    assert gl.load_data("numbered.csv", inputs=["width"], cache=False).inputs.shape == (30, 1)


def test_a_training_is_extended(capsys):
    arguments = ["train", "--out", "training", "--milestones", "2", "--quiet", "--batch-size", "600"]
    assert main([*arguments, "--epochs", "2"]) == 0
    assert main([*arguments, "--epochs", "3", "--resume"]) == 0
    assert (
        main(["train", "--out", "whole", "--milestones", "2", "--quiet", "--batch-size", "600", "--epochs", "3"]) == 0
    )
    assert Path("training/epoch-0003.safetensors").read_bytes() == Path("whole/epoch-0003.safetensors").read_bytes()
    again = [*arguments, "--epochs", "4", "--resume"]
    again[again.index("2")] = "1"  # a rate that the epochs which are done did not have
    assert "recipe.milestones was [2] and is [1]" in complaint(capsys, again)
