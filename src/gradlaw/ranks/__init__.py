"""Several processes that work on one thing: who they are, what they exchange, and what happens when one dies."""

from gradlaw.ranks.group import ALONE, RankGroup, join, those_asked

__all__ = ["ALONE", "RankGroup", "join", "those_asked"]
