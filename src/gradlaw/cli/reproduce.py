"""gradlaw reproduce: parse, call, print; and what the other commands of the reproduction share with it."""

import argparse
import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from rich.console import Console

from gradlaw.cli.options.values import seeds, whole
from gradlaw.cli.say import say
from gradlaw.errors import InputError
from gradlaw.progress import Progress
from gradlaw.reproduction.evidence import Evidence
from gradlaw.reproduction.explain import explain
from gradlaw.reproduction.forensics import write_forensics
from gradlaw.reproduction.formats import terminal
from gradlaw.reproduction.formatting import duration
from gradlaw.reproduction.gathered import with_kept
from gradlaw.reproduction.inputs import NAMES as DATA_SETS
from gradlaw.reproduction.inputs import DataSets
from gradlaw.reproduction.measure import Context
from gradlaw.reproduction.measurement import Resolver
from gradlaw.reproduction.output import CLAIMS_HEADER, LEGEND, Report, claims_rows, report, write
from gradlaw.reproduction.page import write_page
from gradlaw.reproduction.paper import Paper
from gradlaw.reproduction.plan import Planner
from gradlaw.reproduction.profiles import Profile
from gradlaw.reproduction.reading import Reading
from gradlaw.reproduction.results import ResultTable, write_results
from gradlaw.reproduction.runner import Refusals, Runner
from gradlaw.reproduction.selection import ALL, Selection, gather, select
from gradlaw.reproduction.store import Store
from gradlaw.reproduction.tasks import Task, WorkList, list_work
from gradlaw.reproduction.trained_models import PACKAGED, TrainedModels
from gradlaw.reproduction.xie2023.forensics import FORENSICS
from gradlaw.reproduction.xie2023.paper import PAPER
from gradlaw.resources import free_memory

