"""Where published rows stand among seeds: every outcome, likelihoods, counts and gaps against closed forms."""

import math
from dataclasses import replace
from decimal import ROUND_DOWN, ROUND_HALF_DOWN, ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any

import pytest
from scipy.stats import norm, t

from gradlaw.analysis.verdicts import EIGENGAPS
from gradlaw.cli.main import main
from gradlaw.reproduction.draw_standing import draw_standing
from gradlaw.reproduction.eigengap_pairs import describe, measured, printed
from gradlaw.reproduction.evidence import Evidence
from gradlaw.reproduction.experiment import Experiment, at_random, history
from gradlaw.reproduction.forensics import FIGURE
from gradlaw.reproduction.likelihood import likelihoods, total
from gradlaw.reproduction.measurement import Measurement
from gradlaw.reproduction.paper import SPECTRUM, TESTS, Paper, Row, Table
from gradlaw.reproduction.printed_counts import counts, is_count, share_of_counts
from gradlaw.reproduction.standing import (
    AGREES,
    AS_RANDOM,
    NOT_RUN,
    RANDOM_NOT_RUN,
    TOO_FEW,
    UNEXPLAINED,
    Seeds,
    Standing,
    best,
    count,
    stand,
)
from gradlaw.reproduction.store import Result
from gradlaw.reproduction.twins import twins
from gradlaw.reproduction.xie2023.forensics import FORENSICS
from gradlaw.reproduction.xie2023.networks import FCN, LENET, LENET_TRAINED, noisy, trained
from gradlaw.reproduction.xie2023.paper import PAPER
from gradlaw.spectra.matrices import COVARIANCE
from gradlaw.zoo import build_model

RANDOM, TRAINED = history(LENET, 1), history(LENET_TRAINED, 1)
E = math.e


def _record(s: float | None, d_ks: float = 0.02, **tests: float) -> dict[str, Any]:
    fit = None if s is None else {"s": s, "d_ks": d_ks, "is_power_law": d_ks < 0.043, "k": 20}
    gaps = fit and fit | {"s": fit["s"] + 1}
    return {"spectra": {COVARIANCE: {"fit": fit, "rank": 100}, EIGENGAPS: {"fit": gaps}}, "tests": {"iteration": tests}}


class _Store(dict):
    """Results by measurement, in memory."""

    def load(self, measurement: Measurement) -> Result:
        return self[measurement]


def _evidence(records: dict[Experiment, list[dict[str, Any]]]) -> Evidence:
    """Seeds 0, 1, ... of each experiment."""
    store, measurements = _Store(), {}
    for experiment, of_seeds in records.items():
        for seed, record in enumerate(of_seeds):
            measurement = Measurement(experiment, seed, None, None, 40, 20, 20)
            measurements[experiment, seed] = measurement
            store[measurement] = Result(record, {})
    most = max((len(of_seeds) for of_seeds in records.values()), default=0)
    return Evidence(store, range(most), measurements, {})


def _line(training: str, s: float | None, d_ks: float = 0.02) -> dict[str, Any]:
    return {"dataset": "MNIST", "model": "LeNet", "training": training, "d_ks": d_ks, "is_power_law": True, "s": s}


def _paper(rows: list[tuple[Experiment, dict[str, Any]]], quantity: str = COVARIANCE) -> Paper:
    kind = SPECTRUM if quantity in (COVARIANCE, EIGENGAPS) else TESTS
    of_table = tuple(Row(1, i, experiment, quantity) for i, (experiment, _) in enumerate(rows, 1))
    table = Table(1, "One", kind, of_table)
    return replace(PAPER, tables={1: table}, published={1: [line for _, line in rows]}, errata={})


def _stand(paper: Paper, records: dict[Experiment, list[dict[str, Any]]]) -> tuple[Standing, ...]:
    return stand(paper, Seeds(paper, _evidence(records)), paper.tables.values())


AROUND_1 = [_record(s, d) for s, d in ((1.28, 0.019), (1.30, 0.020), (1.32, 0.021))]
AROUND_6 = [_record(s, d) for s, d in ((5.9, 0.069), (6.0, 0.070), (6.1, 0.071))]


