"""Trainings that left a network at chance: what is measured on it is not what a trained network shows."""

from typing import Any

_CHANCE = 1.5  # times the accuracy of guessing


def learnt_nothing(record: dict[str, Any]) -> str | None:
    """In words that the training learnt nothing; None if it learnt, and for random parameters."""
    provenance = record["provenance"]
    trained = provenance["trained"]
    if trained is None:
        return None
    accuracy, classes = trained["training"]["accuracy"], len(provenance["problem"]["data"]["classes"])
    if accuracy > _CHANCE / classes:
        return None
    return f"the training learnt nothing: {accuracy:.2%} of its own labels are right, with {classes} classes"
