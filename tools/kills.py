"""Kill commands at random moments, repeat them, and compare with a run that nobody disturbed; damage files, and read.

    python tools/kills.py analyze|train|hessian [--tries 15] [--seed 0]
    python tools/kills.py reproduce --mnist FOLDER        # a folder of MNIST in Parquet files
    python tools/kills.py damage [--tries 300]            # random damage of all else that is written

Each try is a process of its own, forked from one that has the imports done. A try is killed (SIGKILL) once at a moment
drawn from the time that an undisturbed run takes, then repeated; its files must be those of the undisturbed run, time
stamps aside. One that ended before it was killed does not count. Counts are printed, and stand in docs/reliability.md.
"""

import argparse
import json
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from forked import exit_status, forked
from one_damage import damage_file
from torch import nn
from torch.nn.functional import cross_entropy

import gradlaw as gl
from gradlaw.by_value import equal
from gradlaw.cli.main import main as gradlaw
from gradlaw.reproduction.evidence import Evidence
from gradlaw.reproduction.experiment import history
from gradlaw.reproduction.measurement import Measurement
from gradlaw.reproduction.profiles import Profile
from gradlaw.reproduction.results import ResultTable, write_results
from gradlaw.reproduction.store import Result, Store
from gradlaw.reproduction.xie2023.networks import LENET
from gradlaw.sealed_json import SEAL

_TIMED = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00|\d{4}-\d\d-\d\d \d\d:\d\d(:\d\d)?")
_TIMED_KEYS = ("time", "seconds", SEAL)


@dataclass(frozen=True)
class Command:
    """What is killed: runs in the current directory, and leaves files in the folder ``out``."""

    run: Callable[[], object]


def analyze() -> Command:
    arguments = ["analyze", "--iterations", "200", "--k", "40", "--quiet", "--width", "8", "--extended",
                 "--store", "out/gradients", "--out", "out/run"]  # fmt: skip
    return Command(lambda: gradlaw(arguments))


def train() -> Command:
    arguments = ["train", "--epochs", "12", "--quiet", "--width", "8", "--optimiser", "adam", "--points", "0,0.5,3",
                 "--out", "out"]  # fmt: skip
    return Command(lambda: gradlaw([*arguments, "--resume"]))


def hessian() -> Command:
    def run() -> int:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(12, 20), nn.Tanh(), nn.Linear(20, 5))
        problem = gl.Problem(model, cross_entropy, (torch.randn(300, 12), torch.randint(5, (300,))))
        found = gl.hessian_spectrum(problem, k=60, checkpoint="solver", save_seconds=0.0)
        Path("out").mkdir(exist_ok=True)
        np.save("out/eigenvalues.npy", found.eigenvalues)
        return 0

    return Command(run)


def reproduce(mnist: Path) -> Command:
    arguments = ["reproduce", "table1 row 3", "table3 row 4", "--profile", "tiny",
                 "--mnist", str(mnist.absolute()), "--offline", "--quiet",
                 "--store", "out/store", "--out", "out/tables"]  # fmt: skip
    return Command(lambda: gradlaw(arguments))


def run_in(folder: Path, work: Callable[[], object], kill_after: float | None = None) -> int:
    """Run in a process of its own; returns its exit status, minus the signal that ended it."""

    def quietly() -> object:
        os.chdir(folder)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return work()

    return exit_status(forked(quietly), kill_after)


def contents(folder: Path) -> dict[str, Any]:
    """The files of a folder by name, without the time stamps in them and the digests of what has some."""
    return {str(path.relative_to(folder)): _timeless(path) for path in folder.rglob("*") if path.is_file()}


def _timeless(path: Path) -> Any:
    if path.suffix == ".json":
        return _without(json.loads(path.read_text()))
    if path.suffix in (".html", ".md", ".svg"):
        return _TIMED.sub("", path.read_text())
    return path.read_bytes()


def _without(value: Any) -> Any:
    """Without what is timed; of a manifest the names alone, for digests are of what has time stamps too."""
    if isinstance(value, dict) and set(value) == {"bytes", "sha256"}:
        return "listed"
    if isinstance(value, dict):
        return {name: _without(item) for name, item in value.items() if name not in _TIMED_KEYS}
    return [_without(item) for item in value] if isinstance(value, list) else value


def kill(command: Command, tries: int, seed: int) -> Counter[str]:
    """How many tries ended how."""
    rng, outcomes = random.Random(seed), Counter[str]()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "whole").mkdir()
        start = time.monotonic()
        assert run_in(folder / "whole", command.run) == 0, "the undisturbed run failed"
        lasted, expected = time.monotonic() - start, contents(folder / "whole/out")
        while outcomes["killed"] < tries:
            here = folder / "killed"
            here.mkdir()
            if run_in(here, command.run, rng.uniform(0, lasted)) == -signal.SIGKILL:  # or it was faster
                outcomes["killed"] += 1
                status = run_in(here, command.run)
                same = contents(here / "out") == expected
                outcomes["then the same files" if same and status == 0 else f"OTHER: status {status}, same {same}"] += 1
                print(dict(outcomes), file=sys.stderr, flush=True)
            shutil.rmtree(here)
    return outcomes


