"""The log: what is in it survives a kill, and a second run appends or is refused."""

import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import gradlaw as gl
from gradlaw.sealed_lines import sealed_line
from watched_loops import network, train

KILLED = """
import os, signal, sys, torch
sys.path.insert(0, {tests!r})
import gradlaw as gl
from gradlaw.sealed_lines import sealed_line
from watched_loops import batches, network
model = network()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
gl.watch(model, optimizer, log={log!r}, every=2)
for step, (inputs, labels) in enumerate(batches(100)):
    optimizer.zero_grad()
    torch.nn.functional.cross_entropy(model(inputs), labels).backward()
    optimizer.step()
    if step == 6:
        os.kill(os.getpid(), signal.SIGKILL)
"""


def run(log: Path, steps: int, **arguments) -> gl.Watch:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with gl.watch(model, optimizer, log=log, **{"every": 2, **arguments}) as watch:
        train(model, optimizer, steps)
    return watch


def test_a_killed_run_leaves_a_readable_log(tmp_path):
    log = tmp_path / "log.jsonl"
    code = KILLED.format(tests=str(Path(__file__).parents[1]), log=str(log))
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    found = gl.read_watch(log)
    assert (found.steps, found.broken) == ([0, 2, 4, 6], ())
    assert found.to_frame().norm.notna().all()


def test_a_line_that_a_kill_cut_off_is_told_and_not_read(tmp_path):
    log = tmp_path / "log.jsonl"
    run(log, 5)
    whole = log.read_bytes()
    log.write_bytes(whole[:-100])
    found = gl.read_watch(log)
    assert found.steps == [0, 2]
    assert len(found.broken) == 1
    assert whole.decode().splitlines()[-1].startswith(found.broken[0])
    run(log, 3, start=4, resume=True)
    found = gl.read_watch(log)
    assert (found.steps, len(found.broken), len(found.runs)) == ([0, 2, 4, 6], 1, 2)
    assert "1 lines cut off" in str(found)


def test_a_second_run_is_refused_or_appends(tmp_path):
    log = tmp_path / "deep/er/log.jsonl"
    run(log, 7)
    with pytest.raises(gl.InputError, match=r"holds a log already: give another path, or resume=True"):
        run(log, 1)
    with pytest.raises(gl.InputError, match="needs start"):
        run(log, 1, resume=True)
    with pytest.raises(gl.InputError, match=r"another every \(2 then, 3 now\), k \(1000 then, 50 now\); give"):
        run(log, 1, resume=True, start=4, every=3, k=50)
    with pytest.raises(gl.InputError, match="another layout"):
        run(log, 1, resume=True, start=4, layers="parameter")
    first = gl.read_watch(log)
    run(log, 5, resume=True, start=4)  # from a checkpoint that is older than the end of the log
    found = gl.read_watch(log)
    frame = found.to_frame()
    assert found.steps == [0, 2, 4, 6, 8]
    assert [run["step"] for run in found.runs] == [0, 4]
    assert frame.groupby("step").run.first().tolist() == [0, 0, 1, 1, 1]
    assert found.records[:2] == first.records[:2]
    assert log.read_text().startswith("".join(line + "\n" for line in log.read_text().splitlines()[:5]))


def test_tables_of_a_log(tmp_path):
    log = tmp_path / "log.jsonl"
    run(log, 3)
    found = gl.read_watch(log)
    wide, long = found.to_frame(), found.to_frame("long")
    assert wide[["step", "layer"]].values.tolist() == [
        [s, layer] for s in (0, 2) for layer in ("(model)", "0", "2", "3", "4")
    ]
    picked = long[(long.step == 2) & (long.layer == "2") & (long.statistic == "norm")]
    assert picked["value"].tolist() == wide[(wide.step == 2) & (wide.layer == "2")].norm.tolist()
    assert long["value"].notna().all()
    assert found.gradients()[["step", "change"]].values.tolist() == [[0, "unmodified"], [2, "unmodified"]]
    assert found == gl.read_watch(log)
    assert str(found).startswith("2 watched steps of 4 layers, 0 to 2; every 2 steps, 1 run")
    with pytest.raises(gl.InputError, match="form must be one of wide, long"):
        found.to_frame("short")


def test_the_same_run_writes_the_same_log_but_for_the_time(tmp_path):
    texts = []
    for name in "ab":
        run(tmp_path / name, 5)
        lines = [json.loads(line) for line in (tmp_path / name).read_text().splitlines()]
        texts.append([{key: line[key] for key in line if key not in ("time", "digest")} for line in lines])
    assert texts[0] == texts[1]


def test_what_is_no_log_is_refused(tmp_path):
    log = tmp_path / "log.jsonl"
    with pytest.raises(gl.InputError, match="there is no log at"):
        gl.read_watch(log)
    log.write_text("a,b\n1,2\n")
    with pytest.raises(gl.InputError, match="is not the log of a watch"):
        gl.read_watch(log)
    with pytest.raises(gl.InputError, match="is not the log of a watch"):
        run(log, 1, resume=True, start=0)
    log.unlink()
    run(log, 5)
    lines = log.read_text().splitlines()
    log.write_text("\n".join([lines[0], lines[1][:50], *lines[2:]]) + "\n")
    with pytest.raises(gl.InputError, match=r"line 2 of .* is damaged"):
        gl.read_watch(log)
    log.write_bytes(sealed_line(_without_digest(lines[0]) | {"format": 99}))
    with pytest.raises(gl.InputError, match="has format 99"):
        gl.read_watch(log)


def test_no_flipped_bit_is_read_as_a_number(tmp_path):
    log = tmp_path / "log.jsonl"
    run(log, 3)
    run(log, 3, start=4, resume=True)
    whole, found, rng = log.read_bytes(), gl.read_watch(log), random.Random(0)
    for place in rng.sample(range(len(whole)), 300):
        log.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << rng.randrange(8)]) + whole[place + 1 :])
        try:
            other = gl.read_watch(log)
        except gl.InputError:
            continue
        assert other.broken, "what is read as a line that was cut off is told"
        assert all(record in found.records for record in other.records)


def test_logs_of_before_there_were_digests_are_read_and_say_so(tmp_path):
    log = tmp_path / "log.jsonl"
    run(log, 3)
    records = [_without_digest(line) for line in log.read_text().splitlines()]
    log.write_text("".join(json.dumps(one).replace('"format": 2', '"format": 1') + "\n" for one in records))
    found = gl.read_watch(log)
    assert found.steps == [0, 2]
    assert str(found).endswith("without digests: damage would not be seen")
    with pytest.raises(gl.InputError, match="with another format"):
        run(log, 1, resume=True, start=4)


def _without_digest(line: str) -> dict:
    return {key: value for key, value in json.loads(line).items() if key != "digest"}


def test_a_full_disk_is_explained(tmp_path):
    watch = run(tmp_path / "log.jsonl", 1)
    with pytest.raises(gl.InputError, match="is closed"):
        watch._writer.write({})
    watch._writer._descriptor = os.open("/dev/full", os.O_WRONLY)
    with pytest.raises(gl.InputError, match="no space left on the disk"):
        watch._writer.write({})
