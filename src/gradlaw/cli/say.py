"""What commands print: names come from data, files and users, and none of them may command a terminal."""

import argparse

from gradlaw.errors import printable


def say(what: object = "", end: str = "\n") -> None:
    """Print to the standard output, control characters by their escapes."""
    print(printable(str(what)), end=end)


def say_json(text: str, options: argparse.Namespace) -> None:
    """Print the one object of ``--json``; all else that is printed while the command runs goes to standard error."""
    print(text, end="", file=options.stdout)
