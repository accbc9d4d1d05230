import re
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gradlaw as gl
from gradlaw.report.formatting import chance
from gradlaw.stats.power import false_alarm_rates, lowered_k, no_verdict, shortest_length, smallest_k


@pytest.mark.parametrize(("length", "k"), [(50, 20), (200, 50), (300, 100), (1000, 150), (2000, 300), (90, 90)])
def test_shares_are_those_of_whole_gaussian_series(length, k):
    rows = np.random.default_rng(1).standard_normal((2000, length))
    fits = gl.fit_power_law_rows(rows, k)
    for found, whole in zip(
        false_alarm_rates(length, k), (fits.is_power_law, fits.is_power_law_calibrated), strict=True
    ):
        share = whole.mean()
        draws = min(2000, 400_000 // k)
        error = np.sqrt(max(share * (1 - share), 1e-3) * (1 / 2000 + 1 / draws))
        assert found == pytest.approx(share, abs=4 * error)


def test_shares_are_the_same_each_time_and_cost_little_whatever_the_length():
    first = false_alarm_rates(10**9, 1000)
    false_alarm_rates.cache_clear()
    start = time.process_time()
    assert false_alarm_rates(10**9, 1000) == first
    assert time.process_time() - start < 0.5


@settings(max_examples=12, deadline=None)
@given(st.integers(6, 100_000), st.floats(0, 1), st.booleans())
def test_what_is_said_to_give_a_verdict_gives_one(length, share, calibrated):
    k = max(2, int(share * min(length, 3000)))
    said = no_verdict(length, k, 0.05, calibrated)
    if said is None:
        assert 3 * k <= length
        assert false_alarm_rates(length, k)[calibrated] <= 0.2
        return
    smallest = smallest_k(length, 0.05, calibrated)
    if smallest is None:
        shortest = shortest_length(0.05, calibrated)
        assert f"series of {shortest:,} values with K = {shortest // 3:,}" in said
        assert length < shortest
        assert no_verdict(shortest, shortest // 3, 0.05, calibrated) is None
    else:
        assert f"{smallest:,}" in said
        assert no_verdict(length, smallest, 0.05, calibrated) is None


def test_pure_noise_is_no_finding_where_nobody_could_tell():
    noise = np.random.default_rng(0).standard_normal((1000, 400))
    tests = gl.gradient_tests(noise, "iteration", k=100)
    assert tests.power_law_rate > 0.7  # as good as all of it
    assert tests.power_law_rate == pytest.approx(tests.power_law_rate_of_gaussian, abs=0.08)
    assert tests.power_law_rate_calibrated == pytest.approx(tests.power_law_rate_calibrated_of_gaussian, abs=0.1)
    assert "% of Gaussian series of 1,000 values pass too at K = 100; K from" in tests.no_verdict
    assert tests.scalars()["no_verdict_calibrated"] == tests.no_verdict_calibrated
    enough = gl.gradient_tests(noise, "iteration", k=333)
    assert (enough.no_verdict, enough.no_verdict_calibrated) == (None, None)
    assert enough.power_law_rate < 0.05


def test_the_whole_series_is_no_tail():
    assert no_verdict(300, 300).startswith("K = 300 is more than a third of the 300 values of a series")
    assert [lowered_k(1000, length) for length in (2, 5, 9, 300, 44_426)] == [2, 2, 3, 100, 1000]
    assert lowered_k(50, 300) == 50


def test_the_documented_shares_are_these():
    text = (Path(__file__).parents[2] / "docs/statistics.md").read_text()
    rows = re.findall(r"^\| ([\d,]+), ([\d,]+)(?: \(.*\))? \| ([<>\d%]+) \| ([<>\d%]+) \|$", text, re.MULTILINE)
    assert len(rows) == 7
    for length, k, *shares in rows:
        found = false_alarm_rates(int(length.replace(",", "")), int(k.replace(",", "")))
        assert [chance(share) for share in found] == shares
    assert (shortest_length(), shortest_length(calibrated=True)) == (410, 240)


@pytest.mark.parametrize("k", [1, 51])
def test_a_k_that_does_not_fit_is_refused(k):
    with pytest.raises(gl.InputError, match="a series of 50 values allows k from 2 to 50"):
        false_alarm_rates(50, k)
