"""The paper as one object, with the tables as they were printed."""

import csv
from importlib.resources import files
from typing import Any

from gradlaw.reproduction.paper import Paper
from gradlaw.reproduction.xie2023.claims import CLAIMS
from gradlaw.reproduction.xie2023.figures import FIGURES
from gradlaw.reproduction.xie2023.hessians import HESSIANS
from gradlaw.reproduction.xie2023.networks import CENTRAL
from gradlaw.reproduction.xie2023.profiles import PROFILES
from gradlaw.reproduction.xie2023.readings import AXES, FAMILIES
from gradlaw.reproduction.xie2023.tables import TABLES

_NUMBERS = ("d_ks", "d_c", "s", "mean_d_ks", "power_law_rate", "mean_p_value", "gaussian_rate")
_COUNTS = ("batch_size", "k")

# What looks odd in the published rows, by table and row counted from 1. They are carried as printed.
_ERRATA: dict[tuple[int, int], str] = {
    (2, 1): "the second-moment row of Table 6, not the covariance row of Table 7 (s = 1.299)",
    (2, 2): "the second-moment row of Table 6, not the covariance row of Table 7 (0.0226, s = 1.425)",
    (3, 1): "s = 5.111 is printed so; the same network at random has 2.232",
    (3, 3): "s = 1.668 is printed for both FCN rows",
    (3, 4): "s = 1.668 is printed for both FCN rows",
    (7, 12): "s = 11.442 is printed so; the neighbouring rows have 1.3 to 1.5",
    (8, 4): "identical to row 1",
    (8, 7): "identical to row 2",
    (8, 10): "d_ks identical to row 11",
    (8, 11): "d_ks identical to row 10",
    (11, 3): "a second pretrained row with the same settings; the paper does not say how it differs from row 1",
}


def printed(number: int) -> tuple[dict[str, str], ...]:
    """The rows of one table by column, with the digits that were printed."""
    resource = files("gradlaw.reproduction.xie2023").joinpath("published", f"table{number:02}.csv")
    return tuple(csv.DictReader(resource.read_text(encoding="utf-8").splitlines()))


def _published(number: int) -> tuple[dict[str, Any], ...]:
    """The same; numbers as floats, counts as ints, verdicts as bools, an empty cell as None."""
    return tuple({key: _cell(key, text) for key, text in row.items()} for row in printed(number))


def _cell(column: str, text: str) -> Any:
    if text == "":
        return None
    if column in _NUMBERS:
        return float(text)
    if column in _COUNTS:
        return int(text)
    return text == "true" if column == "is_power_law" else text


PAPER = Paper(
    name="xie2023",
    title="On the Overlooked Structure of Stochastic Gradients",
    authors="Xie, Tang, Sun and Li",
    tables=TABLES,
    figures=FIGURES,
    claims=CLAIMS,
    published={number: _published(number) for number in TABLES},
    errata=_ERRATA,
    profiles=PROFILES,
    axes=AXES,
    families=FAMILIES,
    central=CENTRAL,
    beside=(HESSIANS,),
)
