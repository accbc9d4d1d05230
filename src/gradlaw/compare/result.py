"""What a comparison found, as data."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gradlaw.analyze import Analysis
from gradlaw.by_value import ByValue
from gradlaw.json_text import json_text

if TYPE_CHECKING:
    import pandas as pd

TABLES = ("settings", "values", "differences", "layers", "layer_differences", "spectra", "overlaps")


@dataclass(frozen=True, eq=False)
class ComparisonResult(ByValue):
    """Several runs side by side.

    A group is one run, or all runs that differ in their seed alone.

    Attributes:
        level: of all intervals.
        runs: the analyses, by name.
        groups: names of the runs of each group.
        settings: what differs, one row a setting, one column a run; of parameters and data their digests.
        values: by quantity and group: ``value``, ``low`` and ``high`` of its interval (missing where no valid one can
            be given), ``seeds``, and ``how`` it was made or why it is missing.
        differences: one row a quantity and pair of groups, second less first: ``difference``, ``low``, ``high``,
            ``p_value``, ``p_holm`` (adjusted over the table), ``how``. Of noise scales it is that of their inverses.
        layers: one row a run and parameter tensor; see :func:`gradlaw.compare.layers.layers_of`.
        layer_differences: the noise scales of layers, as ``differences``, adjusted over all layers and pairs.
        spectra: eigenvalues of the covariance, one row a rank, one column a run.
        overlaps: of leading subspaces; see :func:`gradlaw.compare.overlaps.overlaps_of`.
        notes: what was put together, and what could not be compared.
    """

    level: float
    runs: dict[str, Analysis]
    groups: dict[str, tuple[str, ...]]
    settings: "pd.DataFrame"
    values: "pd.DataFrame"
    differences: "pd.DataFrame"
    layers: "pd.DataFrame"
    layer_differences: "pd.DataFrame"
    spectra: "pd.DataFrame"
    overlaps: "pd.DataFrame"
    notes: tuple[str, ...]

    def to_frame(self) -> "pd.DataFrame":
        """The values of all quantities; see ``values``."""
        return self.values

    def to_json(self) -> str:
        """Everything but the spectra as JSON; infinite values as the text ``"infinite"``, missing ones as null."""
        tables = {name: getattr(self, name) for name in TABLES if name != "spectra"}
        record = {"level": self.level, "groups": self.groups, "notes": list(self.notes)}
        rows = {name: (t.reset_index() if name in ("settings", "values") else t).to_dict("records")
                for name, t in tables.items()}  # fmt: skip
        return json_text(record | rows)
