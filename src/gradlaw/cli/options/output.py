"""The options of what a command prints."""

import argparse


def add_json(group: argparse._ActionsContainer) -> None:
    """For a command that shows no progress."""
    group.add_argument("--json", action="store_true", help="print one JSON object, and nothing else, instead of words "
                       "and tables")  # fmt: skip


def add_json_and_quiet(group: argparse._ActionsContainer) -> None:
    """For a command that shows progress, on standard error."""
    add_json(group)
    group.add_argument("--quiet", action="store_true", help="no progress")
