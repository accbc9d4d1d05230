"""The noise scale along nanoGPT's training: from the squared norms that its runs log, averaged over some steps."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from studies.transformers.nanogpt import CHARACTERS, GNS, SMALL, signal_and_noise

NOISE = (CHARACTERS, SMALL, replace(SMALL, seed=1), replace(SMALL, seed=2), GNS)
# Of nanoGPT on characters of Shakespeare; its unit is not stated with it. 20.5 / 0.93 = 22.0.
PUBLISHED = {"step": 240, "noise scale": 22.0, "mean square": 0.93, "trace": 20.5}
AVERAGED = 20  # steps: a single minibatch tells neither part well
COLUMNS = ("configuration", "seed", "steps", "step", "loss", "mean_square", "mean_square_error", "sample_trace",
           "sample_trace_error", "noise_scale", "noise_scale_error")  # fmt: skip


def noise_rows(runs: Path) -> list[dict[str, Any]]:
    """One row for every ``AVERAGED`` steps of every run that is there, in units of single windows."""
    rows = []
    for settings in NOISE:
        log = runs / settings.folder / "steps.jsonl"
        if not log.is_file():
            continue
        steps = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
        for end in range(AVERAGED, len(steps) + 1, AVERAGED):
            row = {"configuration": settings.name, "seed": settings.seed, "steps": len(steps), "step": end}
            rows.append(row | averaged(steps[end - AVERAGED : end], settings.piece))
    return rows


def averaged(steps: list[dict[str, float]], piece: int) -> dict[str, float]:
    """Means of |G|^2 and tr Sigma over steps, and their ratio, with jackknife errors.

    Each part is averaged before the ratio is taken: a ratio of two noisy numbers is biased. The steps' windows are
    independent, their parameters move: the error is that of the windows and of the drift together.
    """
    parts = np.array([
        signal_and_noise(s["mean_square_of_pieces"], s["square_of_mean"], piece, int(s["pieces"])) for s in steps
    ])  # fmt: skip
    count, total = len(parts), parts.sum(axis=0)
    mean, without = total / count, (total - parts) / (count - 1)
    errors = parts.std(axis=0, ddof=1) / math.sqrt(count)
    ratios = without[:, 1] / without[:, 0]
    ratio_error = math.sqrt((count - 1) / count * float(((ratios - ratios.mean()) ** 2).sum()))
    return {
        "loss": float(np.mean([s["loss"] for s in steps])),
        "mean_square": float(mean[0]),
        "mean_square_error": float(errors[0]),
        "sample_trace": float(mean[1]),
        "sample_trace_error": float(errors[1]),
        "noise_scale": float(mean[1] / mean[0]),
        "noise_scale_error": ratio_error,
    }
