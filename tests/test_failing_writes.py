"""Every write of every writer fails once: what was there is whole, and the same call then ends as if nothing had been.

All go through :mod:`gradlaw.atomic`; chunks of gradients, which do not, are in tests/history/test_damage.py.
"""

import ast
import errno
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

import gradlaw as gl
from failing_disk import FailingDisk
from gradlaw.analysis.files import Files, write_files
from gradlaw.analysis.run_directory import claimed, manifest_of_run
from gradlaw.manifest import write_manifest
from gradlaw.output_files import write_output
from gradlaw.reproduction.experiment import history
from gradlaw.reproduction.measurement import Measurement
from gradlaw.reproduction.store import Result, Store
from gradlaw.reproduction.xie2023.networks import LENET

SOURCE = Path(gl.__file__).parent
# What writes and is not atomic.py: locks, which are signed; the log, which is appended to; chunks and the panels of a
# basis, whose whole rows a note counts; and what is handed a path inside of a write that is atomic.
WRITERS = {
    "lock.py", "watch/log.py", "history/stores/chunk_files.py", "curvature/eigensolver/basis.py", "analysis/files.py",
    "report/write.py", "reproduction/store.py", "atomic.py", "cli/main.py", "cli/signals.py",
}  # fmt: skip
_WRITE = {"write_bytes", "write_text", "savefig", "save_file", "tofile", "open_memmap", "to_excel"}
_OF_OS = {"open", "write", "rename", "replace"}


def test_all_else_is_written_by_one_module():
    found = set()
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            name, of = node.func.attr, node.func.value
            modes = [a.value for a in node.args if isinstance(a, ast.Constant) and isinstance(a.value, str)]
            opens = name == "open" and any(set(mode) <= set("wax+b") and set(mode) & set("wax") for mode in modes)
            if opens or name in _WRITE or (name in _OF_OS and isinstance(of, ast.Name) and of.id == "os"):
                found.add(str(path.relative_to(SOURCE)))
    assert found <= WRITERS


def _problem() -> gl.Problem:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 3))
    return gl.Problem(model, cross_entropy, (torch.randn(40, 4), torch.randint(3, (40,))))


def _run(folder: Path, number: int) -> None:
    """A run of small files."""
    files: Files = {name: lambda path: path.write_text(f"run {number}") for name in ("a.parquet", "figures/b.svg")}
    with claimed(folder) as place:
        staging = place.start()
        write_files(staging, files, "write", gl.Progress(shown=False))
        write_manifest(staging, files)
        place.publish(())


def _train(folder: Path, number: int) -> None:
    problem = _problem()
    assert isinstance(problem.data, tuple)
    recipe = gl.Recipe("adam", 0.01 * (1 + number), 2, batch_size=8)
    gl.train(problem.model, cross_entropy, problem.data, recipe=recipe, checkpoint_dir=folder, overwrite=True)


def _store(folder: Path, number: int) -> None:
    Store(folder).save(Measurement(history(LENET, 1), number, None, None, 40, 20, 20),
                       Result({"tests": {"x": 0.5}}, {"covariance": np.arange(9) / 7}))  # fmt: skip


def _output(folder: Path, number: int) -> None:
    write_output(folder, "rows", {name: f"{name} {number}" for name in ("a.csv", "figures/b.svg")})


def _solver(folder: Path, number: int) -> None:
    matrix = np.diag(1.0 / np.arange(1, 61))
    gl.eigenpairs(matrix, 8, checkpoint=folder / str(number), save_seconds=0)


def _files_of_run(folder: Path) -> list[Path]:
    manifest = manifest_of_run(folder)
    assert manifest is not None
    assert not manifest.faults()
    return [next(f / name for f in manifest.folders if (f / name).exists()) for name in manifest.files]


WRITE: dict[str, Callable[[Path, int], None]] = {
    "run": _run, "training": _train, "store": _store, "output": _output, "solver": _solver,
}  # fmt: skip


def _contents(folder: Path) -> dict[str, bytes]:
    """All but what has time stamps."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): b"" if "epoch" in path.stem else path.read_bytes() for path in files}


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EACCES], ids=errno.errorcode.get)
@pytest.mark.parametrize("kind", WRITE)
def test_whatever_write_fails_the_same_call_goes_on(tmp_path, monkeypatch, kind, number):
    write = WRITE[kind]
    disk = FailingDisk(monkeypatch, number)
    write(tmp_path / "whole", 0)
    disk.calls = 0
    write(tmp_path / "whole", 1)
    calls, expected = disk.calls, _contents(tmp_path / "whole")
    assert calls > 3
    for fail_at in sorted({1, calls // 2, calls - 1, calls}):
        folder, disk.calls, disk.fail_at = tmp_path / str(fail_at), 0, 0
        write(folder, 0)
        disk.calls, disk.fail_at = 0, fail_at
        with pytest.raises(gl.InputError if number == errno.ENOSPC else (gl.InputError, OSError)):
            write(folder, 1)
        disk.fail_at = 0
        if kind == "run":
            assert len({path.read_text() for path in _files_of_run(folder)}) == 1, "the one before, or the new one"
        elif kind == "training":
            assert gl.verify(folder).whole, "the one before, or the new one"
        write(folder, 1)
        assert _contents(folder) == expected
