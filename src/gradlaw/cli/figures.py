"""gradlaw figures: calls, prints."""

import argparse

from gradlaw.analyze import Analysis
from gradlaw.cli.say import say, say_json
from gradlaw.json_text import json_text
from gradlaw.report.write import FIGURES


def run(options: argparse.Namespace) -> None:
    """Write the figures of a finished run and print their paths."""
    analysis = Analysis.load(options.run)
    paths = analysis.figures(options.output or options.run / FIGURES, options.format or ["pdf"])
    if options.json:
        say_json(json_text({"figures": paths}), options)
    else:
        say("\n".join(map(str, paths)))
