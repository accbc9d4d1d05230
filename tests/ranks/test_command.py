"""gradlaw analyze as torchrun starts it: the first rank writes and prints, and what is wrong is said once."""

import os
import subprocess
import sys

import pytest

import gradlaw as gl
import sharing

QUICK = ["--iterations", "40", "--k", "10", "--gaussian-k", "20", "--quiet"]


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """What the commands of two ranks printed, and the folder that they were in."""
    folder = tmp_path_factory.mktemp("commands")
    return *sharing.start(sharing.commands, 2, folder), folder


def test_the_first_rank_writes_and_prints_and_the_other_is_silent(told):
    first, second, folder = told
    assert first[0][0] == 0, first[0]
    assert first[0][1].splitlines()[0] == "fcn on digits, B = 10, T = 40"
    assert second[0] == (0, "", "")
    assert gl.Analysis.load(folder / "run").provenance["machine"]["ranks"] == 2
    assert {path.name for path in folder.iterdir() if path.is_dir()} == {"run"}


def test_what_is_wrong_is_said_once_and_ends_all(told):
    first, second, _ = told
    assert (first[1][0], second[1][0]) == (2, 2)
    assert "run already holds a run" in first[1][2]
    assert second[1][1:] == ("", "")


def test_only_one_analysis_is_for_several_ranks(told):
    for rank in told[:2]:
        assert "--checkpoints runs on one rank" in rank[2][2]
        assert "several ranks share gradlaw analyze alone" in rank[3][2]
        assert (rank[2][0], rank[3][0]) == (2, 2)


def test_torchrun_starts_it(tmp_path):
    command = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "-m", "gradlaw", "analyze"]
    done = subprocess.run([sys.executable, *command, *QUICK, "--out", "run"], capture_output=True, text=True,
                          cwd=tmp_path, env=os.environ | {"OMP_NUM_THREADS": "1"}, check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == "fcn on digits, B = 10, T = 40"
    assert done.stdout.count("report: ") == 1
    assert gl.Analysis.load(tmp_path / "run").provenance["machine"]["ranks"] == 2
