"""What commands print: names come from data, files and users, and none of them may command a terminal."""

from gradlaw.errors import printable


def say(what: object = "", end: str = "\n") -> None:
    """Print to the standard output, control characters by their escapes."""
    print(printable(str(what)), end=end)
