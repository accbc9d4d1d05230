"""The commit of the code that measures."""

import subprocess
from functools import cache
from pathlib import Path

import gradlaw


@cache
def commit() -> str | None:
    """The checkout's commit, with ``-dirty`` if files were changed since; None for an installed package."""
    folder = Path(gradlaw.__file__).parent
    if not (folder.parents[1] / ".git").exists():
        return None
    command = ["git", "-C", str(folder), "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (FileNotFoundError, subprocess.CalledProcessError):  # no git here, or another user's checkout
        return None
