import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import gradlaw as gl
from gradlaw.stats import compare_tails, compare_tails_rows
from gradlaw.stats.alternatives.cutoff import CutoffTail
from gradlaw.stats.alternatives.cutoff_rows import _moments, cutoff_survival_rows, draw_cutoff
from gradlaw.stats.alternatives.families import FAMILIES
from gradlaw.stats.alternatives.tail import FittedRows, TailRows
from gradlaw.stats.roots import monotone_roots

DRAWS = {
    "pareto": lambda rng, shape: rng.random(shape) ** -rng.choice([0.2, 0.7, 2.0, 8.0]),
    "lognormal": lambda rng, shape: rng.lognormal(0, rng.choice([0.1, 1.0, 4.0]), shape),
    "weibull": lambda rng, shape: rng.weibull(rng.choice([0.3, 1.0, 5.0]), shape) + 1e-9,
    "uniform": lambda rng, shape: 1 + rng.choice([1e-9, 1e-4, 1.0]) * rng.random(shape),
    "cauchy": lambda rng, shape: rng.standard_cauchy(shape),
    "ties": lambda rng, shape: rng.zipf(2.0, shape).clip(max=10**6).astype(float),
}


def _agree(rows, matrix, k):
    for i, values in enumerate(matrix):
        if rows.degenerate[i]:
            continue
        single = compare_tails(values, k)
        assert rows.log_likelihood[i] == pytest.approx(single.log_likelihood, abs=1e-8, rel=1e-12)
        for many, one in zip(rows.alternatives, single.alternatives, strict=True):
            assert many.log_likelihood[i] - one.log_likelihood == pytest.approx(0, abs=1e-7 + 1e-12 * abs(
                one.log_likelihood)), many.family  # fmt: skip
            assert many.at_limit[i] == (one.status == "power law limit")
            assert many.converged[i] == (one.status != "not converged")
            assert many.ratio[i] == pytest.approx(one.ratio, abs=2e-7)
            if abs(one.ratio) > 1e-6:  # otherwise Vuong's is the quotient of two rounding errors
                assert many.p_value[i] == pytest.approx(one.p_value, abs=1e-3)
            if one.nested_p_value is None:
                assert many.nested_p_value is None
            else:
                assert many.nested_p_value[i] == pytest.approx(one.nested_p_value, abs=1e-3)
            if one.ratio < -1e-3:
                assert many.normalized_ratio[i] == pytest.approx(one.normalized_ratio, rel=1e-5)
                for name, value in one.parameters.items():
                    assert many.parameters[name][i] == pytest.approx(value, rel=1e-4, abs=1e-4)


@given(st.sampled_from(sorted(DRAWS)), st.integers(2, 60), st.integers(-30, 30), st.integers(0, 2**32))
@settings(max_examples=80, deadline=None)
def test_rows_equal_single_comparisons(family, k, exponent, seed):
    rng = np.random.default_rng(seed)
    matrix = DRAWS[family](rng, (2, k + int(rng.integers(100)))) * 10.0**exponent
    _agree(compare_tails_rows(matrix, k), matrix, k)


@pytest.mark.parametrize("name", ["pareto", "lognormal", "cauchy"])
def test_long_tails_of_many_rows_equal_single_comparisons(name):
    matrix = DRAWS[name](np.random.default_rng(1), (6, 3000))
    _agree(compare_tails_rows(matrix, 1000), matrix, 1000)


@pytest.mark.parametrize("s", [20.0, 60.0])
def test_tails_too_wide_for_the_fast_way_are_fitted_one_at_a_time(s):
    matrix = np.random.default_rng(8).random((4, 100)) ** -s
    rows = compare_tails_rows(matrix, 100)
    assert all(alternative.converged.all() for alternative in rows.alternatives)
    _agree(rows, matrix, 100)


@pytest.mark.parametrize("kind", ["numpy", "torch"])
def test_degenerate_rows_carry_numbers_and_arrays_keep_their_kind(kind):
    matrix = np.random.default_rng(0).standard_t(2, (5, 200)).astype(np.float32)
    matrix[1, :190] = 0
    matrix[3] = -2
    rows = compare_tails_rows(torch.from_numpy(matrix) if kind == "torch" else matrix, 50)
    assert isinstance(rows.lognormal.ratio, torch.Tensor if kind == "torch" else np.ndarray)
    assert np.asarray(rows.degenerate).tolist() == [False, True, False, True, False]
    assert (float(rows.beta[1]), float(rows.beta[3])) == (1.0, np.inf)
    for alternative in rows.alternatives:
        for column in (alternative.ratio, alternative.p_value, alternative.log_likelihood):
            assert np.isfinite(np.asarray(column)).all()
        assert (float(alternative.ratio[1]), float(alternative.p_value[3])) == (0.0, 1.0)
    _agree(rows, matrix, 50)


