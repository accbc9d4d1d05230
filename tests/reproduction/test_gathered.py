"""Results that are gathered in parts: what a folder holds stays, and what is new comes to it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gradlaw.errors import InputError
from gradlaw.reproduction.gathered import with_kept
from gradlaw.reproduction.measurement import Resolver
from gradlaw.reproduction.reading import Reading
from gradlaw.reproduction.results import ResultTable, write_results
from gradlaw.reproduction.selection import gather, select
from gradlaw.reproduction.store import Result, Store
from gradlaw.reproduction.trained_models import TrainedModels
from gradlaw.reproduction.xie2023.paper import PAPER

FIRST, SECOND = "table2 row 2", "table2 row 4"


@pytest.fixture
def resolver(tmp_path: Path) -> Resolver:
    return Resolver(PAPER.profiles["tiny"], TrainedModels(tmp_path, ()))


def _put(store: Store, resolver: Resolver, name: str, seeds: tuple[int, ...], loss: float) -> None:
    (experiment,) = select(PAPER, [name]).experiments
    for seed in seeds:
        store.save(resolver.resolve(experiment, seed), Result({"loss": loss}, {"covariance": np.full(3, loss)}))


def _gather(folder: Path, store: Store, resolver: Resolver, name: str, seeds: tuple[int, ...], paper=PAPER) -> None:
    selection = select(paper, [name])
    evidence = gather(selection, store, seeds, resolver)
    write_results(folder, resolver.profile, with_kept(folder, selection, evidence, resolver))


def _losses(folder: Path, resolver: Resolver, name: str) -> list[float]:
    results = ResultTable(folder)
    (experiment,) = select(PAPER, [name]).experiments
    found = [results.load(m) for s in results.seeds if (m := resolver.resolve(experiment, s)) in results]
    assert all(result.arrays["covariance"][0] == result.record["loss"] for result in found)
    return [result.record["loss"] for result in found]


def test_parts_are_gathered_and_what_was_there_stays(tmp_path: Path, resolver: Resolver) -> None:
    one, two, kept = Store(tmp_path / "one"), Store(tmp_path / "two"), tmp_path / "kept"
    _put(one, resolver, FIRST, (0, 1), 1.0)
    _gather(kept, one, resolver, FIRST, (0, 1))
    _put(two, resolver, FIRST, (1, 2), 2.0)
    _put(two, resolver, SECOND, (2,), 3.0)
    _gather(kept, two, resolver, SECOND, (2,))
    assert ResultTable(kept).seeds == (0, 1, 2)
    assert _losses(kept, resolver, FIRST) == [1.0, 1.0, 2.0]
    assert _losses(kept, resolver, SECOND) == [3.0]


def test_results_of_another_profile_or_reading_are_not_mixed_in(tmp_path: Path, resolver: Resolver) -> None:
    store, kept = Store(tmp_path / "store"), tmp_path / "kept"
    _put(store, resolver, FIRST, (0,), 1.0)
    _gather(kept, store, resolver, FIRST, (0,))
    larger = Resolver(replace(resolver.profile, iterations=61, meaning="larger"), resolver.trained_models)
    with pytest.raises(InputError, match=r"kept holds results of the profile tiny \(for tests .* of tiny \(larger\)"):
        _gather(kept, store, larger, FIRST, (0,))
    unpadded = PAPER.under(Reading.parse("padding=0", PAPER.axes))
    with pytest.raises(InputError, match="1 results of nothing in the paper as it is read here"):
        _gather(kept, store, resolver, FIRST, (0,), unpadded)
