"""The options of gradlaw report."""

import argparse
from pathlib import Path

from gradlaw.cli.options.output import add_json


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what ``gradlaw report`` takes."""
    parser.description = (
        "Prints a finished run and writes its page again. Of several runs it writes one page, with their\n"
        "spectra over one another, where their settings differ, and their rates side by side; runs that\n"
        "differ in their seed alone are averaged."
    )
    parser.epilog = (
        "examples:\n  gradlaw report runs/a\n  gradlaw report runs/random runs/trained --output compared.html"
    )
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="run directory")
    parser.add_argument("--output", type=Path, metavar="FILE", help="where to write the page (default: report.html in "
                        "the run directory; of several runs report.html here)")  # fmt: skip
    add_json(parser)
    parser.set_defaults(command="gradlaw.cli.report:run")
