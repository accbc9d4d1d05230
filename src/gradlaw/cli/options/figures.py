"""The options of gradlaw figures."""

import argparse
from pathlib import Path

from gradlaw.cli.options.output import add_json

FORMATS = ("pdf", "png", "svg")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what ``gradlaw figures`` takes."""
    parser.description = "Writes every figure of a finished run, in a style that fits a paper of two columns."
    parser.epilog = (
        "examples:\n  gradlaw figures runs/a\n  gradlaw figures runs/a --format pdf --format svg --output paper/"
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="run directory")
    parser.add_argument("--format", action="append", choices=FORMATS, help="repeatable (default: pdf)")
    parser.add_argument("--output", type=Path, metavar="DIR", help="folder (default: figures in the run directory)")
    add_json(parser)
    parser.set_defaults(command="gradlaw.cli.figures:run")
