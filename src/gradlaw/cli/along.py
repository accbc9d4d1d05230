"""gradlaw along: parse, call, print."""

import argparse
import math
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from gradlaw.cli.options.values import numbers
from gradlaw.cli.reproduce import add_data_and_store, add_seeds_and_device, context_of, status_of
from gradlaw.cli.say import say
from gradlaw.errors import InputError
from gradlaw.progress import Progress
from gradlaw.reproduction.along.page import write_page
from gradlaw.reproduction.along.rows import gather_rows, read_rows, with_kept, write_rows
from gradlaw.reproduction.along.study import ALONG
from gradlaw.reproduction.measurement import Resolver
from gradlaw.reproduction.runner import Refusals, Runner
from gradlaw.reproduction.tasks import list_work

RESULTS = Path("docs/along_training/measurements.csv")  # of the repository
_HISTORY, _HESSIAN = "history", "hessian"
_NAMES = {name.lower().replace(", ", "-"): name for name in ALONG.networks}


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what ``gradlaw along`` takes."""
    parser.description = (
        "Trains networks with several optimisers and measures the structure of their gradients on the way, from\n"
        f"random parameters to epoch {max(ALONG.epochs):g}. What was measured before is in the store and is not\n"
        "measured again; a run that was killed goes on when it is repeated."
    )
    parser.epilog = (
        "examples:\n"
        "  gradlaw along --data-root data\n"
        "  gradlaw along fcn-mnist lnn-mnist --mnist data/mnist --epochs 0,0.1,0.5,1\n"
        "  gradlaw along --from-results --markdown docs/along_training.md"
    )
    parser.add_argument("networks", nargs="*", metavar="NETWORK", help=f"{', '.join(_NAMES)} (default: all)")
    how = parser.add_argument_group("how")
    add_seeds_and_device(how, ",".join(map(str, ALONG.seeds)))
    how.add_argument("--epochs", type=_epochs, metavar="E,E,...", default=ALONG.epochs, help="at which to measure, of "
                     f"{', '.join(f'{e:g}' for e in ALONG.epochs)} (default: all)")  # fmt: skip
    how.add_argument("--what", choices=(_HISTORY, _HESSIAN), help="only gradient histories, or only Hessians "
                     "(default: both)")  # fmt: skip
    add_data_and_store(parser)
    parser.add_argument("--from-store", action="store_true", help="measure nothing; show what the store holds")
    parser.add_argument("--from-results", metavar="FILE", type=Path, nargs="?", const=RESULTS,
                        help=f"measure nothing; show what --save-results wrote (default: {RESULTS})")  # fmt: skip
    parser.add_argument("--save-results", metavar="FILE", type=Path, help="also write all results as one table; "
                        "what it holds already stays")  # fmt: skip
    parser.add_argument("--markdown", metavar="FILE", type=Path, help="also write the page and its figure")
    parser.add_argument("--quiet", action="store_true", help="no progress")
    parser.set_defaults(command="gradlaw.cli.along:run")


def _epochs(text: str) -> tuple[float, ...]:
    found = numbers(text)
    unknown = [epoch for epoch in found if epoch not in ALONG.epochs]
    if unknown:
        raise argparse.ArgumentTypeError(f"the study has no epoch {unknown[0]:g}")
    return found


def run(options: argparse.Namespace) -> int:
    """Measure what is not in the store yet, seed after seed, and show everything that was measured."""
    rows, refused = (read_rows(options.from_results), {}) if options.from_results is not None else _measured(options)
    if options.save_results:
        rows = with_kept(rows, options.save_results)
    _print(rows)
    if options.markdown:
        say(f"page: {', '.join(map(str, write_page(rows, ALONG, options.markdown)))}")
    if options.save_results:
        write_rows(rows, options.save_results)
        say(f"results: {options.save_results}")
    return status_of(refused)


def _measured(options: argparse.Namespace) -> tuple[pd.DataFrame, Refusals]:
    context, store = context_of(options)
    resolver, seeds = Resolver(ALONG.profile, context.trained_models), options.seeds or ALONG.seeds
    networks = [_network(name) for name in options.networks] or None
    subjects = list(ALONG.subjects(networks, options.epochs))
    wanted = {_HISTORY: [s.history for s in subjects], _HESSIAN: [s.hessian for s in subjects]}
    missing: Refusals = {}
    refused: Refusals = {}
    for kind in (options.what,) if options.what else tuple(wanted):
        for seed in () if options.from_store else seeds:
            work = list_work(dict.fromkeys(wanted[kind]), (seed,), resolver, store, context)
            told = Progress(not options.quiet)
            told.say(f"{kind}, seed {seed}: {work.finished} in the store, {len(work.todo)} to do")
            refused |= Runner(context, store, 1, not options.quiet).run(work, {}, math.inf)
            missing |= work.missing
    reasons = missing | refused
    for measurement, reason in reasons.items():
        say(f"not measured: {measurement.experiment}, seed {measurement.seed}: {reason}")
    return gather_rows(ALONG, store, seeds, resolver, reasons), refused


def _network(name: str) -> str:
    if name not in _NAMES:
        raise InputError(f"the study has no network {name!r}; there are {', '.join(_NAMES)}")
    return _NAMES[name]


_SHOWN: Sequence[str] = ("network", "optimiser", "epoch", "seed", "loss", "accuracy", "s", "d_ks", "gap_s",
                         "dimension_power_law_rate", "iteration_gaussian_rate", "outliers", "noise_scale",
                         "hessian_1")  # fmt: skip


def _print(rows: pd.DataFrame) -> None:
    say(rows[list(_SHOWN)].to_string(index=False, float_format=lambda value: f"{value:.3g}", na_rep="-"))
