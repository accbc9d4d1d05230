"""A run directory through whatever may happen to it: runs that are written or killed on the way, damage, repair."""

import random
import shutil
import tempfile
from functools import partial
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

import gradlaw as gl
from gradlaw.analysis.run_directory import claimed, manifest_of_run
from gradlaw.manifest import write_manifest
from killed_at_call import killed_at_call
from tools.one_damage import damage_file

CALLS = ("rename", "replace", "unlink", "mkdir", "write_text")
NAMES = (("analysis.json", "a.parquet", "figures/a.svg"), ("analysis.json", "b.parquet", "figures/b.svg"))


def _write(directory: Path, number: int) -> None:
    """A run of small files; every other one has other names."""
    with claimed(directory) as place:
        folder = place.start()
        for name in NAMES[number % 2]:
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(f"{number} {name}")
        write_manifest(folder, NAMES[number % 2])
        place.publish(())


class RunMachine(RuleBasedStateMachine):
    """There is the last run that was published, whole, or an error, and that only after damage."""

    def __init__(self) -> None:
        super().__init__()
        self.place = Path(tempfile.mkdtemp())
        self.directory = self.place / "run"
        self.begun = self.number = 0
        self.damaged = False

    def teardown(self) -> None:
        shutil.rmtree(self.place)

    @rule()
    def write(self) -> None:
        self.begun += 1
        try:
            _write(self.directory, self.begun)
        except gl.InputError:  # a damaged manifest cannot say what to remove: remove the run, as it says
            assert self.damaged
            shutil.rmtree(self.directory)
            _write(self.directory, self.begun)
        self.number, self.damaged = self.begun, False

    @rule(call=st.integers(1, 20))
    def killed(self, call: int) -> None:
        self.begun += 1
        begin = partial(_write, self.directory, self.begun)
        if not self.damaged and not killed_at_call(begin, call, CALLS):
            self.number = self.begun

    @rule(seed=st.integers(0, 2**32))
    def damage(self, seed: int) -> None:
        files = sorted(path for path in self.directory.rglob("*") if path.is_file() and path.stat().st_size)
        if files:
            damage_file(random.Random(seed).choice(files), random.Random(seed))
            self.damaged = True

    @invariant()
    def what_is_there_is_one_run(self) -> None:
        try:
            manifest = manifest_of_run(self.directory)
            found = {} if manifest is None else {name: manifest.read(name).decode() for name in manifest.files}
        except gl.InputError:
            assert self.damaged
            return
        if not found:
            assert self.number == 0 or self.damaged
            return
        numbers = {int(text.split()[0]) for text in found.values()}
        assert len(numbers) == 1
        (number,) = numbers
        assert found == {name: f"{number} {name}" for name in NAMES[number % 2]}
        assert number in range(self.number, self.begun + 1) or self.damaged
        self.number = max(self.number, number)  # one that was killed behind the moment from which it counts


def test_a_run_directory_holds_one_run_or_says_so_whatever_happens(monkeypatch):
    monkeypatch.setattr("os.fsync", lambda descriptor: None)  # the machine does not end
    run_state_machine_as_test(RunMachine, settings=settings(max_examples=25, stateful_step_count=12, deadline=None))
    with pytest.raises(gl.InputError, match="holds no run"):
        gl.Analysis.load("no such run")
