"""The published values are those of the paper."""

import csv
from pathlib import Path

import pytest

from gradlaw.reproduction.xie2023.published import ERRATA, TABLES, published_table

FOLDER = Path(__file__).parents[3] / "shared/paper/published"
ROWS = {1: 8, 2: 6, 3: 4, 4: 14, 5: 8, 6: 12, 7: 15, 8: 11, 9: 3, 10: 7, 11: 3}


@pytest.mark.parametrize("number", TABLES)
def test_every_value_is_carried_exactly(number: int) -> None:
    source = FOLDER / f"table{number:02}.csv"
    if not source.is_file():
        pytest.skip(f"the published tables are not at {source}")
    with source.open(newline="") as file:
        printed = list(csv.DictReader(file))
    carried = published_table(number)
    assert len(carried) == len(printed)
    for row, line in zip(carried, printed, strict=True):
        assert row.keys() == line.keys()
        for column, text in line.items():
            value = row[column]
            if isinstance(value, bool):
                assert text == ("true" if value else "false")
            elif isinstance(value, float | int):
                assert value == float(text)
            else:
                assert (value or "") == text


def test_the_number_of_rows_is_that_of_the_paper() -> None:
    assert {number: len(published_table(number)) for number in TABLES} == ROWS


def test_odd_values_are_carried_as_printed_and_marked() -> None:
    assert published_table(7)[11]["s"] == 11.442
    assert published_table(3)[0]["s"] == 5.111
    assert published_table(8)[0] | {"setting": ""} == published_table(8)[3] | {"setting": ""}
    assert published_table(8)[5]["s"] is None
    assert {(7, 12), (3, 1), (8, 4), (8, 7)} <= set(ERRATA)
    assert all(1 <= row <= ROWS[table] for table, row in ERRATA)
