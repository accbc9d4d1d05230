"""A training in the place of another, which stays until the new one is whole.

The new one is written into ``.replacing`` inside the folder. When it is done, that is renamed to ``.replaced``: from
then on the new one counts, and readers of the folder look there. Its files are then put in their places, those of the
old one are removed, and last ``.replaced`` itself; whoever claims the folder next does the rest for a process that was
killed.
"""

import os
import shutil
from pathlib import Path

from gradlaw.atomic import PARTIAL, flush, full_disk_explained
from gradlaw.training.checkpoint import REPLACED, training_files

_REPLACING, _PLACED = ".replacing", ".placed"


def staging_of(folder: Path) -> Path:
    """Where the training that is to take the place of the one in a folder is written; made if it is not there."""
    staging = folder / _REPLACING
    staging.mkdir(exist_ok=True)
    return staging


def put_in_place(folder: Path) -> None:
    """Have the training that was written beside the one in a claimed folder in its place."""
    with full_disk_explained(folder, "the training before or the new one is whole", "repeat the command"):
        (folder / _REPLACING).rename(folder / REPLACED)
        flush(folder)
        complete(folder)


def complete(folder: Path) -> None:
    """Do what a process that was killed while it replaced a training had still to do; the folder is claimed."""
    replaced, placed = folder / REPLACED, folder / _PLACED
    if replaced.is_dir():
        new = training_files(replaced)
        for file in new:
            _place(file, folder / file.name)
        names = {file.name for file in new}
        for file in training_files(folder):  # JSON before weights, so that what has a JSON is whole
            if file.name not in names:
                file.unlink()
        flush(folder)
        replaced.rename(placed)
    shutil.rmtree(placed, ignore_errors=True)


def _place(file: Path, place: Path) -> None:
    """The file under another name too, which is replaced."""
    temporary = place.with_name(place.name + PARTIAL)
    temporary.unlink(missing_ok=True)
    try:
        os.link(file, temporary)
    except OSError:  # a file system without links
        shutil.copyfile(file, temporary)
        flush(temporary)
    temporary.replace(place)
