"""What the results along training show, in words whose numbers are those of the table."""

import pandas as pd


def findings(rows: pd.DataFrame) -> str:
    """In Markdown."""
    return "-"
