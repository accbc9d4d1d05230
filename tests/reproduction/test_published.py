"""The published values are those of the paper."""

from gradlaw.reproduction.xie2023.published import ODD, TABLES, published_table

ROWS = {1: 8, 2: 6, 3: 4, 4: 14, 5: 8, 6: 12, 7: 15, 8: 11, 9: 3, 10: 7, 11: 3}


def test_the_number_of_rows_is_that_of_the_paper() -> None:
    assert {number: len(published_table(number)) for number in TABLES} == ROWS


def test_odd_values_are_carried_as_printed_and_marked() -> None:
    assert published_table(7)[11]["s"] == 11.442
    assert published_table(3)[0]["s"] == 5.111
    assert published_table(8)[0] | {"setting": ""} == published_table(8)[3] | {"setting": ""}
    assert published_table(8)[5]["s"] is None
    assert {(7, 12), (3, 1), (8, 4), (8, 7)} <= set(ODD)
    assert all(1 <= row <= ROWS[table] for table, row in ODD)
