"""Files that a command wrote for people and other programs, with a manifest beside them: ``comparison.manifest.json``.

A folder may hold the output of several commands, and a run, each with a manifest of its own.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from gradlaw.atomic import make_writable, write_whole
from gradlaw.errors import InputError
from gradlaw.lock import locked
from gradlaw.manifest import Manifest, read_manifest, write_manifest

Content = str | bytes | Callable[[Path], object]
_SUFFIX = ".manifest.json"
_REMEDY = "repeat the command that wrote it"


def write_output(folder: Path, kind: str, files: Mapping[str, Content]) -> list[Path]:
    """Write files, each whole or not at all, and list them; returns their paths.

    Args:
        folder: is made if it is not there.
        kind: of output, a word that names its manifest; what is listed there already stays.
        files: content by path relative to the folder.

    Raises:
        InputError: the disk is full, the folder cannot be written to, or another process writes such output to it.
    """
    make_writable(folder, "the folder")
    with locked(folder / f".{kind}.lock", f"the {kind} in {folder}"):
        try:
            before = _manifest(folder / f"{kind}{_SUFFIX}")
        except InputError:  # a damaged one: what is written now is listed anew
            before = None
        for name, content in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            write_whole(folder / name, content)
        write_manifest(folder, files, before.files if before else None, f"{kind}{_SUFFIX}")
    return [folder / name for name in files]


def read_output(path: Path, kind: str) -> bytes:
    """The content of a file that :func:`write_output` wrote, as it was written; without a manifest, as it is.

    Raises:
        InputError: it was changed, or is missing.
    """
    manifest = _manifest(path.with_name(f"{kind}{_SUFFIX}"))
    if manifest is not None and path.name in manifest.files:
        return manifest.read(path.name)
    if not path.is_file():
        raise InputError(f"there is no file {path}")
    return path.read_bytes()


def output_manifests(folder: Path) -> Iterator[tuple[str, Path]]:
    """Kind and manifest of each output in a folder."""
    for path in sorted(folder.glob(f"*{_SUFFIX}")):
        yield path.name.removesuffix(_SUFFIX), path


def output_faults(manifest: Path) -> dict[Path, str | None]:
    """The files of an output: what is not as it was written, with what to do; None for what is.

    Raises:
        InputError: its manifest is damaged.
    """
    found = _manifest(manifest)
    if found is None:
        return {}
    faults = found.faults()
    return {manifest.parent / name: f"{faults[name]}; {_REMEDY}" if name in faults else None for name in found.files}


def _manifest(path: Path) -> Manifest | None:
    return read_manifest(path.parent, _REMEDY, name=path.name)
