"""The checkpoints that patterns of the command line name, in the order of a training."""

import glob
import re
from collections.abc import Sequence
from pathlib import Path

from gradlaw.errors import InputError
from gradlaw.training.weights import PICKLED

_WEIGHTS = (".safetensors", *PICKLED)


def matching(patterns: Sequence[str]) -> list[Path]:
    """The files of weights that match, by the numbers in their names: step-100 before step-1000.

    Files that no weights of a model are read from (JSON beside them, the optimiser of gradlaw's own checkpoints) are
    left out where a pattern matches them; a file that is named outright is taken as it is.

    Raises:
        InputError: a pattern that matches no such file.
    """
    files: dict[Path, None] = {}
    for pattern in patterns:
        files |= dict.fromkeys(_of_one(pattern))
    return sorted(files, key=natural)


def natural(path: Path) -> list[tuple[int, float | str]]:
    """A key that sorts the numbers in a path by their values: 9 before 10, 0 before 0.25 before 0.5."""
    name = str(path.with_suffix("") if path.suffix in _WEIGHTS else path)
    parts = re.split(r"(\d+(?:\.\d+)?)", name)
    return [(0, float(part)) if number % 2 else (1, part) for number, part in enumerate(parts) if part]


def _of_one(pattern: str) -> list[Path]:
    if not glob.has_magic(pattern):
        return [Path(pattern)]  # whoever reads it says what is wrong with it
    found = [Path(name) for name in glob.glob(pattern, recursive=True)]
    files = [path for path in found if path.is_file() and path.suffix in _WEIGHTS and ".optimiser." not in path.name]
    if files:
        return files
    if not found:
        raise InputError(f"--checkpoints: nothing matches {pattern!r} (put the pattern in quotes)")
    example = found[0] / "model.safetensors" if found[0].is_dir() else found[0]
    kind = "folders only; name the files in them, such as" if found[0].is_dir() else "no file of weights, only such as"
    raise InputError(f"--checkpoints: {pattern!r} matches {kind} {example}; weights are {', '.join(_WEIGHTS)}")
