"""The rows of one split, opened with ``datasets``."""

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from glob import escape
from typing import Any

import datasets
import pyarrow
import pyarrow.parquet as pq
from datasets.exceptions import DatasetsError
from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

from gradlaw.data.hub import check_reachable, is_offline
from gradlaw.data.locate_error import csv_rows, find_broken
from gradlaw.data.location import Location
from gradlaw.errors import InputError

# What the library raises for files or repositories that it cannot read; a ValueError among others for an empty split.
_UNREADABLE = (DatasetsError, ValueError, OSError, HfHubHTTPError, OfflineModeIsEnabled, pyarrow.ArrowException)
_REVISION = re.compile(r"@([0-9a-f]{40})/")


@dataclass(frozen=True)
class Rows:
    """The rows of one split, and where each of them came from."""

    table: datasets.Dataset
    location: Location
    split: str
    revision: str | None = None

    @cached_property
    def features(self) -> datasets.Features:
        """The types of the columns; the table copies all of them each time that it is asked."""
        return self.table.features

    def where(self, row: int) -> str:
        """A row (from 0) as messages name it: in its file, where there is one."""
        if self.location.kind in ("hub", "imagefolder"):
            return f"row {row} of split {self.split!r} of {self.location.spec!r}"
        for file in self.location.files[self.split]:
            here = pq.read_metadata(file).num_rows if self.location.kind == "parquet" else csv_rows(file, self.location)
            if row < here:
                return f"row {row} of {file}"
            row -= here
        raise AssertionError(f"the files of {self.location.spec!r} have fewer rows than were read")


@contextmanager
def open_rows(location: Location, split: str) -> Iterator[Rows]:
    """The rows of one split. Local files leave no copy in the cache of ``datasets``.

    Raises:
        InputError: no such split, an empty one, files that cannot be read, a hub that cannot be reached.
    """
    datasets.disable_progress_bars()
    datasets.config.HF_UPDATE_DOWNLOAD_COUNTS = False  # which would tell the hub of local files, too
    if location.kind == "hub":
        yield _from_hub(location, split)
        return
    location.check_split(split)
    with tempfile.TemporaryDirectory(prefix="gradlaw-data-", ignore_cleanup_errors=True) as folder:
        try:
            table = datasets.load_dataset(**_arguments(location, split), split=split, cache_dir=folder)
        except _UNREADABLE as error:
            raise InputError(find_broken(location, split) or _unreadable(location, error)) from error
        yield Rows(table, location, split)


def _arguments(location: Location, split: str) -> dict[str, Any]:
    if location.kind == "imagefolder":
        # The classes are those of all splits; in patterns, since a list of thousands of files is slow to resolve.
        patterns = {
            name: [f"{escape(str(folder))}/**" for folder in sorted({file.parent.parent for file in files})]
            for name, files in location.files.items()
        }
        return {"path": "imagefolder", "data_files": patterns, "drop_labels": False, "drop_metadata": True}
    files = {split: [escape(str(file)) for file in location.files[split]]}
    return {"path": location.kind, "data_files": files, **location.csv_options}


def _from_hub(location: Location, split: str) -> Rows:
    check_reachable(location.spec)
    # The library looked when it was loaded, which may have been before stay_offline().
    datasets.config.HF_HUB_OFFLINE = datasets.config.HF_HUB_OFFLINE or is_offline()
    try:
        opened = datasets.load_dataset(location.place)
    except ConnectionError as error:
        raise InputError(
            f"the data set {location.spec!r} is on the hub, which cannot be reached: {error}; give a local folder"
        ) from error
    except _UNREADABLE as error:
        raise InputError(_unreadable(location, error)) from error
    if split not in opened:
        raise InputError(f"the data set {location.spec!r} has no split {split!r}; it has {', '.join(opened)}")
    table = opened[split]
    revisions = (_REVISION.search(str(url)) for url in table.info.download_checksums or {})
    return Rows(table, location, split, next((found[1] for found in revisions if found), None))


def _unreadable(location: Location, error: BaseException) -> str:
    cause = error.__cause__ or error
    return f"the data set {location.spec!r} cannot be read: {cause}"
