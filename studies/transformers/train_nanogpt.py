"""Run or resume a configuration of nanoGPT: ``python -m studies.transformers.train_nanogpt nanogpt --until 12:00``."""

import argparse
import time
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import torch

import gradlaw as gl
from studies.transformers.nanogpt import CHARACTERS, GNS, SMALL, train

_CONFIGURATIONS = {settings.name: settings for settings in (CHARACTERS, SMALL, GNS)}


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("configuration", choices=list(_CONFIGURATIONS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--text", default="data/tinyshakespeare", help="the folder of the text")
    parser.add_argument("--runs", type=Path, default=Path("runs/transformers"), help="where runs are kept")
    parser.add_argument("--until", help="HH:MM, after which no step is begun")
    given = parser.parse_args()
    settings = replace(_CONFIGURATIONS[given.configuration], seed=given.seed)
    torch.set_num_threads(1)
    data = gl.load_text(given.text, context=1)
    tokens = data.inputs.flatten()
    deadline = float("inf")
    if given.until:
        hours, minutes = map(int, given.until.split(":"))
        deadline = datetime.now().replace(hour=hours, minute=minutes, second=0).timestamp()
    steps = train(settings, tokens, len(data.source.classes), given.runs / settings.folder, deadline)
    print(f"{settings.name}: {steps} of {settings.steps} steps, {time.strftime('%H:%M')}")


if __name__ == "__main__":
    main()
