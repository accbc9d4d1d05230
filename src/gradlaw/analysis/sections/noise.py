"""Signal, noise and ranks of the model and of each parameter tensor."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradlaw.analysis.section import Run, TableSection, register
from gradlaw.history import GradientHistory
from gradlaw.history.sharded_history import ShardedHistory
from gradlaw.spectra import gradient_noise_by_layer
from gradlaw.spectra.layer_signals import layer_signals
from gradlaw.spectra.noise import FEWEST_ITERATIONS, tensors_of_rounding_alone

if TYPE_CHECKING:
    import pandas as pd


@register
class Noise(TableSection):
    """:func:`~gradlaw.spectra.gradient_noise_by_layer` as plain columns; without the extended statistics, which cost
    another dense Gram matrix, ranks and participation ratios are those of the whole model only.
    """

    name, place, by_ranks = "noise", 5, True

    def measure(self, run: Run) -> pd.DataFrame | None:
        history = run.gradients
        left_out = _why_left_out(history)
        if left_out:
            run.notices.append(f"gradient noise left out: {left_out}")
            return None
        gram = run.gram.gram
        with run.progress.stage("gradient noise"):
            layer_by_layer = "extended" in run.asked
            frame = gradient_noise_by_layer(history) if layer_by_layer else layer_signals(history, gram)
        alone = tensors_of_rounding_alone(history)
        if alone:
            run.notices.append(
                f"no noise scale of {', '.join(alone)}: the gradients are rounding errors and nothing else, which "
                "change altogether when parameters move by their last digits (a bias that a normalisation takes off "
                "again?)"
            )
        return frame.reset_index()


def _why_left_out(history: GradientHistory | ShardedHistory) -> str | None:
    s = history.settings
    if s["transforms"]:
        return "its numbers are those of plain gradients, and these are transformed"
    if s["iterations"] < FEWEST_ITERATIONS:
        return f"it needs {FEWEST_ITERATIONS} iterations, there are {s['iterations']}"
    if not s["replacement"] and s["batch_size"] == s["samples"]:
        return "each gradient is of the whole data set, and the spread of its samples does not show"
    return None