FAILED = 1  # the exit status
WIDTH = 160
_PROFILE, SEEDS = "quick", (0,)
RESULTS = Path("docs/reproduction/results")  # of the repository
_PUBLIC_PROFILES = [name for name in PAPER.profiles if name != "tiny"]


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what ``gradlaw reproduce`` takes."""
    parser.description = (
        "Measures tables and figures of the paper and puts the published numbers beside. What was\n"
        "measured before is in the store and is not measured again; a run that was killed goes on when\n"
        "it is repeated."
    )
    parser.epilog = (
        "examples:\n"
        "  gradlaw reproduce table1 --mnist data/mnist\n"
        '  gradlaw reproduce "table8 row 3" --data-root data --profile paper --seeds 0,1,2\n'
        "  gradlaw reproduce all --data-root data --profile quick --markdown reproduction.md\n"
        '  gradlaw reproduce --explain "table8 row 3" --data-root data\n'
        "  gradlaw reproduce --from-results"
    )
    add_names(parser)
    add_common_options(parser)
    add_reading(parser)
    parser.add_argument(
        "--jobs", type=whole(), metavar="N", default=1, help="rows to measure in parallel processes (default: 1)"
    )
    parser.add_argument("--out", metavar="DIR", type=Path, help="folder for tables and figures (default: "
                        "runs/reproduce/PROFILE)")  # fmt: skip
    parser.add_argument("--markdown", metavar="FILE", type=Path, help="also write the page of the whole "
                        "reproduction, and its pictures beside it")  # fmt: skip
    parser.add_argument("--forensics", metavar="FILE", type=Path, help="also write the page on where every published "
                        "row stands among the seeds")  # fmt: skip
    parser.add_argument("--save-results", metavar="DIR", type=Path, help="also write all results as one table and one "
                        "file of series, to be kept and drawn from; what they hold already stays")  # fmt: skip
    parser.add_argument("--explain", action="store_true", help="measure nothing; say where each number comes from")
    parser.add_argument("--from-store", action="store_true", help="measure nothing; write what the store holds")
    parser.add_argument("--from-results", metavar="DIR", type=Path, nargs="?", const=RESULTS, help="measure nothing, "
                        f"read no data; draw what --save-results wrote (default: {RESULTS}), all of it if no name is "
                        "given")  # fmt: skip
    parser.add_argument("--quiet", action="store_true", help="no progress")
    parser.set_defaults(command="gradlaw.cli.reproduce:run")


def add_names(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("names", nargs="*", metavar="NAME",
                        help=f"{PAPER.contents}, a row such as 'table8 row 3', or all")  # fmt: skip


def add_reading(parser: argparse.ArgumentParser) -> None:
    axes = "; ".join(f"{axis.name}={'|'.join(axis.options)}" for axis in PAPER.axes)
    parser.add_argument("--reading", metavar="AXIS=OPTION,...", help="another reading of what the paper leaves open: "
                        f"{axes} (default: the tables as they are declared)")  # fmt: skip


def add_common_options(parser: argparse.ArgumentParser) -> None:
    """Add what every command takes that measures for the paper: profile, seeds, device, data, store."""
    how = parser.add_argument_group("how")
    how.add_argument("--profile", choices=list(PAPER.profiles), metavar="PROFILE",
                     help="; ".join(f"{name}: {PAPER.profiles[name].meaning}" for name in _PUBLIC_PROFILES)
                     + f" (default: {_PROFILE})")  # fmt: skip
    add_seeds_and_device(how, "0; of --from-results: all")
    how.add_argument("--hessian-samples", type=whole(), metavar="N", help="samples in the mean loss of a Hessian "
                     "(default: as the profile says)")  # fmt: skip
    add_data_and_store(parser)


def add_seeds_and_device(how: argparse._ArgumentGroup, default: str) -> None:
    """Add what every measurement depends on; ``default`` says which seeds are taken without any."""
    how.add_argument("--seeds", type=seeds, metavar="S,S,...", help="seeds of everything; several give mean and "
                     f"spread (default: {default})")  # fmt: skip
    how.add_argument("--device", help="cpu, cuda, cuda:1, ... (default: cpu)")


def add_data_and_store(parser: argparse.ArgumentParser) -> None:
    """Add where data come from and where results go."""
    where = parser.add_argument_group("data and results")
    where.add_argument("--data-root", metavar="DIR", type=Path, help=f"folder with {', '.join(DATA_SETS)} inside")
    for name in DATA_SETS:
        where.add_argument(f"--{name}", metavar="DIR", type=Path, help=f"folder of {name} (default: the hub)")
    where.add_argument("--offline", action="store_true", help="do not ask the hub for data sets without a folder")
    where.add_argument("--checkpoints", metavar="DIR", type=Path, default=PACKAGED, help="folder of trained networks "
                       "(default: those that come with gradlaw); an empty one trains all anew")  # fmt: skip
    where.add_argument("--store", metavar="DIR", type=Path, default=Path("runs/reproduce/store"), help="folder of "
                       "results (default: runs/reproduce/store)")  # fmt: skip


def paper_of(options: argparse.Namespace) -> Paper:
    """The paper under the reading that was asked for; says which options change nothing that was asked for."""
    if not options.reading:
        return PAPER
    reading = Reading.parse(options.reading, PAPER.axes)
    for option in reading.idle(select(PAPER, options.names or [ALL]).experiments):
        say(f"note: {option} changes nothing here: none of it has that choice")
    return PAPER.under(reading)


def context_of(options: argparse.Namespace) -> tuple[Context, Store]:
    """What measurements are made with, and where results go, as the options say.

    Raises:
        InputError: a folder that is not there.
    """
    given = {name: getattr(options, name) for name in DATA_SETS if getattr(options, name) is not None}
    for name, folder in {**given, "data-root": options.data_root}.items():
        if folder is not None and not folder.is_dir():
            raise InputError(f"--{name} {folder}: no such folder")
    if not options.checkpoints.is_dir():
        raise InputError(
            f"no trained networks at {options.checkpoints}: give --checkpoints the folder of them, or an empty "
            "folder to train all of them anew, which takes hours"
        )
    data = DataSets.find(options.data_root, given, hub=not options.offline)
    store = Store(options.store)
    checkpoints = TrainedModels(store.checkpoints, (options.checkpoints,))
    return Context(data, checkpoints, options.device), store


def profile_of(options: argparse.Namespace) -> Profile:
    """How large measurements are, as the options say."""
    return PAPER.profiles[options.profile or _PROFILE].with_hessian_samples(options.hessian_samples)


def run(options: argparse.Namespace) -> int:
    """Measure what is not in the store yet, print it beside the published numbers, write tables and figures.

    Returns:
        The exit status: ``FAILED`` if something that there are data for could not be measured.
    """
    if options.from_results is not None:
        _draw_results(options)
        return 0
    check_names(options)
    seeds = options.seeds or SEEDS
    context, store = context_of(options)
    resolver = Resolver(profile_of(options), context.trained_models)
    selection = select(paper_of(options), options.names)
    work = list_work(selection.experiments, seeds, resolver, store, context)
    refused: Refusals = {}
    if not options.explain and not options.from_store:
        shown = not options.quiet
        memory = announce(work, context, Progress(shown))
        refused = Runner(context, store, options.jobs, shown).run(work, memory, free_bytes(context))
    evidence = gather(selection, store, seeds, resolver, work.missing | refused)
    _show(options, evidence, selection, resolver.profile)
    if options.save_results and not options.explain:
        whole = with_kept(options.save_results, selection, evidence, resolver)
        say(f"results: {', '.join(map(str, write_results(options.save_results, resolver.profile, whole)))}")
    return status_of(refused)


def status_of(refused: Refusals) -> int:
    """The exit status after measurements, some of which may have been refused; it is said how many."""
    if refused:
        print(f"gradlaw: {len(refused)} of the measurements failed, for the reasons above", file=sys.stderr)
    return FAILED if refused else 0


def _draw_results(options: argparse.Namespace) -> None:
    """The same of a table of results, which says profile and seeds itself."""
    for name in ("profile", "hessian_samples", "save_results"):
        if getattr(options, name) is not None:
            raise InputError(f"--{name.replace('_', '-')} does not go with --from-results, which says it itself")
    results = ResultTable(options.from_results)
    resolver = Resolver(results.profile, TrainedModels(options.store / "checkpoints", (options.checkpoints,)))
    selection = select(paper_of(options), options.names or [ALL])
    evidence = gather(selection, results, options.seeds or results.seeds, resolver)
    measurements = evidence.measurements.values()
    evidence = replace(evidence, reasons=results.why_missing(measurements))
    unused = results.unused(measurements)
    if unused and not options.seeds and ALL in (options.names or [ALL]):
        say(f"note: {len(unused)} results of {options.from_results} are of nothing in the paper: {unused}")
    _show(options, evidence, selection, results.profile)


def _show(options: argparse.Namespace, evidence: Evidence, selection: Selection, profile: Profile) -> None:
    """Explain, or print and write everything."""
    if options.explain:
        say(explain(selection, evidence, _repeated(options, profile, evidence.seeds)))
        return
    found = report(profile, evidence.seeds, selection, evidence)
    _print(found)
    out = options.out or Path("runs/reproduce") / profile.name
    files = write(found, out)
    say(f"\n{len(files)} files in {out}")
    if options.markdown:
        pages = write_page(found, options.markdown, out)
        say(f"page: {options.markdown}, {len(pages) - 1} pictures in {options.markdown.with_suffix('')}")
    if options.forensics:
        say(f"forensics: {', '.join(map(str, write_forensics(found, FORENSICS, options.forensics)))}")


def check_names(options: argparse.Namespace) -> None:
    if not options.names:
        raise InputError(f"name what to measure: {PAPER.contents}, a row such as 'table8 row 3', or all")


def _repeated(options: argparse.Namespace, profile: Profile, seeds: Sequence[int]) -> str:
    """The options on which results depend, for a command that measures them again."""
    words = ["--profile", profile.name, "--seeds", ",".join(map(str, seeds))]
    if profile != PAPER.profiles.get(profile.name):
        words += ["--hessian-samples", str(profile.hessian_samples)]
    words += ["--reading", options.reading] if options.reading else []
    given = {"--store": options.store if options.from_results is None else None}
    given |= {"--data-root": options.data_root, "--device": options.device}
    given |= {f"--{name}": getattr(options, name) for name in DATA_SETS}
    for option, value in given.items():
        words += [] if value is None else [option, str(value)]
    return shlex.join(words)


def announce(work: WorkList, context: Context, progress: Progress) -> dict[Task, float]:
    """Say what is to be done and for how long; returns the memory that each task takes."""
    progress.say(f"{work.finished} measurements in the store, {len(work.todo)} tasks to do, {len(work.missing)} "
                 "without data; calibrating")  # fmt: skip
    costs = Planner(context).costs(work.todo, progress)
    total = sum(cost.seconds for cost in costs.values())
    progress.say(f"about {duration(total)} on this device, one after another")
    return {task: cost.memory for task, cost in costs.items()}


def free_bytes(context: Context) -> float:
    """Memory that is free on the device."""
    return float(free_memory(torch.device(context.device or "cpu")))


def _print(found: Report) -> None:
    console = Console()
    console.width = console.width if console.is_terminal else WIDTH
    console.print(found.label, highlight=False)
    for table in found.tables:
        title = f"Table {table.table.number}. {table.table.title} [{found.profile.name}]"
        console.print(terminal(title, table.header, table.rows), highlight=False)
        for remark in table.remarks:
            console.print(f"note: {remark}", highlight=False, markup=False)
    console.print(LEGEND, highlight=False)
    console.print(terminal("Claims", CLAIMS_HEADER, claims_rows(found.decisions), ("statistic",)), highlight=False)