def test_blocks_do_not_show():
    matrix = np.random.default_rng(0).standard_t(2, (7, 300))
    whole = compare_tails_rows(matrix, 40)
    parts = compare_tails_rows(matrix, 40, block_bytes=640)
    for one, other in zip(whole.alternatives, parts.alternatives, strict=True):
        np.testing.assert_allclose(one.log_likelihood, other.log_likelihood, rtol=1e-12)
    assert compare_tails_rows(np.empty((0, 50)), 40).lognormal.ratio.shape == (0,)


@pytest.mark.parametrize(
    ("matrix", "k", "message"),
    [
        (np.ones((2, 5)), 6, "k=6"),
        (np.ones(5), 3, "two dimensions"),
        (np.array([[1.0, 2, 3], [1, np.nan, 2]]), 2, "row 1, column 1 is nan"),
        (np.array([[1.0, 2, 3], [1e-200, 1e200, 1e100]]), 3, "row 1 span more than 260 decades"),
    ],
)
def test_bad_input_is_refused(matrix, k, message):
    with pytest.raises(gl.InputError, match=message):
        compare_tails_rows(matrix, k)


def test_moments_of_the_cut_off_agree_with_the_single_ones():
    rng = np.random.default_rng(0)
    tilt = rng.choice([-1, 1], 60) * 10 ** rng.uniform(-3, 2.5, 60)
    log_rate = np.log(10) * rng.uniform(-30, 2.5, 60)
    moments = _moments(tilt, log_rate)
    for i in range(60):
        single = CutoffTail.of(tilt[i], np.exp(log_rate[i]))
        assert moments.log_integral[i] == pytest.approx(single.log_integral, rel=1e-11, abs=1e-11)
        assert moments.means[:, i] == pytest.approx([single.mean_log, single.mean_growth], rel=1e-10)


@pytest.mark.parametrize("name", FAMILIES)
def test_survival_integrates_the_density_and_draws_follow_it(name):
    """Ln p is the logarithm of the slope of P(Y >= y), and a draw of a surprise has that probability beyond it."""
    rng = np.random.default_rng(2)
    tails = TailRows.of(np.sort(rng.weibull(0.7, (3, 400)) + 0.2, axis=1)[:, ::-1])
    family = FAMILIES[name]
    fits = family.fit_rows(tails)
    assert fits.converged.all()
    assert not fits.at_limit.any()
    survival, density = (
        family.survival_rows(tails, fits),
        np.exp(family.log_density_rows(tails, fits) + tails.log_ratio),
    )
    assert np.allclose(survival[:, -1], 1)
    step = tails.log_ratio[:, :-1] - tails.log_ratio[:, 1:]
    slope = (survival[:, 1:] - survival[:, :-1]) / step
    middle = (density[:, 1:] + density[:, :-1]) / 2
    short = step < 0.02
    assert np.allclose(slope[short], middle[short], rtol=2e-3)
    for row in range(3):
        parameters = {key: float(column[row]) for key, column in fits.parameters.items()}
        surprise = -np.log(survival[row])
        assert np.allclose(family.draw(parameters, surprise), tails.log_ratio[row], rtol=1e-5, atol=1e-7)


def test_survival_with_cut_off_agrees_with_the_incomplete_gamma_function():
    import mpmath

    for tilt, rate in ((1.5, 0.01), (-2.0, 3.0), (0.2, 1e-8), (20.0, 4.0)):
        t = np.sort(np.random.default_rng(0).random(30))[::-1] * min(5.0, 3 / max(tilt, 0.5))
        fits = FittedRows({"tilt": np.array([tilt]), "rate": np.array([rate])}, np.zeros(1, bool), np.ones(1, bool))
        ours = cutoff_survival_rows(TailRows.of_logs(t[None]), fits)[0]
        a = -(tilt - rate)
        exact = [mpmath.gammainc(a, rate * mpmath.exp(x)) / mpmath.gammainc(a, rate) for x in t]
        assert np.allclose(ours, np.array(exact, dtype=float), rtol=1e-9)
        likely = ours > 1e-15
        grid = draw_cutoff({"tilt": tilt, "rate": rate}, -np.log(ours[likely]))
        assert np.allclose(grid, t[likely], rtol=1e-5, atol=1e-8)


def test_monotone_roots_reach_rounding():
    power = np.array([1.0, 3.0, 5.0, 21.0])
    roots, converged = monotone_roots(lambda x, rows: x ** power[rows] - 2.0, np.zeros(4), np.full(4, 10.0))
    assert converged.all()
    assert np.allclose(roots, 2 ** (1 / power), rtol=1e-12)
