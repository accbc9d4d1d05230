"""The script by which a shell completes the command line."""

import argparse
from collections.abc import Iterator

from gradlaw.extras import extra

SHELLS = ("bash", "zsh", "tcsh")
_FILES, _FOLDERS = ("FILE", "DATA"), ("DIR", "FOLDER", "RUN")  # as the help names what takes a path


def completion(parser: argparse.ArgumentParser, shell: str) -> str:
    """The script, made by shtab.

    Args:
        parser: with the options of every command.
        shell: one of ``SHELLS``.

    Raises:
        InputError: shtab is not installed.
    """
    with extra("completion", "the completion of a shell"):
        import shtab
    for action in _actions(parser):
        if action.metavar in _FILES + _FOLDERS:
            vars(action)["complete"] = shtab.FILE if action.metavar in _FILES else shtab.DIRECTORY
    return shtab.complete(parser, shell)


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Of the parser and of its commands."""
    for action in parser._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield from _actions(command)