def damage(tries: int, seed: int) -> Counter[str]:
    """How many pieces of damage were found by the functions that read, and how."""
    rng, outcomes = random.Random(seed), Counter[str]()
    with tempfile.TemporaryDirectory() as place:
        subjects = _subjects(Path(place))
        for name, folder, read in subjects:
            whole = read()
            files = sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix != ".html")
            for _ in range(tries // len(subjects)):
                path = rng.choice(files)
                content = path.read_bytes()
                kind = damage_file(path, rng)
                outcomes[f"{name}, {kind}: {_outcome(read, whole, folder)}"] += 1
                path.write_bytes(content)
    return outcomes


def _subjects(place: Path) -> list[tuple[str, Path, Callable[[], Any]]]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3))
    data = torch.randn(64, 6), torch.randint(3, (64,))
    problem = gl.Problem(model, cross_entropy, data)
    gl.analyze(problem, iterations=60, batch_size=4, k=20, gaussian_k=30).save(place / "run")
    recipe = gl.Recipe("adam", 0.01, 3, batch_size=8)
    gl.train(model, cross_entropy, data, recipe=recipe, checkpoint_dir=place / "training")
    store, measurement = Store(place / "store"), Measurement(history(LENET, 1), 0, None, None, 40, 20, 20)
    store.save(measurement, Result({"tests": {"x": 0.1}}, {"covariance": np.arange(500) / 7}))
    evidence = Evidence(store, (0,), {(measurement.experiment, 0): measurement}, {})
    write_results(place / "results", Profile("tiny", "", 40, 20, None, 20, 20, 1, 20, 100, 5), evidence)
    gl.critical_batch_size(problem, 60, 4, hessian_samples=0).save(place / "output")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with gl.watch(model, optimizer, log=place / "log/log.jsonl", every=1):
        for _ in range(5):
            optimizer.zero_grad()
            cross_entropy(model(data[0]), data[1]).backward()
            optimizer.step()
    return [
        ("a run", place / "run", lambda: gl.Analysis.load(place / "run")),
        ("a training", place / "training", lambda: _training(place / "training")),
        ("a store of results", place / "store", lambda: store.load(measurement)),
        ("results of a reproduction", place / "results", lambda: _results(place / "results", measurement)),
        ("the output of batch-size", place / "output", lambda: None),
        ("the log of a watch", place / "log", lambda: Log(gl.read_watch(place / "log/log.jsonl"))),
    ]


def _results(folder: Path, measurement: Measurement) -> Result:
    return ResultTable(folder).load(measurement)


@dataclass(frozen=True)
class Log:
    """The log of a watch. One that lost its end is that of a run that was killed: it reads up to there, and says so."""

    log: gl.WatchLog

    def shows(self, whole: "Log") -> bool:
        """Whether it is the whole one, or the beginning of it."""
        records = self.log.records
        return self.log.header == whole.log.header and records == whole.log.records[: len(records)]


def _training(folder: Path) -> list[Any]:
    """What a training that goes on reads."""
    from gradlaw.training.resume import optimiser_tensors

    checkpoint = gl.load_checkpoint(folder)
    state = [*sorted(checkpoint.weights.items()), *sorted(optimiser_tensors(checkpoint).items())]
    return [checkpoint.settings, [(name, tensor.tolist()) for name, tensor in state]]


def _outcome(read: Callable[[], Any], whole: Any, folder: Path) -> str:
    try:
        logs = list(folder.glob("*.jsonl"))
        named = not all(gl.verify(path).whole for path in logs or [folder])
        found = read()
    except gl.InputError:
        return "refused"
    except Exception as error:  # what must not happen is counted
        return f"TRACEBACK {type(error).__name__}"
    if isinstance(found, Log) and found.log != whole.log and found.shows(whole):
        return "read up to where it was cut off"
    if not _same(found, whole):
        return "SILENT"
    return "named by verify, not read" if named else "harmless"


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, gl.Analysis):
        return all(equal(getattr(a, f.name), getattr(b, f.name)) for f in fields(a))
    if isinstance(a, Log):
        return bool(a.log == b.log)
    return equal(a, b)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("analyze", "train", "hessian", "reproduce", "damage"))
    parser.add_argument("--tries", type=int, metavar="N", help="default: 15, of damage 300")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--mnist", type=Path, metavar="FOLDER")
    options = parser.parse_args()
    torch.set_num_threads(1)  # a pool of threads does not survive a fork
    start = time.monotonic()
    if options.what == "damage":
        outcomes = damage(options.tries or 300, options.seed)
    else:
        made = {"analyze": analyze, "train": train, "hessian": hessian, "reproduce": lambda: reproduce(options.mnist)}
        outcomes = kill(made[options.what](), options.tries or 15, options.seed)
    for outcome, number in sorted(outcomes.items()):
        print(f"{number:5} {outcome}")
    print(f"{options.what}, seed {options.seed}: {time.monotonic() - start:.0f} s", file=sys.stderr)


if __name__ == "__main__":
    main()
