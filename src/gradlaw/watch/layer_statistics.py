"""What a watch says of the gradient of one step, layer by layer and of the whole model.

Each statistic is across the dimensions of that one gradient, as :mod:`gradlaw.stats` has it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from gradlaw import random_streams
from gradlaw.stats.gaussian import SHORTEST, gaussian_test_rows
from gradlaw.stats.power import HIGHEST_SHARE, TAIL_SHARE, false_alarm_rates, lowered_k
from gradlaw.stats.powerlaw import fit_power_law_rows
from gradlaw.watch.flat import Places
from gradlaw.watch.tail_scan import TailScan, joined, scan

Row = dict[str, Any]
_FEWEST = 10 * TAIL_SHARE  # values of which a tail is fitted
_FIT = ("s", "d_ks", "p_value", "is_power_law", "is_power_law_calibrated")


@dataclass(frozen=True)
class StatisticsSettings:
    """Sizes of the tests.

    Attributes:
        k: largest magnitudes of which a power law is fitted; at most a third of the values of a layer.
        gaussian_k: values of a layer, drawn anew at each step, of which Gaussianity is tested.
        alpha: significance level of the verdicts.
        seed: of the draws.
    """

    k: int
    gaussian_k: int
    alpha: float
    seed: int


def gradient_statistics(
    gradients: Sequence[Sequence[Tensor]], scale: float, step: int, settings: StatisticsSettings
) -> list[Row]:
    """A row of the whole model, then one a layer.

    Args:
        gradients: by layer the gradients of its parameters, those that have one.
        scale: that the gradients are multiples of the loss's own; the statistics are of the gradients over it.
        step: the number of the step, which the draws depend on.
        settings: sizes of the tests.
    """
    scans = [scan(layer, settings.k).unscaled(scale) if layer else None for layer in gradients]
    present = [one for one in scans if one is not None]
    whole = joined(present, settings.k) if present else None
    rows = [_summary(one) for one in (whole, *scans)]
    everything = [tensor for layer in gradients for tensor in layer]
    _add_fits(rows, [whole, *scans], settings)
    _add_gaussianity(rows, [everything, *gradients], step, settings)
    return rows


def _summary(found: TailScan | None) -> Row:
    if found is None:
        return {"n": 0}
    row: Row = {"n": found.n, "zero_share": found.zeros / found.n, "non_finite_share": found.non_finite / found.n}
    if found.non_finite:
        return row
    row |= {"norm": math.sqrt(found.squared_norm), "largest": float(found.largest[0])}
    if found.squared_norm:
        row["largest_share"] = row["largest"] ** 2 / found.squared_norm
    return row


def _add_fits(rows: Sequence[Row], scans: Sequence[TailScan | None], settings: StatisticsSettings) -> None:
    """Power laws of the largest magnitudes, those of as many values at once."""
    by_k: dict[int, list[int]] = {}
    for i, found in enumerate(scans):
        if found is not None and found.n >= _FEWEST and not found.non_finite:
            by_k.setdefault(lowered_k(settings.k, found.n), []).append(i)
    for k, chosen in by_k.items():
        tails = np.stack([scans[i].largest[:k] for i in chosen])  # type: ignore[union-attr]
        fits = fit_power_law_rows(tails, k, settings.alpha)
        for place, i in enumerate(chosen):
            row: Row = {"k": k, "degenerate": bool(fits.degenerate[place])}
            if squared_norm := scans[i].squared_norm:  # type: ignore[union-attr]
                row["tail_share"] = float(np.square(tails[place]).sum()) / squared_norm
            if not row["degenerate"]:
                row |= {name: getattr(fits, name)[place].item() for name in _FIT}
                _withhold_verdicts(row, rows[i]["n"], settings.alpha)
            rows[i].update(row)


def _withhold_verdicts(row: Row, n: int, alpha: float) -> None:
    """No verdict that over a fifth of Gaussian layers of this size would get too."""
    shares = false_alarm_rates(n, row["k"], alpha)
    for name, share in zip(("is_power_law", "is_power_law_calibrated"), shares, strict=True):
        if share > HIGHEST_SHARE:
            row[name] = None


def _add_gaussianity(
    rows: Sequence[Row], gradients: Sequence[Sequence[Tensor]], step: int, settings: StatisticsSettings
) -> None:
    """Gaussianity of values drawn at this step, those of as many values at once."""
    random = np.random.default_rng([random_streams.WATCH_GAUSSIAN, settings.seed, step])
    drawn: dict[int, list[tuple[int, np.ndarray]]] = {}
    for i, layer in enumerate(gradients):
        n = rows[i]["n"]
        if n < SHORTEST or rows[i]["non_finite_share"]:
            continue
        count = min(settings.gaussian_k, n)
        places = np.sort(random.choice(n, count, replace=False, shuffle=False))
        drawn.setdefault(count, []).append((i, Places(places, layer).take(layer).numpy()))
    for count, some in drawn.items():
        p_values = gaussian_test_rows(np.stack([values for _, values in some]), count)
        for (i, _), p_value in zip(some, p_values.tolist(), strict=True):
            rows[i]["gaussian_p_value"] = p_value
