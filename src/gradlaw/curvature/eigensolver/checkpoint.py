"""Checkpoints of an eigensolver: the rows of its basis and its state, in a folder.

Rows are in files that are on the disk before the state that counts them: whenever the process dies, the folder holds a
whole state and the rows that belong to it. Both have checksums, and what does not hold is refused. Of several ranks
each writes the rows of its share, and then the first the state; any number of them can go on.
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
from gradlaw.ranks import ALONE, RankGroup
from gradlaw.sealed import sealed, unsealed

_STATE = "state.npz"


class SolverState:
    """What a run saves to a folder every few minutes, and resumes from.

    Args:
        folder: made if it is not there.
        settings: what the run was asked for, as JSON takes it; a checkpoint of other settings is refused.
        seconds: between two saves.
        ranks: that run together.

    Raises:
        InputError: the folder holds a checkpoint of other settings, or one that is damaged, or cannot be written to.
    """

    def __init__(self, folder: Path, settings: dict[str, Any], seconds: float, ranks: RankGroup = ALONE):
        self.folder, self.ranks, self._settings = folder, ranks, json.dumps(settings, sort_keys=True)
        self._seconds, self._saved = seconds, time.monotonic()
        with ranks.together():
            make_writable(folder, "the folder of the checkpoint")
        self.state: dict[str, Any] | None = ranks.first(lambda: self._read(settings))

    def due(self) -> bool:
        """Whether the last save is long enough ago, by the clock of the first rank."""
        return self.ranks.first(lambda: time.monotonic() - self._saved >= self._seconds)

    def save(self, state: dict[str, Any], basis: Basis) -> None:
        """Write the rows that are not yet there, then the state."""
        checksums = basis.save(self.folder)
        self.ranks.first(lambda: self._write(state, checksums))
        basis.forget_old_files(self.folder)
        self._saved = time.monotonic()

    def remove(self) -> None:
        """Delete the files of a run that is done, and the folder if nothing else is in it."""
        with self.ranks.together():
            for path in [*self.folder.glob(f"{_STATE}*"), *self.folder.glob("basis-*")]:
                path.unlink(missing_ok=True)
        self.ranks.first(self._remove_folder)

    def _remove_folder(self) -> None:
        if not any(self.folder.iterdir()):
            self.folder.rmdir()

    def _write(self, state: dict[str, Any], checksums: list[list[int]]) -> None:
        content = io.BytesIO()
        flat = np.array([one for panels in checksums for one in panels], dtype=np.int64)
        np.savez(content, settings=self._settings, checksums=flat, panels=[len(p) for p in checksums], **state)
        write_whole(self.folder / _STATE, sealed(content.getvalue()), then="run again: it resumes")

    def _read(self, settings: dict[str, Any]) -> dict[str, Any] | None:
        """The state, if there is one, with the checksums of the panels of each rank that saved it."""
        if not (self.folder / _STATE).exists():
            return None
        content = unsealed(self.folder / _STATE, f"delete the folder {self.folder}, and compute again")
        with np.load(io.BytesIO(content)) as arrays:
            state: dict[str, Any] = dict(arrays)
        self._check(json.loads(str(state.pop("settings"))), settings)
        flat = state.pop("checksums").tolist()
        ends = np.cumsum(state.pop("panels", [len(flat)])).tolist()  # one rank, in a state of an older version
        return state | {"checksums": [flat[start:end] for start, end in zip([0, *ends], ends, strict=False)]}

    def _check(self, theirs: dict[str, Any], ours: dict[str, Any]) -> None:
        ours = json.loads(json.dumps(ours))
        for name in sorted(theirs.keys() | ours.keys()):
            if theirs.get(name) != ours.get(name):
                raise InputError(
                    f"the checkpoint in {self.folder} is of a run with {name} = {theirs.get(name)!r}, this one has "
                    f"{ours.get(name)!r}; choose another folder, or delete it"
                )
