"""What histories on disk say of themselves beside their arrays, as plain data and back."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Protocol

from gradlaw.history.settings import HistorySettings
from gradlaw.problem import ParameterSlice


class Recorded(Protocol):
    """What every history has; see :class:`~gradlaw.history.GradientHistory`."""

    @property
    def layout(self) -> Sequence[ParameterSlice]: ...
    @property
    def unused(self) -> Sequence[str]: ...
    @property
    def rounding(self) -> float: ...
    @property
    def settings(self) -> HistorySettings: ...
    @property
    def notices(self) -> Sequence[str]: ...


def record_of(history: Recorded) -> dict[str, Any]:
    """All but arrays and losses, as plain data."""
    return {
        "layout": [asdict(part) for part in history.layout],
        "unused": history.unused,
        "rounding": history.rounding,
        "settings": history.settings.as_dict(),
        "notices": history.notices,
    }


def fields_of(record: dict[str, Any]) -> dict[str, Any]:
    """What a history is made of, beside arrays and losses, from its record and that of its problem."""
    settings = dict(record["settings"])
    settings.setdefault("samples", record["problem"]["data"]["samples"])  # where early versions had it alone
    layout = [ParameterSlice(**{**part, "shape": tuple(part["shape"])}) for part in record["layout"]]
    rest = {name: value for name, value in record.items() if name != "problem"}
    return rest | {"layout": layout, "settings": HistorySettings.from_dict(settings)}
