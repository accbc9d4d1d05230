"""Readings: what they change, how one is chosen, and that the committed page says what was measured."""

import math
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gradlaw.cli.main import main
from gradlaw.errors import InputError
from gradlaw.reproduction.choice import choose, experiments
from gradlaw.reproduction.claims_by_reading import decide_by_reading
from gradlaw.reproduction.evidence import Evidence
from gradlaw.reproduction.experiment import NetworkSpec, history
from gradlaw.reproduction.measure import model_settings
from gradlaw.reproduction.measurement import Measurement, Resolver
from gradlaw.reproduction.reading import Reading
from gradlaw.reproduction.readings_page import page
from gradlaw.reproduction.results import TABLE
from gradlaw.reproduction.store import Result
from gradlaw.reproduction.trained_models import TrainedModels
from gradlaw.reproduction.xie2023.networks import FCN, LENET, LENET_CIFAR, LENET_TRAINED
from gradlaw.reproduction.xie2023.paper import PAPER

ROOT = Path(__file__).parents[2]
FAMILY = next(family for family in PAPER.families if family.name == "lenet-mnist")


def _parse(text: str) -> Reading:
    return Reading.parse(text, PAPER.axes)


def test_a_reading_changes_what_has_the_choice_and_nothing_else() -> None:
    reading = _parse("padding=0,normalisation=pixel,pretrained=random")
    assert _network(reading, LENET_TRAINED) == replace(LENET, padding=0, normalisation="pixel")
    assert _network(reading, LENET_CIFAR) == replace(LENET_CIFAR, normalisation="pixel")
    model = model_settings(_network(reading, LENET), (1, 28, 28), 0).build()
    assert sum(p.numel() for p in model.parameters()) == 44_426


def _network(reading: Reading, network: NetworkSpec) -> NetworkSpec:
    return reading.experiment(history(network, 1)).network


def _measurement(text: str) -> Measurement:
    resolver = Resolver(PAPER.profiles["paper"], TrainedModels(Path("nowhere"), ()))
    return resolver.resolve(_parse(text).experiment(history(LENET, 1)), 0)


def test_a_smaller_tail_is_fitted_and_all_of_it_keeps_the_key_of_first_results() -> None:
    assert [_measurement(f"k={option}").k for option in ("all", "half", "tenth")] == [1000, 500, 100]
    first = _measurement("padding=2")
    assert first.key == _measurement("k=all,centred=yes,augmentation=no,constant=zero").key
    others = ("k=half", "augmentation=yes", "normalisation=pixel", "normalisation=pixel,constant=floor")
    assert len({first.key, *(_measurement(text).key for text in others)}) == 5


def test_a_centred_row_is_of_the_covariance_and_tests_and_eigengaps_stay() -> None:
    def quantities(text: str, *tables: int) -> set[str]:
        return {row.quantity for table in tables for row in PAPER.under(_parse(text)).tables[table].rows}

    assert quantities("centred=yes", 6, 9) == {"covariance"}
    assert quantities("centred=no", 2, 7, 8, 10) == {"second moment"}
    assert quantities("centred=no", 3) == {"eigengaps"}
    assert quantities("centred=no", 1) == {"dimension", "iteration"}


def test_an_option_that_changes_nothing_of_what_is_asked_for_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["reproduce", "table6 row 7", "--from-results", str(ROOT / "docs/reproduction/results"), "--explain"]
    assert main([*asked, "--reading", "order=relu-bn,constant=floor,normalisation=channel"]) == 0
    said = capsys.readouterr().out
    assert "note: order=relu-bn changes nothing here" in said
    assert "note: constant=floor changes nothing here" in said
    assert "note: normalisation" not in said


def test_an_axis_applies_after_those_that_it_depends_on_whatever_the_order_of_the_text() -> None:
    reading = _parse("constant=floor,normalisation=pixel")
    assert _network(reading, LENET) == replace(LENET, normalisation="pixel", constant="floor")
    assert reading.idle([history(LENET, 1)]) == []


def test_the_first_options_are_the_networks_as_declared() -> None:
    first = Reading(tuple((axis, axis.first) for axis in PAPER.axes))
    assert first.is_first
    assert PAPER.under(first).tables == {
        number: replace(table, rows=tuple({(r.number, r.experiment, r.quantity): r for r in _rows_in_first_order(table)}
                                          .values())) for number, table in PAPER.tables.items()
    }  # fmt: skip


def _rows_in_first_order(table: Any) -> list[Any]:
    """The declared rows; those in the other order of BatchNorm and ReLU are the same as the first ones' then."""
    order = _parse("order=bn-relu")
    rows: dict[Any, Any] = {}
    for row in table.rows:
        experiment = order.experiment(row.experiment)
        rows.setdefault((row.number, experiment, row.quantity), replace(row, experiment=experiment))
    return list(rows.values())


def test_rows_that_become_one_experiment_are_one() -> None:
    rows = [row for row in PAPER.under(_parse("order=relu-bn")).tables[8].rows if row.number == 2]
    assert [row.experiment.network.model for row in rows] == ["fcn-relu-bn"]
    assert len([row for row in PAPER.tables[8].rows if row.number == 2]) == 2


