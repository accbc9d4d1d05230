"""Checkpoints of an eigensolver: the rows of its basis and its state, in a folder.

Rows are in files that are on the disk before the state that counts them: whenever the process dies, the folder holds a
whole state and the rows that belong to it. Both have checksums, and what does not hold is refused.
"""

import io
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from gradlaw.atomic import make_writable, write_whole
from gradlaw.curvature.eigensolver.basis import Basis
from gradlaw.errors import InputError
from gradlaw.sealed import sealed, unsealed

_STATE = "state.npz"


class SolverState:
    """What a run saves to a folder every few minutes, and resumes from.

    Args:
        folder: made if it is not there.
        settings: what the run was asked for, as JSON takes it; a checkpoint of other settings is refused.
        seconds: between two saves.

    Raises:
        InputError: the folder holds a checkpoint of other settings, or one that is damaged, or cannot be written to.
    """

    def __init__(self, folder: Path, settings: dict[str, Any], seconds: float):
        self.folder, self._settings = folder, json.dumps(settings, sort_keys=True)
        self._seconds, self._saved = seconds, time.monotonic()
        make_writable(folder, "the folder of the checkpoint")
        self.state: dict[str, Any] | None = None
        if (folder / _STATE).exists():
            content = unsealed(folder / _STATE, f"delete the folder {folder}, and compute again")
            with np.load(io.BytesIO(content)) as arrays:
                self.state = dict(arrays)
            self._check(json.loads(str(self.state.pop("settings"))), settings)

    def due(self) -> bool:
        """Whether the last save is long enough ago."""
        return time.monotonic() - self._saved >= self._seconds

    def save(self, state: dict[str, Any], basis: Basis) -> None:
        """Write the rows that are not yet there, then the state."""
        checksums = np.array(basis.save(self.folder), dtype=np.int64)
        content = io.BytesIO()
        np.savez(content, settings=self._settings, checksums=checksums, **state)
        write_whole(self.folder / _STATE, sealed(content.getvalue()), then="run again: it resumes")
        basis.forget_old_files(self.folder)
        self._saved = time.monotonic()

    def remove(self) -> None:
        """Delete the files of a run that is done, and the folder if nothing else is in it."""
        for path in [*self.folder.glob(f"{_STATE}*"), *self.folder.glob("basis-*")]:
            path.unlink(missing_ok=True)
        if not any(self.folder.iterdir()):
            self.folder.rmdir()

    def _check(self, theirs: dict[str, Any], ours: dict[str, Any]) -> None:
        ours = json.loads(json.dumps(ours))
        for name in sorted(theirs.keys() | ours.keys()):
            if theirs.get(name) != ours.get(name):
                raise InputError(
                    f"the checkpoint in {self.folder} is of a run with {name} = {theirs.get(name)!r}, this one has "
                    f"{ours.get(name)!r}; choose another folder, or delete it"
                )
