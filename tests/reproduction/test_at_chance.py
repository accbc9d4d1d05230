"""Networks at chance after training are marked wherever they are counted."""

from typing import Any

import pytest

from gradlaw.reproduction.evidence import chance_caveat, is_at_chance


def record(accuracy: float | None, classes: int = 10) -> dict[str, Any]:
    trained = None if accuracy is None else {"training": {"accuracy": accuracy}}
    return {"provenance": {"trained": trained, "problem": {"data": {"classes": [str(c) for c in range(classes)]}}}}


@pytest.mark.parametrize(("accuracy", "classes"), [(None, 10), (0.64, 10), (0.152, 10), (0.02, 100)])
def test_random_parameters_and_networks_above_chance_are_not_marked(accuracy: float | None, classes: int) -> None:
    assert not is_at_chance(record(accuracy, classes))
    assert chance_caveat(record(accuracy, classes)) is None


@pytest.mark.parametrize(("accuracy", "classes"), [(0.1124, 10), (0.1, 10), (0.012, 100)])
def test_networks_at_chance_are_marked(accuracy: float, classes: int) -> None:
    assert is_at_chance(record(accuracy, classes))
    assert f"{accuracy:.2%} of its own labels are right, with {classes} classes" in str(
        chance_caveat(record(accuracy, classes))
    )
