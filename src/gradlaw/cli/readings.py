"""gradlaw readings: parse, call, print."""

import argparse
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from gradlaw.atomic import write_whole
from gradlaw.cli.options.values import whole
from gradlaw.cli.reproduce import add_common_options, announce, context_of, free_bytes, profile_of, status_of
from gradlaw.cli.say import say
from gradlaw.errors import unknown
from gradlaw.progress import Progress
from gradlaw.reproduction.choice import Choice, choose, experiments
from gradlaw.reproduction.evidence import Evidence, Results
from gradlaw.reproduction.formats import terminal
from gradlaw.reproduction.gathered import Joined, kept_results, refuse_losses
from gradlaw.reproduction.measurement import Measurement, Resolver
from gradlaw.reproduction.reading import Family
from gradlaw.reproduction.readings_page import choice_header, choice_rows, page, summary
from gradlaw.reproduction.results import ResultTable, write_results
from gradlaw.reproduction.runner import Refusals, Runner
from gradlaw.reproduction.tasks import list_work
from gradlaw.reproduction.trained_models import TrainedModels
from gradlaw.reproduction.xie2023.paper import PAPER

_SEEDS = (0, 1, 2)
RESULTS = Path("docs/reproduction/readings")  # of the repository
_FAMILIES = {family.name: family for family in PAPER.families}


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what ``gradlaw readings`` takes."""
    parser.description = (
        "Measures every reading of what the paper leaves open on the rows of a family, and says which explains\n"
        "the published numbers best. What was measured before is in the store and is not measured again."
    )
    parser.epilog = (
        "examples:\n"
        "  gradlaw readings lenet-mnist --mnist data/mnist --profile paper --seeds 0,1,2\n"
        "  gradlaw readings --from-results"
    )
    parser.add_argument("families", nargs="*", metavar="FAMILY", help=f"{', '.join(_FAMILIES)} (default: all)")
    add_common_options(parser)
    parser.add_argument(
        "--jobs", type=whole(), metavar="N", default=1, help="measurements in parallel processes (default: 1)"
    )
    parser.add_argument("--check", action="store_true", help="measure the rows to check by as well")
    parser.add_argument("--from-store", action="store_true", help="measure nothing; compare what the store holds")
    parser.add_argument("--from-results", metavar="DIR", type=Path, nargs="?", const=RESULTS,
                        help=f"measure nothing; compare what --save-results wrote (default: {RESULTS})")  # fmt: skip
    parser.add_argument("--save-results", metavar="DIR", type=Path, help="also write all results as one table; "
                        "what it holds already stays")  # fmt: skip
    parser.add_argument("--markdown", metavar="FILE", type=Path, help="also write the page")
    parser.add_argument("--quiet", action="store_true", help="no progress")
    parser.set_defaults(command="gradlaw.cli.readings:run")


def run(options: argparse.Namespace) -> int:
    """Measure what is not in the store yet, and print all readings, best first."""
    families, refused = [_family(name) for name in options.families or _FAMILIES], Refusals()
    if options.from_results is not None:
        results = ResultTable(options.from_results, series=False)
        resolver = Resolver(results.profile, TrainedModels(options.store / "checkpoints", (options.checkpoints,)))
        evidence = _evidence(families, results, options.seeds or results.seeds, resolver)
    else:
        evidence, resolver, refused = _measured(options, families)
    if options.save_results and options.from_results is None:
        families = list(_FAMILIES.values())
        evidence = _with_kept(options.save_results, families, evidence, resolver)
    choices = [choose(PAPER, family, evidence) for family in families]
    _print(choices)
    if options.save_results:
        files = write_results(options.save_results, resolver.profile, evidence, with_series=False)
        say(f"results: {', '.join(map(str, files))}")
    if options.markdown:
        write_whole(options.markdown, page(PAPER, choices, resolver.profile, evidence))
        say(f"page: {options.markdown}")
    return status_of(refused)


def _family(name: str) -> Family:
    if name not in _FAMILIES:
        raise unknown("family of rows", name, _FAMILIES)
    return _FAMILIES[name]


def _measured(options: argparse.Namespace, families: Sequence[Family]) -> tuple[Evidence, Resolver, Refusals]:
    context, store = context_of(options)
    resolver = Resolver(profile_of(options), context.trained_models)
    seeds = options.seeds or _SEEDS
    refused: Refusals = {}
    missing: Refusals = {}
    if not options.from_store:
        wanted = [e for family in families for names in ((family.choose, family.check) if options.check else
                  (family.choose,)) for found in experiments(PAPER, family, names).values()
                  for e in found.values()]  # fmt: skip
        work = list_work(dict.fromkeys(wanted), seeds, resolver, store, context)
        memory = announce(work, context, Progress(not options.quiet))
        missing = work.missing
        refused = Runner(context, store, options.jobs, not options.quiet).run(work, memory, free_bytes(context))
    return _evidence(families, store, seeds, resolver, missing | refused), resolver, refused


def _with_kept(folder: Path, families: Sequence[Family], evidence: Evidence, resolver: Resolver) -> Evidence:
    """The evidence together with what a folder holds, of all families."""
    kept = kept_results(folder, resolver.profile, series=False)
    if kept is None:
        return evidence
    seeds = sorted({*kept.seeds, *evidence.seeds})
    whole = _evidence(families, Joined(kept, evidence.store), seeds, resolver)
    refuse_losses(kept, whole.measurements.values())
    return replace(whole, reasons=kept.why_missing(whole.measurements.values()) | dict(evidence.reasons))


def _evidence(
    families: Iterable[Family], results: Results, seeds: Sequence[int], resolver: Resolver,
    reasons: dict[Measurement, str] | None = None,
) -> Evidence:  # fmt: skip
    found = dict.fromkeys(
        e for family in families for by_name in experiments(PAPER, family, (*family.choose, *family.check)).values()
        for e in by_name.values()
    )  # fmt: skip
    measurements = {(e, seed): resolver.resolve(e, seed) for e in found for seed in seeds}
    return Evidence(results, seeds, measurements, reasons or {})


def _print(choices: Sequence[Choice]) -> None:
    console = Console()
    console.width = console.width if console.is_terminal else 200
    for choice in choices:
        title, names = f"Readings of {choice.family.name}", choice.family.choose
        table = terminal(title, choice_header(choice, names), choice_rows(choice, names))
        console.print(table, highlight=False)
        say(f"{summary(choice)}\n")
