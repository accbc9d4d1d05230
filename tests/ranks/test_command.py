"""gradlaw analyze as torchrun starts it: the first rank writes and prints, and what is wrong is said once."""

import subprocess
import sys

import pytest

import gradlaw as gl
import sharing


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """What the commands of two ranks printed, and the folder that they were in."""
    folder = tmp_path_factory.mktemp("commands")
    return *sharing.start(sharing.commands, 2, folder), folder


def test_the_first_rank_writes_and_prints_and_the_other_is_silent(told):
    first, second, folder = told
    assert first[0][0] == 0, first[0]
    assert first[0][1].splitlines()[0] == "fcn-relu on digits, B = 10, T = 40"
    assert second[0] == (0, "", "")
    assert gl.Analysis.load(folder / "run").provenance["machine"]["ranks"] == 2
    assert {path.name for path in folder.iterdir() if path.is_dir()} == {"run", "more"}


def test_what_is_wrong_is_said_once_and_ends_all(told):
    first, second, _ = told
    assert (first[1][0], second[1][0]) == (2, 2)
    assert "run already holds a run" in first[1][2]
    assert second[1][1:] == ("", "")


def test_checkpoints_are_analysed_by_all_ranks_and_told_of_by_the_first(told):
    first, second, folder = told
    assert (first[2][0], second[2][0]) == (2, 2)
    assert "nothing-*.pt" in first[2][2]
    assert second[2][1:] == ("", "")
    assert first[3][0] == 0, first[3]
    assert second[3] == (0, "", "")
    table = {"checkpoints.csv", "checkpoints.manifest.json"}
    assert {path.name for path in (folder / "more").iterdir()} == {"weights-1", "weights-2"} | table
    assert gl.Analysis.load(folder / "more/weights-2").provenance["machine"]["ranks"] == 2


def test_only_one_analysis_is_for_several_ranks(told):
    for rank in told[:2]:
        assert "several ranks share gradlaw analyze alone" in rank[4][2]
        assert rank[4][0] == 2


def test_torchrun_says_that_there_are_several_ranks(tmp_path):
    command = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "-m", "gradlaw", "report", "run"]
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 1
    assert "several ranks share gradlaw analyze alone; start this command once, not 2 times" in done.stderr