def test_sgd_with_momentum_leaves_other_optimisers() -> None:
    reading = _parse("sgd=momentum")
    found = _network(reading, LENET_TRAINED).training
    assert found is not None
    assert found.optimiser == "momentum"
    assert _network(reading, FCN) == FCN


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("padding=1", "there are 2, 0"),
        ("colour=red", "leaves no 'colour' open; there are padding"),
        ("padding", "there are 2, 0"),
        ("padding=0,padding=2", "given twice"),
    ],
)
def test_what_is_no_reading_is_refused(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        _parse(text)


_PUBLISHED_TESTS = {"iteration": (0.428, 0.00067, 0.047, 0.126), "dimension": (0.0306, 0.906, 4.51e-5, 1e-4)}


class _Drawn:
    """Results of every reading, with spectra around a value that depends on the reading."""

    def __init__(self, truth: Reading) -> None:
        self.near = {reading.experiment(history(LENET, 1)): float(reading == truth) for reading in FAMILY.readings}

    def __contains__(self, m: Measurement) -> bool:
        return True

    def where(self, m: Measurement) -> str:
        return "drawn"

    def load(self, m: Measurement) -> Result:
        rng = np.random.default_rng([m.seed, list(self.near).index(m.experiment)])
        near = self.near[m.experiment]
        s, d = 1.428 * math.exp(0.02 * rng.normal() + 0.2 * (1 - near)), 0.022 * math.exp(0.1 * rng.normal())
        off = math.exp(0.1 * rng.normal() - 0.5 * (1 - near))
        names = "mean_d_ks_all", "power_law_rate", "mean_p_value", "gaussian_rate"
        tests = {axis: {name: off * value for name, value in zip(names, values, strict=True)}
                 for axis, values in _PUBLISHED_TESTS.items()}  # fmt: skip
        fit = {"s": s, "d_ks": d, "is_power_law": True, "is_power_law_calibrated": d < 0.03}
        spectra = {matrix: {"fit": fit} for matrix in ("second moment", "covariance")}
        spectra["eigengaps"] = {"fit": fit | {"s": s * 2.232 / 1.428}}  # both as published
        record = {"spectra": spectra, "tests": tests}
        problem = {"data": {"classes": range(10)}, "parameters_sha256": ""}
        return Result(record | {"provenance": {"trained": None, "problem": problem}}, {})


def _evidence(truth: Reading, seeds: tuple[int, ...]) -> Evidence:
    resolver = Resolver(PAPER.profiles["paper"], TrainedModels(Path("nowhere"), ()))
    names = (*FAMILY.choose, *FAMILY.check)
    found = {e for by_name in experiments(PAPER, FAMILY, names).values() for e in by_name.values()}
    assert found == {reading.experiment(history(LENET, 1)) for reading in FAMILY.readings}
    return Evidence(_Drawn(truth), seeds, {(e, s): resolver.resolve(e, s) for e in found for s in seeds}, {})


def test_the_reading_that_made_the_numbers_is_chosen() -> None:
    truth = FAMILY.readings[7]
    choice = choose(PAPER, FAMILY, _evidence(truth, (0, 1, 2)))
    assert choice.chosen is not None
    assert choice.chosen.reading == truth
    assert choice.tried == len(FAMILY.readings) == 24 + len(FAMILY.alone)
    others = [c.predictive["table6 row 7", "s"] for c in choice.candidates[1:] if c.reading not in FAMILY.alone]
    assert not any(predictive.agrees(1.428) for predictive in others)


def test_rows_that_are_held_out_confirm_the_reading_that_made_them() -> None:
    evidence = _evidence(FAMILY.readings[7], (0, 1, 2))
    text = page(PAPER, [choose(PAPER, FAMILY, evidence)], PAPER.profiles["paper"], evidence)
    chosen = next(line for line in text.splitlines() if line.startswith("| lenet-mnist | padding="))
    tried = 24 + len(FAMILY.alone)
    assert chosen.startswith(f"| lenet-mnist | {FAMILY.readings[7]} | {tried} of {tried} |")
    assert chosen.endswith(f"| yes | place 1 of {tried} |")
    command = 'gradlaw reproduce "table6 row 7" --profile paper --data-root DIR --seeds 0,1,2 --reading '
    assert f"{command}{FAMILY.readings[7]}" in text


def test_claims_are_decided_by_the_rows_of_a_family_alone() -> None:
    evidence = _evidence(FAMILY.readings[0], (0, 1))
    found = {each.claim: each.checks for each in decide_by_reading(PAPER, FAMILY, evidence)}
    assert set(found) == {"power-law covariance", "second moment like covariance", "power-law eigengaps",
                          "eigengaps decay faster"}  # fmt: skip
    for checks in found.values():
        assert set(checks) == set(FAMILY.readings)
        assert {len(of_reading) for of_reading in checks.values()} == {2}
    assert all(check.published for check in found["power-law covariance"][FAMILY.readings[0]])


def test_one_seed_chooses_nothing() -> None:
    choice = choose(PAPER, FAMILY, _evidence(FAMILY.readings[0], (0,)))
    assert (choice.chosen, choice.tried) == (None, 0)


def test_a_family_that_is_not_there_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["readings", "alexnet"]) == 2
    assert "there are lenet-mnist" in capsys.readouterr().err


def test_the_page_says_what_the_results_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert main(["readings", "--from-results", "--markdown", str(tmp_path / "page.md")]) == 0
    assert (tmp_path / "page.md").read_text() == Path("docs/readings.md").read_text()


def test_results_of_readings_are_gathered_in_parts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = shutil.copytree(ROOT / "docs/reproduction/readings", tmp_path / "kept")
    before = (folder / TABLE).read_bytes()
    asked = ["readings", "fcn", "--from-store", "--offline", "--store", str(tmp_path / "store")]
    assert main([*asked, "--profile", "paper", "--save-results", str(folder)]) == 0
    assert (folder / TABLE).read_bytes() == before
    assert main([*asked, "--profile", "quick", "--save-results", str(folder)]) == 2
    assert "holds results of the profile paper" in capsys.readouterr().err
