"""The front door: several runs, compared."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

from gradlaw.analysis.setting import setting_of
from gradlaw.analyze import Analysis
from gradlaw.argument_types import checked
from gradlaw.compare.comparison import Comparison
from gradlaw.compare.differences import difference_of
from gradlaw.compare.exponents import exponents_of
from gradlaw.compare.layers import layer_quantities, layers_of
from gradlaw.compare.overlaps import overlaps_of
from gradlaw.compare.quantities import QUANTITIES, Quantity, Value
from gradlaw.compare.runs import Group, Runs, groups_of, read_runs
from gradlaw.compare.values import value_of
from gradlaw.errors import InputError, significance
from gradlaw.history import GradientHistory
from gradlaw.progress import SILENT, Progress
from gradlaw.stats.intervals import holm

if TYPE_CHECKING:
    import pandas as pd

Known = Mapping[str, Mapping[str, Value]]  # by run, by quantity


@checked
def compare(
    runs: Runs,
    *,
    histories: Mapping[str, GradientHistory | str | Path] | None = None,
    group_seeds: bool = True,
    level: float = 0.95,
    progress: Progress | None = None,
) -> Comparison:
    """Set runs side by side: settings, spectra, rates, exponents, noise and layers, and whether they differ.

    Every interval holds its level: where what a run keeps does not allow one, there is none, and the reason is given.
    Series are not independent: rates across dimensions and losses are resampled in blocks of iterations (see
    :mod:`gradlaw.stats.blocks`), those across iterations have an interval only where draws are nearly independent
    (see :mod:`gradlaw.compare.quantities`). Differences have p-values, raw and adjusted for their number (Holm 1979).
    Quantities that depend on n, T, K or alpha are compared only where these agree.

    Args:
        runs: analyses, directories that ``gradlaw analyze`` wrote, or a dict of either by name; or what
            :func:`gradlaw.analyze_checkpoints` returns.
        histories: the gradients of some runs, by name of the run, or folders with them (``store=`` of
            :func:`gradlaw.analyze`): then exponents have intervals, and leading subspaces are compared.
        group_seeds: put runs that differ in their seed alone together, and give means over them with their spread.
            Networks of other parameters and another seed are taken for seeds of one setting; pass False where they
            are not.
        level: of the intervals.
        progress: where to show it.

    Returns:
        A :class:`Comparison`; ``str`` is the table, ``to_frame()`` the values.

    Raises:
        InputError: fewer than two runs, one twice, a directory without a run, or a history that is not that of the run.
    """
    named, level, progress = read_runs(runs), significance(level, "level"), progress or SILENT
    opened = _opened(histories or {}, named)
    known = {name: exponents_of(named[name], history, progress) for name, history in opened.items()}
    groups = groups_of(named, group_seeds)
    overlaps, notes = overlaps_of(named, opened)
    return Comparison(
        level=level,
        runs=named,
        groups={group.name: tuple(group.runs) for group in groups},
        settings=_settings(named),
        values=_values(groups, known, level),
        differences=_differences(groups, QUANTITIES, known, level),
        layers=layers_of(named, level),
        layer_differences=_differences(groups, layer_quantities(named), {}, level),
        spectra=_spectra(named),
        overlaps=overlaps,
        notes=(*_notes_of(groups), *notes),
    )


def _opened(
    histories: Mapping[str, GradientHistory | str | Path], runs: Mapping[str, Analysis]
) -> dict[str, GradientHistory]:
    unknown = [name for name in histories if name not in runs]
    if unknown:
        raise InputError(f"histories of no run: {', '.join(unknown)}; the runs are {', '.join(runs)}")
    return {name: h if isinstance(h, GradientHistory) else GradientHistory.open(h) for name, h in histories.items()}


def _settings(runs: Mapping[str, Analysis]) -> "pd.DataFrame":
    """What differs: one row a setting, one column a run."""
    import pandas as pd  # loaded for those who ask for a table

    digest = "problem.parameters_sha256"
    recorded = {
        name: {**setting_of(run), "settings.seed": run.settings["seed"],
               digest: run.provenance["problem"]["parameters_sha256"]}
        for name, run in runs.items()
    }  # fmt: skip
    names = dict.fromkeys(setting for of_run in recorded.values() for setting in of_run)
    rows = {s: {name: str(of_run.get(s, "-")) for name, of_run in recorded.items()} for s in names}
    different = {s: row for s, row in rows.items() if len(set(row.values())) > 1}
    return pd.DataFrame.from_dict(different, orient="index", columns=list(runs)).rename_axis("setting")


def _values(groups: Sequence[Group], known: Known, level: float) -> "pd.DataFrame":
    import pandas as pd  # loaded for those who ask for a table

    rows = []
    for quantity in QUANTITIES:
        for group in groups:
            found = value_of(group, quantity, _known(known, quantity))
            value, low, high = found.shown(level)
            row = {"quantity": quantity.name, "group": group.name, "value": value, "low": low, "high": high}
            rows.append(row | {"seeds": found.seeds, "how": found.mean.reason})
    frame = pd.DataFrame(rows).set_index(["quantity", "group"])
    return frame.astype({"value": float, "low": float, "high": float})


def _differences(groups: Sequence[Group], quantities: Sequence[Quantity], known: Known, level: float) -> "pd.DataFrame":
    """One row a quantity and pair of groups, with p-values adjusted over all of them."""
    import pandas as pd  # loaded for those who ask for a table

    rows = []
    for quantity in quantities:
        values = [value_of(group, quantity, _known(known, quantity)) for group in groups]
        for a, b in combinations(values, 2):
            d = difference_of(a, b, level)
            low, high = d.interval or (None, None)
            rows.append((d.quantity, d.first, d.second, d.difference, low, high, d.p_value, None, d.reason))
    columns = ["quantity", "first", "second", "difference", "low", "high", "p_value", "p_holm", "how"]
    frame = pd.DataFrame(rows, columns=columns).astype(dict.fromkeys(columns[3:8], float))
    frame["p_holm"] = holm(frame["p_value"].to_numpy())
    return frame


def _known(known: Known, quantity: Quantity) -> dict[str, Value]:
    return {name: values[quantity.name] for name, values in known.items() if quantity.name in values}


def _spectra(runs: Mapping[str, Analysis]) -> "pd.DataFrame":
    """Eigenvalues of the covariance, one row a rank, one column a run."""
    import pandas as pd  # loaded for those who ask for a table

    frame = pd.DataFrame({name: pd.Series(run.spectra["covariance"].eigenvalues) for name, run in runs.items()})
    frame.index = pd.RangeIndex(1, len(frame) + 1, name="rank")
    return frame


def _notes_of(groups: Sequence[Group]) -> list[str]:
    """Which runs were put together, and whether their networks differ."""
    notes = []
    for group in groups:
        if len(group.runs) > 1:
            digests = {run.provenance["problem"]["parameters_sha256"] for run in group.runs.values()}
            what = "each with parameters of its own" if len(digests) == len(group.runs) else "parameters shared"
            notes.append(f"{group.name}: {', '.join(group.runs)}, put together as seeds of one setting ({what})")
    if all(len(group.runs) == 1 for group in groups):
        notes.append("each run is one network: differences are of these networks; for settings take several seeds")
    return notes
