"""gradlaw report: calls, prints."""

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console

from gradlaw.analysis.files import short_names
from gradlaw.analysis.overview import overview
from gradlaw.analysis.result import AnalysisResult
from gradlaw.analyze import Analysis
from gradlaw.cli.say import say, say_json
from gradlaw.errors import InputError
from gradlaw.json_text import json_text
from gradlaw.report.sections import findings_of
from gradlaw.report.summary import WIDTH, summary
from gradlaw.report.title import title
from gradlaw.report.write import PAGE, write_comparison


def run(options: argparse.Namespace) -> None:
    """Print a finished run and write its page again; of several runs write one page."""
    if len(options.runs) > 1:
        output = options.output or Path(PAGE)
        runs = named_runs(options.runs)
        write_comparison(runs, output)
        record: dict[str, Any] = {"report": output, "runs": {name: record_of(run) for name, run in runs.items()}}
    else:
        analysis = Analysis.load(options.runs[0])
        output = options.output or options.runs[0] / PAGE
        analysis.report(output)
        record = {"report": output} | record_of(analysis)
        if not options.json:
            print_summary(analysis)
            say()
    if options.json:
        say_json(json_text(record), options)
    else:
        say(f"report: {output}")


def record_of(analysis: AnalysisResult) -> dict[str, Any]:
    """What ``--json`` has of one analysis: settings, statistics of the whole model, findings and notices."""
    return {
        "title": title(analysis),
        "settings": analysis.settings,
        "statistics": overview(analysis),
        "findings": [asdict(finding) for finding in findings_of(analysis)],
        "notices": analysis.notices,
    }


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
