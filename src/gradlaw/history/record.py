"""What every history has beside its gradients, and the same as plain data and back."""

from dataclasses import asdict, dataclass, field
from typing import Any

from torch import Tensor

from gradlaw.by_value import ByValue
from gradlaw.history.settings import HistorySettings
from gradlaw.problem import ParameterSlice


@dataclass(frozen=True, eq=False, kw_only=True)
class Recorded(ByValue):
    """The base of histories, whether whole, shared out among ranks or sketched.

    Attributes:
        losses: tensor (T,), the minibatch losses.
        layout: where each parameter tensor sits among the n dimensions.
        unused: parameters on which the loss does not depend; their gradients are zeros.
        rounding: relative rounding error ||error|| / ||g|| of a gradient: as seen when the same gradient is computed
            another way, or that of the type it is stored in, whichever is larger.
        settings: engine, seed, batch size and whatever else the gradients depend on, by attribute or by name.
        notices: what was decided while collecting, in words.
    """

    losses: Tensor
    layout: list[ParameterSlice]
    unused: list[str]
    rounding: float
    settings: HistorySettings
    notices: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.losses)

    def record(self) -> dict[str, Any]:
        """All but gradients and losses, as plain data."""
        return {
            "layout": [asdict(part) for part in self.layout],
            "unused": self.unused,
            "rounding": self.rounding,
            "settings": self.settings.as_dict(),
            "notices": self.notices,
        }


def fields_of(record: dict[str, Any]) -> dict[str, Any]:
    """The fields of :class:`Recorded` but the losses, from a history's record and that of its problem."""
    settings = dict(record["settings"])
    settings.setdefault("samples", record["problem"]["data"]["samples"])  # where early versions had it alone
    layout = [ParameterSlice(**{**part, "shape": tuple(part["shape"])}) for part in record["layout"]]
    rest = {name: value for name, value in record.items() if name != "problem"}
    return rest | {"layout": layout, "settings": HistorySettings.from_dict(settings)}
