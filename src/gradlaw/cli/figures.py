"""gradlaw figures: calls, prints."""

import argparse

from gradlaw.analyze import Analysis
from gradlaw.cli.say import say
from gradlaw.report.write import FIGURES


def run(options: argparse.Namespace) -> None:
    """Write the figures of a finished run and print their paths."""
    analysis = Analysis.load(options.run)
    for path in analysis.figures(options.output or options.run / FIGURES, options.format or ["pdf"]):
        say(path)
