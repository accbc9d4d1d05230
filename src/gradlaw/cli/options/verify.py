"""The options of gradlaw verify."""

import argparse
from pathlib import Path

from gradlaw.cli.options.output import add_json_and_quiet


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what ``gradlaw verify`` takes."""
    parser.description = (
        "Checks every file of a run directory, a folder of runs, a gradient history (--store of analyze), a\n"
        "training or a store of results against the digests that were taken when it was written, and names\n"
        "what is damaged and what to do. The exit status is 0 if all is whole and 1 if something is damaged."
    )
    parser.epilog = "examples:\n  gradlaw verify runs/a\n  gradlaw verify runs/reproduce/store --repair"
    parser.add_argument("directories", type=Path, nargs="+", metavar="DIR", help="that gradlaw wrote")
    parser.add_argument("--repair", action="store_true", help="draw damaged figures and pages again; remove damaged "
                        "results of a store, which the command that made them then measures again")  # fmt: skip
    add_json_and_quiet(parser)
    parser.set_defaults(command="gradlaw.cli.verify:run")