@pytest.mark.parametrize(
    ("experiment", "line", "records", "outcome"),
    [
        (RANDOM, _line("Random", 1.31), {RANDOM: AROUND_1}, AGREES),
        (RANDOM, _line("Random", None), {RANDOM: AROUND_1}, AGREES),
        (RANDOM, _line("Random", 2.5), {RANDOM: AROUND_1}, UNEXPLAINED),
        (RANDOM, _line("Random", 1.31), {RANDOM: [_record(None)] * 3}, UNEXPLAINED),
        (RANDOM, _line("Random", 1.31), {RANDOM: AROUND_1[:1]}, TOO_FEW),
        (RANDOM, _line("Random", 1.31), {TRAINED: AROUND_6}, NOT_RUN),
        (TRAINED, _line("Pretrain", 6.05, 0.07), {RANDOM: AROUND_1, TRAINED: AROUND_6}, AGREES),
        (TRAINED, _line("Pretrain", 1.31), {RANDOM: AROUND_1, TRAINED: AROUND_6}, AS_RANDOM),
        (TRAINED, _line("Pretrain", 11.4), {RANDOM: AROUND_1, TRAINED: AROUND_6}, UNEXPLAINED),
        (TRAINED, _line("Pretrain", 1.31), {TRAINED: AROUND_6}, RANDOM_NOT_RUN),
        (TRAINED, _line("Pretrain", 1.31), {RANDOM: AROUND_1, TRAINED: [_record(None)]}, AS_RANDOM),
        (TRAINED, _line("Random", 1.31), {RANDOM: AROUND_1, TRAINED: AROUND_6}, UNEXPLAINED),
    ],
)
def test_every_outcome(experiment: Experiment, line: dict[str, Any], records: Any, outcome: str) -> None:
    found = _stand(_paper([(experiment, line)]), records)
    assert [standing.outcome for standing in found] == [outcome]
    assert count(found) == {outcome: 1}


def test_a_single_seed_takes_the_spread_of_its_family() -> None:
    other, fully_connected = history(LENET, 100), history(FCN, 10)
    family = [_record(s) for s in (1.0, E)]
    line = _line("Random", E)
    records = {RANDOM: [_record(1.0)], other: family, fully_connected: AROUND_1, TRAINED: AROUND_6}
    single, several, *_ = _stand(_paper([(e, line) for e in (RANDOM, other, fully_connected, TRAINED)]), records)
    place = single.places[1]
    assert (place.pooled, single.seeds) == (True, 1)
    assert place.predictive is not None
    assert place.predictive.degrees == 1
    assert place.predictive.z(place.published) == pytest.approx(1 / (math.sqrt(0.5) * math.sqrt(2)))
    assert place.normal_score == pytest.approx(norm.ppf(t.cdf(1.0, 1)))
    assert several.places[1].pooled  # two values are no spread of their own
    assert several.places[1].normal_score == pytest.approx(norm.ppf(t.cdf(0.5 / math.sqrt(0.5 * 1.5), 1)))


def test_rates_are_compared_with_means_that_count_degenerate_series() -> None:
    line = {"training": "Random", "mean_d_ks": 0.4, "power_law_rate": 0.0, "mean_p_value": 0.3, "gaussian_rate": 0.6}
    seeds = [_record(1, mean_d_ks=0.1, mean_d_ks_all=0.4 + e, power_law_rate=0.0, mean_p_value=0.3 + e,
                     gaussian_rate=0.6 + e) for e in (-0.01, 0.0, 0.01)]  # fmt: skip
    (found,) = _stand(_paper([(RANDOM, line)], "iteration"), {RANDOM: seeds})
    assert (found.outcome, found.same_verdict) == (AGREES, "-")
    assert [place.quantity for place in found.places] == list(line)[1:]


def test_a_published_row_has_the_outcome_of_its_best_reading() -> None:
    paper = _paper([(RANDOM, _line("Random", 1.31)), (TRAINED, _line("Random", 1.31))])
    rows = tuple(replace(row, number=1, reading=name) for row, name in zip(paper.tables[1].rows, "ab", strict=True))
    paper = replace(paper, tables={1: replace(paper.tables[1], rows=rows)})
    found = _stand(paper, {RANDOM: AROUND_1, TRAINED: AROUND_6})
    assert [(s.row.reading, s.outcome) for s in found] == [("a", AGREES), ("b", UNEXPLAINED)]
    assert [s.row.reading for s in best(found[::-1])] == ["a"]


def test_the_same_at_random_has_clean_labels_and_the_same_transforms() -> None:
    assert at_random(history(noisy(LENET, "symmetric=0.4"), 1)) == RANDOM
    assert at_random(history(LENET_TRAINED, 1, "clip-norm=1")) == history(LENET, 1, "clip-norm=1")


def test_a_ratio_is_that_of_two_densities_and_a_copy_counts_once() -> None:
    line = _line("Pretrain", 1.31)
    paper = _paper([(TRAINED, line), (TRAINED, line), (history(trained(FCN), 10), line)])
    spread = {RANDOM: AROUND_1, TRAINED: AROUND_6}
    pooled = replace(paper, tables={1: replace(paper.tables[1], rows=(*paper.tables[1].rows, Row(1, 1, RANDOM, "x")))})
    found = likelihoods(paper, Seeds(pooled, _evidence(spread)), paper.tables.values())
    assert [each.copy_of for each in found] == [None, "table1 row 1", None]
    assert found[2].ratio is None
    (standing, *_) = _stand(paper, spread)
    densities = [sum(place.predictive.log_density(place.published) for place in places if place.predictive)
                 for places in (standing.as_random, standing.places)]  # fmt: skip
    assert (found[0].random, found[0].trained) == pytest.approx(tuple(densities))
    assert total(found) == (pytest.approx(densities[0] - densities[1]), 1)
    assert total(found)[0] > 10


