"""The published values are those of the paper."""

from gradlaw.reproduction.xie2023.paper import PAPER

ROWS = {1: 8, 2: 6, 3: 4, 4: 14, 5: 8, 6: 12, 7: 15, 8: 11, 9: 3, 10: 7, 11: 3}


def test_the_number_of_rows_is_that_of_the_paper() -> None:
    assert {number: len(PAPER.published[number]) for number in PAPER.tables} == ROWS


def test_odd_values_are_carried_as_printed_and_marked() -> None:
    assert PAPER.published[7][11]["s"] == 11.442
    assert PAPER.published[3][0]["s"] == 5.111
    assert PAPER.published[8][0] | {"setting": ""} == PAPER.published[8][3] | {"setting": ""}
    assert PAPER.published[8][5]["s"] is None
    assert {(7, 12), (3, 1), (8, 4), (8, 7)} <= set(PAPER.errata)
    assert all(1 <= row <= ROWS[table] for table, row in PAPER.errata)
