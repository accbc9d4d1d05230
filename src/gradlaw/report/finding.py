"""A finding: one thing that an analysis shows, in plain words, with its certainty.

The words follow from numbers by the rules of this module and of the section that makes the finding; ``docs/page.md``
has all of them. Nothing here measures.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from gradlaw.report.formatting import percent
from gradlaw.stats import GradientTests

Certainty = Literal["high", "medium", "low", "no verdict"]
LEVELS: tuple[Certainty, ...] = ("high", "medium", "low")
# From this share on, these words.
SHARES = ((0.95, "nearly all"), (0.6, "most"), (0.4, "about half"), (0.1, "some"))
CHANCE, LEFT_OUT, HALF = 0.05, 0.1, 0.5  # of Gaussian series that pass; of series that cannot be tested
FEWEST_SERIES = 100


@dataclass(frozen=True)
class Advice:
    """What a finding means for training, and what that rests on."""

    text: str
    caveat: str


@dataclass(frozen=True)
class Finding:
    """One thing that was found.

    Attributes:
        topic: what it is about; of several runs the findings of one topic stand side by side.
        headline: in plain words, without numbers that the text has.
        text: the numbers.
        certainty: how sure it is.
        why: what that certainty rests on.
        panel: name of the panel that shows it.
        advice: what it means for training, where the numbers allow to say so.
    """

    topic: str
    headline: str
    text: str
    certainty: Certainty
    why: str
    panel: str
    advice: Advice | None = None

    def __str__(self) -> str:
        return f"{self.headline} ({self.certainty} certainty)"


def share_in_words(share: float) -> str:
    """A share of series in words."""
    if share <= 0:
        return "none"
    return next((words for least, words in SHARES if share >= least), "few")


def certainty_of_rate(tests: GradientTests, share: float, by_chance: float) -> tuple[Certainty, str]:
    """How sure a rate is, and why: the worst of what speaks against it.

    Args:
        tests: that it is a rate of.
        share: the rate.
        by_chance: share of Gaussian series that pass too.
    """
    interval = tests.interval(share)
    found: list[tuple[Certainty, str]] = []
    if tests.degenerate > HALF:
        found.append(("low", f"{percent(tests.degenerate)} of the series cannot be tested"))
    if tests.series < FEWEST_SERIES:
        found.append(("low", f"only {tests.series:,} series were tested"))
    if tests.degenerate > LEFT_OUT:
        found.append(("medium", f"{percent(tests.degenerate)} of the series cannot be tested"))
    if by_chance > CHANCE:
        found.append(("medium", f"{percent(by_chance)} of Gaussian series pass too"))
    if interval is not None and share_in_words(interval[0]) != share_in_words(interval[1]):
        found.append(("medium", f"the interval of the rate, {percent(interval[0])} to {percent(interval[1])}, spans "
                                "two of these words"))  # fmt: skip
    if not found:
        return "high", f"{tests.series:,} series, and Gaussian ones pass in {percent(by_chance)} of cases"
    return found[0]


def certainty_of_estimate(value: float, error: float) -> Certainty:
    """Of an estimate with a standard error: high up to a quarter of the value, medium up to half."""
    relative = error / abs(value) if value else float("inf")
    return "high" if relative <= 0.25 else "medium" if relative <= 0.5 else "low"


def lowered(certainty: Certainty) -> Certainty:
    """One level less sure."""
    return "medium" if certainty == "high" else "low" if certainty == "medium" else certainty