def _prints(c: int, n: int, rate: str) -> bool:
    """Whether c / n is printed so, by rounding halves up or down, or by cutting."""
    unit = Decimal(1).scaleb(int(Decimal(rate).as_tuple().exponent))
    exact = Decimal(c) / Decimal(n)
    return any(exact.quantize(unit, how) == Decimal(rate) for how in (ROUND_HALF_UP, ROUND_HALF_DOWN, ROUND_DOWN))


@pytest.mark.parametrize("n", [1, 7, 640, 1000])
@pytest.mark.parametrize("rate", ["0", "0.5", "0.0125", "0.007", "0.0078", "0.0070", "1", "3e-3", "0.999"])
def test_counts_are_those_of_brute_force(rate: str, n: int) -> None:
    assert list(counts(rate, n)) == [c for c in range(n + 1) if _prints(c, n, rate)]
    assert is_count(rate, n) == any(_prints(c, n, rate) for c in range(n + 1))


def test_the_share_of_counts_is_that_of_brute_force() -> None:
    alike = [f"0.00{m}" for m in range(10, 100)]
    share = sum(any(_prints(c, 300, rate) for c in range(301)) for rate in alike) / len(alike)
    assert 0 < share < 1
    assert share_of_counts("0.0043", 300) == pytest.approx(share)
    assert share_of_counts("0.43", 300) == 1


def test_the_sizes_are_those_of_the_networks() -> None:
    models = [build_model("lenet", (1, 28, 28), 10, padding=padding) for padding in (0, 2)]
    assert [sum(p.numel() for p in model.parameters()) for model in models] == list(FORENSICS.sizes.values())
    assert list(FORENSICS.rates.values()) == ["0.000788", "0.00052", "0.00067", "0.00033", "0.00041"]


def test_gaps_are_compared_with_their_eigenvalues() -> None:
    whole = _record(0.3)
    whole["spectra"][COVARIANCE]["rank"] = 20
    evidence = _evidence({RANDOM: AROUND_1, TRAINED: [_record(2.0), _record(None), whole]})
    found, left_out = measured([RANDOM, TRAINED], evidence)
    assert ([m.trained for m in found], left_out) == ([False] * 3 + [True], 1)
    assert describe([m.difference for m in found]) == pytest.approx((1, 0, 1, 1))
    pair = printed(PAPER, 2, 3)[0]
    assert (pair.settings, pair.difference) == ("MNIST, LeNet, Pretrain", pytest.approx(3.809))


def test_pairs_are_as_near_as_two_seeds_are() -> None:
    paper = _paper([(RANDOM, _line("Random", 1.0)), (TRAINED, _line("Pretrain", E))])
    records = {RANDOM: [_record(s, d) for s, d in ((1.0, 0.02), (E, 0.02 * E))], TRAINED: AROUND_6}
    (pair,) = twins(paper, Seeds(paper, _evidence(records)), paper.tables.values())
    rounded = pytest.approx((1 + 1e-15 / E) / (math.sqrt(2) * math.sqrt(0.5)))
    assert pair.distances == {"s": rounded, "d_ks": pytest.approx(0.01 / 0.02 / (math.sqrt(2) * math.sqrt(0.5)))}
    assert pair.chance == pytest.approx((norm.cdf(1) - norm.cdf(-1)) ** 2)


def test_nothing_is_drawn_of_rows_without_a_place() -> None:
    paper = _paper([(RANDOM, _line("Random", 1.31))])
    assert draw_standing(_stand(paper, {RANDOM: AROUND_1[:1]}), "tiny") is None
    figure = draw_standing(_stand(paper, {RANDOM: AROUND_1}), "tiny")
    assert figure is not None
    assert [tick.get_text() for tick in figure.axes[0].get_yticklabels()] == ["1"]


def test_the_command_writes_page_and_figure_of_what_is_selected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(Path(__file__).parents[2])
    page = tmp_path / "docs/page.md"
    assert main(["reproduce", "table3", "--from-results", "--out", str(tmp_path), "--forensics", str(page)]) == 0
    text = page.read_text()
    assert "### Table 3." in text
    assert "### Table 1." not in text
    assert "nan" not in text
    assert (page.parent / FIGURE).read_bytes().startswith(b"\x89PNG")
