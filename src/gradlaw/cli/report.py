"""gradlaw report: calls, prints."""

import argparse
from pathlib import Path

from rich.console import Console

from gradlaw.analyze import Analysis
from gradlaw.report.summary import WIDTH, summary


def run(options: argparse.Namespace) -> None:
    """Print a finished run and write its page again."""
    analysis = Analysis.load(options.run)
    output = Path(options.output or Path(options.run) / "report.html")
    analysis.report(output)
    print_summary(analysis)
    print(f"\nreport: {output}")


def print_summary(analysis: Analysis) -> None:
    """Print what was measured, as wide as the terminal allows."""
    console = Console()
    console.width = min(WIDTH, console.width) if console.is_terminal else WIDTH
    console.print(summary(analysis), highlight=False)
