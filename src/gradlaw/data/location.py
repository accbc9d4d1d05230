"""Where a data set lies and which of its files belong to which split, found without opening any."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from gradlaw.errors import InputError, listed, unknown

HUB_NAMES = {"mnist": "ylecun/mnist", "cifar10": "uoft-cs/cifar10", "cifar100": "uoft-cs/cifar100"}
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_IMAGES = frozenset((".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm"))
_KINDS = {"parquet": frozenset((".parquet",)), "imagefolder": _IMAGES, "csv": frozenset((".csv",))}
_AVILA = {"train": "avila-tr.txt", "test": "avila-ts.txt"}  # the archive of UCI 459, without a header
_AVILA_COLUMNS = (
    "intercolumnar_distance", "upper_margin", "lower_margin", "exploitation", "row_number", "modular_ratio",
    "interlinear_spacing", "weight", "peak_number", "modular_ratio_to_interlinear_spacing", "label",
)  # fmt: skip
_SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "valid", "val", "dev"), "validation"),
    **dict.fromkeys(("test", "testing", "eval", "evaluation"), "test"),
}
_SHARD = re.compile(r"([a-z_]\w*)-\d{5}-of-\d{5}")

_OTHERS = (
    "no such folder or file is here; give a folder of Parquet files, CSV files or images by class, a Parquet, CSV or "
    "text file, a hub id such as ylecun/mnist, or one of"
)

Files = dict[str, tuple[Path, ...]]


@dataclass(frozen=True)
class Location:
    """A data set: ``kind`` is digits, parquet, csv, imagefolder, text or hub.

    ``place`` is an absolute path or a hub id, ``files`` the local files of each split, ``columns`` the names of the
    columns of CSV files that have no header, ``separator`` what stands between their values.
    """

    spec: str
    kind: str
    place: str
    files: Files
    columns: tuple[str, ...] = ()
    separator: str = ","

    @property
    def csv_options(self) -> dict[str, Any]:
        """How pandas has to read the CSV files."""
        header = {"header": None, "names": list(self.columns)} if self.columns else {}
        return header if self.separator == "," else header | {"sep": self.separator}

    def check_split(self, split: str) -> None:
        """Refuse a split that local files do not have."""
        if self.kind != "hub" and split not in self.files:
            raise InputError(f"the data set {self.spec!r} has no split {split!r}; it has {', '.join(self.files)}")

    def fingerprint(self, split: str) -> list[object]:
        """What changes when the files of a split do: paths, sizes, times; a data set of the hub is taken as fixed."""
        if self.kind == "digits":
            return [version("scikit-learn")]
        # An image folder takes its classes from all of its splits.
        splits = self.files if self.kind == "imagefolder" else [split]
        files = [file for name in splits for file in self.files.get(name, ())]
        stats = [(str(file), file.stat()) for file in files]
        return [(path, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns) for path, stat in stats]


def locate(spec: str) -> Location:
    """Find a data set by name, path or hub id; a path that exists comes first, as in ``datasets``.

    Raises:
        InputError: no such data set, a folder without data files, images outside class folders.
    """
    if spec == "digits":
        return Location(spec, "digits", spec, {"train": ()})
    place = HUB_NAMES.get(spec, spec)
    for path in (Path(spec), Path(place)):
        if path.is_dir():
            return _folder(spec, path.absolute())
    if Path(spec).is_file():
        return _file(spec, Path(spec).absolute())
    if spec == "avila":
        raise InputError(
            "the data set 'avila' is not on the hub: give the folder of its files, such as those of "
            "https://archive.ics.uci.edu/dataset/459/avila (avila-tr.txt, avila-ts.txt)"
        )
    if not _HUB_ID.fullmatch(place) or place.startswith("."):
        raise unknown("data set", spec, ["digits", *HUB_NAMES], _OTHERS)
    first, _, rest = place.partition("/")
    if Path(first).is_dir():  # a mistyped path is no business of the hub's
        inside = sorted(path.name for path in Path(first).iterdir() if not path.name.startswith("."))
        raise InputError(f"{spec!r}: the folder {first!r} is here and holds no {rest!r}; it holds {listed(inside)}")
    return Location(spec, "hub", place, {})


def _file(spec: str, path: Path) -> Location:
    for kind in ("parquet", "csv"):
        if path.suffix.lower() in _KINDS[kind]:
            return Location(spec, kind, str(path), {"train": (path,)}, separator=_separator([path], kind))
    if path.suffix.lower() == ".txt":
        return Location(spec, "text", str(path), {})
    raise InputError(f"the file {spec!r} is neither Parquet (.parquet) nor CSV (.csv) nor text (.txt)")


def _folder(spec: str, folder: Path) -> Location:
    files = sorted(p for p in folder.rglob("*") if p.is_file() and not _hidden(p.relative_to(folder)))
    if all((folder / name).is_file() for name in _AVILA.values()):
        avila: Files = {split: (folder / name,) for split, name in _AVILA.items()}
        return Location(spec, "csv", str(folder), avila, _AVILA_COLUMNS)
    for kind, suffixes in _KINDS.items():
        found = [p for p in files if p.suffix.lower() in suffixes]
        if found:
            by_split = _by_directory(folder, found) if kind == "imagefolder" else _by_name(folder, found)
            return Location(spec, kind, str(folder), by_split, separator=_separator(found, kind))
    texts = [p for p in files if p.suffix.lower() == ".txt"]
    if len(texts) == 1:
        return Location(spec, "text", str(texts[0]), {})
    inside = ", ".join(sorted(p.name for p in folder.iterdir())[:5]) or "nothing"
    raise InputError(
        f"the folder {spec!r} holds no Parquet file (*.parquet), no CSV file, no images and no single text; it holds "
        f"{inside}"
    )


def _separator(files: Sequence[Path], kind: str) -> str:
    """What separates the names in the first line of CSV files: a comma, or else semicolons or tabs."""
    if kind != "csv":
        return ","
    with files[0].open(encoding="utf-8", errors="replace") as file:
        header = file.readline()
    return next((mark for mark in ",;\t" if mark in header), ",")


def _by_name(folder: Path, files: Iterable[Path]) -> Files:
    """Splits by the names of files, else of folders, as on the hub; without any, all is the training split."""
    splits: dict[str, list[Path]] = {}
    for file in files:
        names = [file.stem, *reversed(file.relative_to(folder).parts[:-1])]
        split = next((found for name in names if (found := _split_of(name)) is not None), "")
        splits.setdefault(split, []).append(file)
    unnamed = splits.pop("", [])
    return {name: tuple(files) for name, files in splits.items()} or {"train": tuple(unnamed)}


def _split_of(name: str) -> str | None:
    shard = _SHARD.fullmatch(name.lower())
    if shard and shard[1] not in _SPLITS:
        return shard[1]
    return next((_SPLITS[word] for word in re.split(r"[^a-z]+", name.lower()) if word in _SPLITS), None)


def _by_directory(folder: Path, images: Iterable[Path]) -> Files:
    """Images in <class>/ or <split>/<class>/; the top folders are splits if all of them are named like one."""
    tops = {p.relative_to(folder).parts[0] for p in images}
    named = all(top.lower() in _SPLITS and (folder / top).is_dir() for top in tops)
    splits: dict[str, list[Path]] = {}
    for image in images:
        parts = image.relative_to(folder).parts
        if len(parts) != 2 + named:
            form = "<split>/<class>/<image>" if named else "<class>/<image>"
            raise InputError(f"the images of {str(folder)!r} must lie in class folders, as {form}; {image} does not")
        splits.setdefault(_SPLITS[parts[0].lower()] if named else "train", []).append(image)
    return {name: tuple(files) for name, files in splits.items()}


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)
