"""The options of gradlaw report."""

import argparse
from pathlib import Path


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what ``gradlaw report`` takes."""
    parser.add_argument("run", type=Path, help="run directory")
    parser.add_argument("--output", help="where to write the page (default: report.html in the run directory)")
    parser.set_defaults(command="gradlaw.cli.report:run")
