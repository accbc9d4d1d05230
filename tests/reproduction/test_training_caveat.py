"""Networks at chance after training are marked wherever they are counted."""

from typing import Any

import pytest

from gradlaw.reproduction.chance import learnt_nothing


def record(accuracy: float | None, classes: int = 10) -> dict[str, Any]:
    trained = None if accuracy is None else {"training": {"accuracy": accuracy}}
    return {"provenance": {"trained": trained, "problem": {"data": {"classes": [str(c) for c in range(classes)]}}}}


@pytest.mark.parametrize(("accuracy", "classes"), [(None, 10), (0.64, 10), (0.152, 10), (0.02, 100)])
def test_random_parameters_and_networks_above_chance_are_not_marked(accuracy: float | None, classes: int) -> None:
    assert learnt_nothing(record(accuracy, classes)) is None


@pytest.mark.parametrize(("accuracy", "classes"), [(0.1124, 10), (0.1, 10), (0.012, 100)])
def test_networks_at_chance_are_marked(accuracy: float, classes: int) -> None:
    assert f"{accuracy:.2%} of its own labels are right, with {classes} classes" in str(
        learnt_nothing(record(accuracy, classes))
    )
