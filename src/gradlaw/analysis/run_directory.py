"""A run directory as a place to write: one writer, and at any moment the run before or the new one, whole.

A run is written into ``.writing`` inside the directory, data first, and a manifest of them as soon as they are whole:
from then on a killed run is finished without measuring again. When all is there, renaming the folder to ``.written``
replaces the run that was there before: readers look into that folder first, and its files are then moved to their
places, by whoever claims the directory next if this process is killed.
"""

import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from gradlaw.atomic import PARTIAL, flush, full_disk_explained, make_writable
from gradlaw.errors import InputError
from gradlaw.lock import locked
from gradlaw.manifest import MANIFEST, Manifest, read_manifest, write_manifest

RECORD = "analysis.json"
WRITING, WRITTEN, LOCK = ".writing", ".written", ".lock"
_LAST_FILE = "report.html"  # that versions without a manifest wrote


@dataclass(frozen=True)
class RunDirectory:
    """A directory that this process alone writes to; made by :func:`claimed`.

    Attributes:
        path: of the directory.
        completed: a run that was killed while its files were moved to their places is whole now.
    """

    path: Path
    completed: bool

    @property
    def staging(self) -> Path:
        """Where a run is written."""
        return self.path / WRITING

    def holds_run(self) -> bool:
        """Whether a run is there, whole or damaged, and not merely what an earlier version left of a killed one."""
        before = (self.path / RECORD).exists() and (self.path / _LAST_FILE).exists()
        return (self.path / MANIFEST).exists() or before

    def unfinished(self) -> Path | None:
        """A folder with the whole data of a run that was not finished; None if there is none."""
        for folder in (self.staging, self.path):
            manifest = None if not folder.is_dir() else read_manifest(folder, f"remove {folder}")
            if manifest is None or manifest.faults(data_of(manifest)):
                continue
            if folder == self.staging or self.completed or manifest.faults():
                return folder
        return None

    def check_free(self, force: bool) -> None:
        """Refuse to overwrite a run without being asked to.

        Raises:
            InputError: a run is there and ``force`` is not set.
        """
        if self.holds_run() and not force:
            raise InputError(f"{self.path} already holds a run; choose another directory, or overwrite it with --force")

    def start(self) -> Path:
        """An empty folder to write a run into; what a killed one left there is removed."""
        shutil.rmtree(self.staging, ignore_errors=True)
        self.staging.mkdir(parents=True)
        return self.staging

    def publish(self, former: Iterable[str]) -> None:
        """Put the run that was written, manifest and all, in the place of the one before.

        Args:
            former: names of files that a run of a version without manifests has, to be removed with it.

        Raises:
            InputError: something is in the way.
        """
        for name in _manifest_of(self.staging).files:
            place = self.path / name
            if place.is_dir() or (place.parent.exists() and not place.parent.is_dir()):
                in_the_way = place if place.is_dir() else place.parent
                raise InputError(f"{in_the_way} is in the way of the run; move it and repeat the command")
        if not (self.path / MANIFEST).is_file():
            write_manifest(self.path, [name for name in former if (self.path / name).is_file()])
        with full_disk_explained(self.path, "the run before or the new one is whole", "repeat the command"):
            self.staging.rename(self.path / WRITTEN)  # the moment from which the new run counts
            flush(self.path)
            _move_to_places(self.path)


@contextmanager
def claimed(directory: Path) -> Iterator[RunDirectory]:
    """Be the only one to write into a run directory, which is made if it is not there.

    Raises:
        InputError: it cannot be made or written to, or another process writes to it, which the message names.
    """
    make_folder(directory)
    with locked(directory / LOCK, f"the run directory {directory}"):
        completed = (directory / WRITTEN / MANIFEST).is_file()
        if (directory / WRITTEN).is_dir():
            _move_to_places(directory)
        for partial in directory.glob(f"*{PARTIAL}"):
            partial.unlink(missing_ok=True)
        yield RunDirectory(directory, completed)


def manifest_of_run(directory: Path) -> Manifest | None:
    """The manifest of the run in a directory, wherever its files are; None without one."""
    remedy = f"gradlaw verify {directory} says what can be made again"
    for folder in (directory / WRITTEN, directory):
        if (folder / MANIFEST).is_file():
            return read_manifest(folder, remedy, elsewhere=() if folder == directory else (directory,))
    return None


def update_manifest(directory: Path, names: list[str]) -> None:
    """Have the manifest of a run list files as they are now; a run without one stays without."""
    manifest = manifest_of_run(directory)
    if manifest is not None:
        write_manifest(directory, names, manifest.files)


def data_of(manifest: Manifest) -> list[str]:
    """The files of a run that all others can be made from."""
    return [name for name in manifest.files if name == RECORD or name.endswith(".parquet")]


def make_folder(directory: Path) -> None:
    """Make the directory of a run, or of several.

    Raises:
        InputError: it cannot be made or written to.
    """
    make_writable(directory, "the run directory")


def _manifest_of(folder: Path) -> Manifest:
    manifest = read_manifest(folder, f"remove {folder} and run again")
    if manifest is None:
        raise InputError(f"{folder} has no {MANIFEST}: remove it and run again")
    return manifest


def _move_to_places(directory: Path) -> None:
    """Move the files of a published run to their places, its manifest last, and remove those of the run before."""
    written = directory / WRITTEN
    if (written / MANIFEST).is_file():
        names = _manifest_of(written).files
        for stale in _manifest_of(directory).files.keys() - names.keys():
            (directory / stale).unlink(missing_ok=True)
        for name in (*names, MANIFEST):
            if (written / name).is_file():  # not moved yet
                (directory / name).parent.mkdir(exist_ok=True)
                (written / name).replace(directory / name)
        for folder in {(directory / name).parent for name in names} | {directory}:
            if folder.is_dir():  # not where all of its files have been lost
                flush(folder)
    shutil.rmtree(written)
