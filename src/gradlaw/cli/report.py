"""gradlaw report: calls, prints."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from gradlaw.analysis.files import short_names
from gradlaw.analysis.result import AnalysisResult
from gradlaw.analyze import Analysis
from gradlaw.cli.say import say
from gradlaw.errors import InputError
from gradlaw.report.summary import WIDTH, summary
from gradlaw.report.write import PAGE, write_comparison


def run(options: argparse.Namespace) -> None:
    """Print a finished run and write its page again; of several runs write one page."""
    if len(options.runs) > 1:
        output = options.output or Path(PAGE)
        write_comparison(named_runs(options.runs), output)
    else:
        analysis = Analysis.load(options.runs[0])
        output = options.output or options.runs[0] / PAGE
        analysis.report(output)
        print_summary(analysis)
        say()
    say(f"report: {output}")


def named_runs(folders: Sequence[Path]) -> dict[str, AnalysisResult]:
    """The runs of these folders, each by the shortest end of its path that no other has.

    Raises:
        InputError: a folder that holds no run, or one that is given twice.
    """
    resolved = [folder.resolve() for folder in folders]
    for folder in resolved:
        if resolved.count(folder) > 1:
            raise InputError(f"{folder} is given twice; a run is compared with others")
    return {name: Analysis.load(folder) for name, folder in zip(short_names(resolved), resolved, strict=True)}


def print_summary(analysis: Analysis) -> None:
    """Print what was measured, as wide as the terminal allows."""
    console = Console()
    console.width = min(WIDTH, console.width) if console.is_terminal else WIDTH
    console.print(summary(analysis), highlight=False)
