"""Charts of several runs laid over one another, and runs that differ in their seed alone averaged."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np

from gradlaw.analysis.result import AnalysisResult
from gradlaw.analysis.setting import setting_of
from gradlaw.errors import InputError, listed
from gradlaw.report.chart import Band, Bars, Chart, Layer, Line, Mark, Panel, Points, Stack
from gradlaw.report.palette import RUNS

Runs = Mapping[str, AnalysisResult]


@dataclass(frozen=True)
class Group:
    """Runs that are shown as one: a single run, or those of one setting with different seeds.

    Attributes:
        label: of the legend.
        runs: their names.
    """

    label: str
    runs: tuple[str, ...]


def refuse_sketched(runs: Runs) -> None:
    """Refuse to compare runs of which some are approximate.

    Raises:
        InputError: names them.
    """
    sketched = [name for name, run in runs.items() if run.sketch_size is not None]
    if sketched:
        raise InputError(
            f"{listed(sketched)}: approximate, from sketches of gradients, and not to be compared as if they were "
            "exact; show each by itself, or analyse them without a sketch"
        )


def one_panel(chart: Chart, title: str) -> Panel:
    """The panels of a chart in one."""
    first = chart.panels[0]
    layers = tuple(chain.from_iterable(panel.layers for panel in chart.panels))
    marks = tuple(dict.fromkeys(chain.from_iterable(panel.marks for panel in chart.panels)))
    lowest = [panel.lowest for panel in chart.panels if panel.lowest is not None]
    return replace(first, title=title, layers=layers, marks=marks, lowest=min(lowest, default=None))


def groups_of(runs: Runs) -> list[Group]:
    """Runs of one setting whose seeds are all different make a group; every other run is one of its own.

    The parameters may differ within a group, as the seed draws them too. Two runs of one setting and one seed are
    different in something that no setting tells (before and after a training, say), and nothing of that setting is
    averaged.
    """
    by_setting: dict[str, list[str]] = {}
    for name, run in runs.items():
        by_setting.setdefault(_setting(run), []).append(name)
    groups = []
    for names in by_setting.values():
        seeds = [runs[name].settings["seed"] for name in names]
        if len(names) > 1 and len(set(seeds)) == len(seeds):
            groups.append(Group(f"{names[0]} (mean of {len(names)} seeds)", tuple(names)))
        else:
            groups += [Group(name, (name,)) for name in names]
    order = list(runs)
    return sorted(groups, key=lambda group: order.index(group.runs[0]))


def overlaid(groups: Sequence[Group], charts: Mapping[str, Chart]) -> Chart:
    """The charts of one name, by run, in one."""
    first = next(iter(charts.values()))
    panels: list[Panel] = []
    for place, panel in enumerate(first.panels):
        parts = [
            (group.label, _averaged([charts[run].panels[place] for run in group.runs if run in charts]))
            for group in groups
            if any(run in charts for run in group.runs)
        ]
        if panel.names:  # lying bars do not lie over one another
            panels += [
                replace(p, name=f"{p.name}_{i}", title=f"{p.title}: {label}") for i, (label, p) in enumerate(parts)
            ]
        else:
            panels.append(_laid_over(panel, parts))
    return replace(first, panels=tuple(panels), caption=first.caption)


def _laid_over(first: Panel, parts: Sequence[tuple[str, Panel]]) -> Panel:
    layers: list[Layer] = []
    for place, (label, panel) in enumerate(parts):
        colour = f"run {place % RUNS}"
        kept = [layer for layer in panel.layers if not (isinstance(layer, Points | Line) and layer.aside)]
        several = len({layer.label for layer in kept if isinstance(layer, Points | Bars)}) > 1
        for layer in kept:
            said = f"{label}: {layer.label}" if several or isinstance(layer, Line) else label
            layers.append(replace(layer, colour=colour, label=said))
    marks = tuple(dict.fromkeys(chain.from_iterable(panel.marks for _, panel in parts)))
    lowest = [panel.lowest for _, panel in parts if panel.lowest is not None]
    return replace(first, layers=tuple(layers), marks=marks, lowest=min(lowest, default=None))


def _averaged(panels: Sequence[Panel]) -> Panel:
    """The mean of the same panel of several seeds, with the range of what is drawn as points."""
    if len(panels) == 1:
        return panels[0]
    layers: list[Layer] = []
    for place, layer in enumerate(panels[0].layers):
        same = [panel.layers[place] for panel in panels if place < len(panel.layers)]
        if len(same) < len(panels) or any(type(other) is not type(layer) for other in same):
            continue
        layers += _mean(layer, same, panels[0])
    marks: tuple[Mark, ...] = tuple(dict.fromkeys(chain.from_iterable(panel.marks for panel in panels)))
    return replace(panels[0], layers=tuple(layers), marks=marks)


def _mean(layer: Layer, same: Sequence[Layer], panel: Panel) -> list[Layer]:
    """Of one layer; nothing of fitted lines, each of which is of one seed."""
    if isinstance(layer, Points):
        points = [other for other in same if isinstance(other, Points)]
        x, values = _on_common_x(points, panel)
        mean = np.exp(values.mean(axis=0)) if panel.y_scale == "log" else values.mean(axis=0)
        low, high = values.min(axis=0), values.max(axis=0)
        if panel.y_scale == "log":
            low, high = np.exp(low), np.exp(high)
        return [Band(layer.label, layer.colour, x, low, high), replace(layer, x=x, y=mean, hover=())]
    if isinstance(layer, Bars):
        bars = [other for other in same if isinstance(other, Bars)]
        if all(np.array_equal(layer.left, other.left) for other in bars):
            return [replace(layer, y=np.mean([other.y for other in bars], axis=0))]
        return []
    if isinstance(layer, Stack):
        stacks = [other for other in same if isinstance(other, Stack)]
        start, stop = (np.mean([getattr(s, name) for s in stacks], axis=0) for name in ("start", "stop"))
        return [replace(layer, start=start, stop=stop)]
    return []


def _on_common_x(points: Sequence[Points], panel: Panel) -> tuple[np.ndarray, np.ndarray]:
    """X that all of them reach, and their y there, in logarithms where the axis has them."""
    log_x, log_y = panel.x_scale == "log", panel.y_scale == "log"
    low, high = max(p.x.min() for p in points), min(p.x.max() for p in points)
    x = points[0].x[(points[0].x >= low) & (points[0].x <= high)]
    at = np.log(x) if log_x else x
    values = [np.interp(at, np.log(p.x) if log_x else p.x, np.log(p.y) if log_y else p.y) for p in points]
    return x, np.array(values)


def _setting(run: AnalysisResult) -> str:
    """Everything but the seed and what it draws."""
    return json.dumps(setting_of(run), sort_keys=True)
