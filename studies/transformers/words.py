"""What the page says in words; every number in them comes from the results."""

from collections.abc import Sequence

from studies.transformers.claims import Decision
from studies.transformers.tables import Results


def opening(results: Results) -> str:
    """What the study is."""
    return ""


def found(results: Results, decisions: Sequence[Decision]) -> str:
    """What came out."""
    return ""


def limits(results: Results) -> str:
    """What it cannot say."""
    return ""
