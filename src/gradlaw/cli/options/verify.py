"""The options of gradlaw verify."""

import argparse
from pathlib import Path

from gradlaw.cli.options.inputs import add_problem_options
from gradlaw.cli.options.output import add_json_and_quiet
from gradlaw.cli.options.values import seed


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what ``gradlaw verify`` takes."""
    parser.description = (
        "Checks every file of a run directory, a folder of runs, a gradient history (--store of analyze), a\n"
        "training, a store of results, the log of a watch, or what compare, batch-size and others wrote with\n"
        "--out, against the digests that were taken when it was written, and names what is damaged and what to\n"
        "do. The exit status is 0 if all is whole and 1 if something is damaged."
    )
    parser.epilog = (
        "examples:\n"
        "  gradlaw verify runs/a\n"
        "  gradlaw verify runs/reproduce/store --repair\n"
        "  gradlaw verify gradients --repair --data ylecun/mnist --model lenet"
    )
    parser.add_argument("directories", type=Path, nargs="+", metavar="DIR", help="that gradlaw wrote")
    parser.add_argument("--repair", action="store_true", help="draw damaged figures and pages again; remove damaged "
                        "results of a store, which the command that made them then measures again; of a gradient "
                        "history, whose problem has to be named, compute what is damaged again")  # fmt: skip
    what = parser.add_argument_group("the problem of a gradient history")
    add_problem_options(what)
    what.add_argument("--seed", type=seed, metavar="SEED", default=0, help="of the command that collected it "
                      "(default: 0)")  # fmt: skip
    what.add_argument("--device", help="cpu, cuda, cuda:1, ... (default: cpu, or where the model is)")
    add_json_and_quiet(parser)
    parser.set_defaults(command="gradlaw.cli.verify:run")
