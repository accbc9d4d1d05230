"""Which file of those that could not be read is broken, and in which row."""

from pathlib import Path

import pandas as pd
import pyarrow
import pyarrow.parquet as pq

from gradlaw.data.location import Location


def find_broken(location: Location, split: str) -> str | None:
    """A message that names the first broken file of a split and the row in it; None if each by itself is sound."""
    for file in location.files[split] if location.kind != "imagefolder" else ():
        message = _broken_parquet(file) if location.kind == "parquet" else _broken_csv(file, location)
        if message is not None:
            return message
    return None


def csv_rows(file: Path, location: Location) -> int:
    """Rows of a CSV file."""
    return len(pd.read_csv(file, usecols=[0], **location.csv_options))


def text_in_numbers(values: pd.Series) -> int | None:
    """The row of the first text in a column that otherwise holds numbers; None for a column without, or all of text."""
    text = pd.to_numeric(values, errors="coerce").isna() & values.notna()
    return int(text.to_numpy().argmax()) if text.any() and not text.all() else None


def _broken_parquet(file: Path) -> str | None:
    part = f"{file} is no whole Parquet file"
    try:
        with pq.ParquetFile(file) as opened:
            start = 0
            for group in range(opened.num_row_groups):
                stop = start + opened.metadata.row_group(group).num_rows
                part = f"{file} is broken in rows {start} to {stop - 1}"
                opened.read_row_group(group)
                start = stop
    except (pyarrow.ArrowException, OSError) as error:
        return f"{part}: {error}"
    return None if start else f"{file} is empty: it has no rows"


def _broken_csv(file: Path, location: Location) -> str | None:
    try:
        table = pd.read_csv(file, dtype=str, **location.csv_options)
    except pd.errors.EmptyDataError:
        return f"{file} is empty"
    except (pd.errors.ParserError, UnicodeDecodeError) as error:
        return f"{file} is no readable CSV file: {error}"
    if table.empty:
        return f"{file} is empty: it has no rows"
    for name in table:
        row = text_in_numbers(table[name])
        if row is not None:
            return f"column {name!r} is {table[name][row]!r} in row {row} of {file}, and elsewhere numbers"
    return None
