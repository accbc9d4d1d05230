"""The options of gradlaw compare."""

import argparse

from gradlaw.cli.options.output import add_json_and_quiet


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what ``gradlaw compare`` takes."""
    parser.description = (
        "Sets runs side by side: settings that differ, spectra, rates, exponents, noise scale, layers;\n"
        "with intervals and p-values where valid ones can be given, and the reason where not. Runs that\n"
        "differ in their seed alone are put together, and their spread decides."
    )
    parser.epilog = (
        "examples:\n"
        "  gradlaw compare runs/a runs/b\n"
        "  gradlaw compare runs/sgd-seed* runs/adam-seed* --out runs/sgd-adam\n"
        "  gradlaw compare runs/a runs/b --history a=gradients/a --history b=gradients/b"
    )
    parser.set_defaults(command="gradlaw.cli.compare:run")
    parser.add_argument("runs", nargs="+", metavar="RUN", help="directories that gradlaw analyze wrote")
    parser.add_argument("--history", action="append", default=[], metavar="NAME=FOLDER", help="gradients of a run "
                        "(--store of gradlaw analyze), by the name of its directory: for intervals of exponents and "
                        "overlaps of subspaces (repeatable)")  # fmt: skip
    parser.add_argument(
        "--separate",
        action="store_true",
        help="do not put seeds of one setting together (the page averages them all the same)",
    )
    parser.add_argument("--level", type=float, default=0.95, help="of the intervals (default: 0.95)")
    parser.add_argument("--out", metavar="DIR", help="also write all tables as CSV, JSON, figures and comparison.html")
    add_json_and_quiet(parser)
