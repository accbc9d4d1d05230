"""Results are in the store whole, or not at all."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil

from gradlaw.reproduction.experiment import history
from gradlaw.reproduction.measurement import Measurement
from gradlaw.reproduction.store import Result, Store
from gradlaw.reproduction.xie2023.networks import LENET

MEASUREMENT = Measurement(history(LENET, 1), 0, None, None, 40, 20, 20)
RESULT = Result({"tests": {"x": 0.1 + 0.2}}, {"covariance": np.arange(3) / 7})


def test_a_result_comes_back_bit_for_bit(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert MEASUREMENT not in store
    store.save(MEASUREMENT, RESULT)
    assert MEASUREMENT in store
    assert replace(MEASUREMENT, seed=1) not in store
    found = store.load(MEASUREMENT)
    assert found.record["tests"] == RESULT.record["tests"]
    assert found.record["measurement"]["study"]["point"]["model"] == "lenet"
    assert found.arrays["covariance"].tobytes() == RESULT.arrays["covariance"].tobytes()


def test_the_first_result_stays(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.save(MEASUREMENT, RESULT)
    store.save(MEASUREMENT, Result({"tests": {}}, {}))
    assert store.load(MEASUREMENT).record["tests"] == RESULT.record["tests"]
    assert [path.name for path in tmp_path.iterdir()] == [MEASUREMENT.key]


def test_what_a_dead_process_left_is_removed(tmp_path: Path) -> None:
    dead = max(psutil.pids()) + 100_000
    mine = psutil.Process().pid
    for pid in (dead, mine):
        (tmp_path / f"{MEASUREMENT.key}.{pid}.partial").mkdir()
    Store(tmp_path).remove_unfinished()
    assert [path.name for path in tmp_path.iterdir()] == [f"{MEASUREMENT.key}.{mine}.partial"]
