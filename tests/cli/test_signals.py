"""Signals end a command in order, whenever they come, and every process that it started with it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

import gradlaw as gl
from gradlaw.cli.main import main
from gradlaw.cli.signals import Ended, end_at_once, raise_from_now
from tools.forked import exit_status, forked

NAMES = {signal.SIGINT: "SIGINT", signal.SIGTERM: "SIGTERM"}
WAIT = 60.0


@pytest.fixture(autouse=True)
def interrupts_end():
    """As in the foreground of a shell: what is started in its background ignores interrupts."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def _until(condition, what: str) -> None:
    deadline = time.monotonic() + WAIT
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


@pytest.mark.parametrize("number", NAMES)
def test_while_modules_are_imported(number):
    code = "from gradlaw.cli.signals import end_at_once; end_at_once(); print('on', flush=True); import torch, datasets"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "on\n"
    process.send_signal(number)
    error = process.communicate(timeout=WAIT)[1]
    assert process.returncode == 128 + number
    assert error == f"gradlaw: ended by {NAMES[number]}\n"


def test_where_python_drops_exceptions(capfd):
    """In a finaliser, and in what the garbage collector calls: the signal comes again where it can pass."""

    class Finalised:
        def __del__(self):
            os.kill(os.getpid(), signal.SIGTERM)
            [None for _ in range(1000)]  # the signal is noticed between two steps of the interpreter

    def work() -> int:
        end_at_once()
        raise_from_now()
        try:
            Finalised()
            time.sleep(WAIT)
        except Ended as ended:
            return ended.status
        return 0

    assert exit_status(forked(work)) == 128 + signal.SIGTERM
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("number", NAMES)
def test_while_gradients_are_collected(number, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments = ["analyze", "--iterations", "10000", "--engine", "loop", "--k", "20", "--quiet", "--width", "2",
                 "--out", "run dir"]  # fmt: skip

    def analyse() -> int:
        for stream, name in ((1, "out"), (2, "err")):
            os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT), stream)
        sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)  # noqa: SIM115 not pytest's
        end_at_once()
        return main(arguments)

    child = forked(analyse)
    _until(Path("run dir/.lock").exists, "it has not begun")
    time.sleep(0.3)
    os.kill(child, number)
    status, error = exit_status(child), Path("err").read_text()
    assert status == 128 + number, error
    assert error.startswith(f"gradlaw: interrupted by {NAMES[number]}; what was finished is whole. To go on: gradlaw")
    assert error.endswith(" --out 'run dir'\n")
    assert list(Path("run dir").iterdir()) == []
    with pytest.raises(gl.InputError, match="holds no run"):
        gl.Analysis.load("run dir")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_worker_outlives_the_command(number):
    script = Path(__file__).parents[1] / "sleepers.py"
    process = subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    pids = [int(process.stdout.readline()) for _ in range(2)]
    process.send_signal(number)
    _until(lambda: not any(psutil.pid_exists(pid) for pid in pids), "workers are left")
    out, error = process.communicate(timeout=WAIT)
    assert process.returncode == (-number if number == signal.SIGKILL else 1)  # a traceback, without gradlaw's main
    assert out.split() == ["cleaned", "cleaned"]
    assert ("Ended" in error) == (number != signal.SIGKILL)


def test_a_worker_that_dies_is_told_and_the_rest_goes_on(mnist_folder, tmp_path, capsys):
    store = tmp_path / "store"
    arguments = ["reproduce", "table3 row 4", "--profile", "tiny", "--mnist", str(mnist_folder), "--offline",
                 "--store", str(store), "--out", str(tmp_path / "out"), "--quiet", "--jobs", "2"]  # fmt: skip

    def kill_one() -> None:
        """As soon as there are two."""
        parent = psutil.Process(os.getppid())
        while len(found := [p for p in parent.children() if "spawn_main" in " ".join(p.cmdline())]) < 2:
            time.sleep(0.01)
        found[0].kill()

    killer = forked(kill_one)
    assert main(arguments) == 1
    assert exit_status(killer) == 0
    assert "died" in capsys.readouterr().out
    assert main([*arguments[:-1], "1"]) == 0, "the same command does the rest"
