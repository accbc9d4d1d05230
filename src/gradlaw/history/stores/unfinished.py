"""How far the collection of a store has come, so that the same call goes on after whatever ended it.

One file, replaced whole after each band of rows, once these are on the disk: it holds what identifies the run, all that
the collection carries from band to band, and a digest. It is there from the beginning and gone at the end.
"""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gradlaw.atomic import flush, write_whole
from gradlaw.sealed import sealed, unsealed

UNFINISHED = "unfinished"
_TEXT = "text"


class Unfinished:
    """The file in the folder of a store.

    Args:
        folder: of the store.
        identity: of the run: settings, problem, software; plain data.
    """

    def __init__(self, folder: Path, identity: dict[str, Any]):
        self.folder, self.identity = folder, json.loads(json.dumps(identity))

    def read(self) -> tuple[dict[str, Any], dict[str, Any], dict[str, Tensor]]:
        """Identity of the run that was begun, and the state and arrays of the last :meth:`save`.

        Raises:
            InputError: the file is damaged.
        """
        content = unsealed(self.folder / UNFINISHED, "delete the folder, and collect again")
        with np.load(io.BytesIO(content)) as arrays:
            tensors = {name: torch.from_numpy(arrays[name]) for name in arrays.files if name != _TEXT}
            text = json.loads(str(arrays[_TEXT]))
        return text["identity"], text["state"], tensors

    def save(self, state: dict[str, Any], arrays: dict[str, Tensor]) -> None:
        """Replace the file; what it counts has to be on the disk already.

        Args:
            state: plain data.
            arrays: of float or integer types that NumPy has.

        Raises:
            InputError: the disk is full.
        """
        content = io.BytesIO()
        text = json.dumps({"identity": self.identity, "state": state})
        np.savez(content, **{_TEXT: text}, **{name: a.cpu().numpy() for name, a in arrays.items()})  # type: ignore[arg-type]
        write_whole(
            self.folder / UNFINISHED,
            sealed(content.getvalue()),
            kept="what was collected before is kept",
            then="make the same call again: it goes on from there",
        )

    def remove(self) -> None:
        """The collection is finished."""
        (self.folder / UNFINISHED).unlink(missing_ok=True)
        flush(self.folder)
