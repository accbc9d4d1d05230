import numpy as np
import pytest

import gradlaw as gl
from gradlaw.spectra.outliers import count_outliers

RANKS = np.arange(1, 2001)


def _draws(rng, s=1.3, size=2000):
    """Independent draws from a Pareto law, descending: the spectrum that fluctuates most."""
    return np.sort(rng.random(size) ** -s)[::-1]


def _spectrum(scale, iterations, seed):
    """Of gradients whose population covariance has eigenvalues scale^2."""
    rng = np.random.default_rng(seed)
    return gl.gradient_spectrum((rng.standard_normal((iterations, len(scale))) * scale).astype(np.float32))


@pytest.mark.parametrize("s", [0.3, 1.0, 1.3, 2.5])
def test_a_straight_line_has_none(s):
    result = count_outliers(RANKS**-s)
    assert result.count == 0
    np.testing.assert_allclose(result.drops, RANKS[:50] * np.log1p(1 / RANKS[:50]), rtol=0.01)
    assert result.s == pytest.approx(s, rel=0.01)
    np.testing.assert_allclose(result.excess, 1, rtol=0.03)


def test_false_alarms_of_independent_draws_are_as_rare_as_alpha_says():
    rng = np.random.default_rng(0)
    p_values = np.array([count_outliers(_draws(rng)).p_value for _ in range(2000)])
    assert (p_values <= 0.01).mean() < 0.01 + 4 * np.sqrt(0.01 / 2000)
    assert 0.035 < (p_values <= 0.05).mean() < 0.07  # conservative, but hardly
    assert abs((p_values <= 0.5).mean() - 0.5) < 0.05


@pytest.mark.parametrize("seed", range(5))
def test_sample_covariances_of_power_laws_have_none(seed):
    spectrum = _spectrum(np.arange(1, 1501) ** -0.65, 400, seed)
    assert count_outliers(spectrum, k=300).count == 0
    assert count_outliers(spectrum, k=300, alpha=0.5).count == 0  # repulsion keeps drops small


@pytest.mark.parametrize(("outliers", "factor"), [(1, 1e5), (4, 30), (9, 10), (40, 2)])
def test_outliers_on_a_line_are_counted(outliers, factor):
    lifted = np.where(outliers >= RANKS, factor, 1) * RANKS**-1.3
    result = count_outliers(lifted)
    assert result.count == outliers
    assert result.drops.argmax() == outliers - 1
    assert (result.excess[:outliers] > 0.99 * factor).all()
    np.testing.assert_allclose(result.excess[outliers:], 1, rtol=0.03)


def test_nine_outliers_on_independent_draws():
    rng = np.random.default_rng(1)
    counts = [count_outliers(np.where(RANKS > 9, 1, 10) * _draws(rng)).count for _ in range(200)]
    assert np.mean(np.array(counts) == 9) > 0.95


def test_nine_outliers_on_a_line_whose_ranks_start_below_them():
    for factor in (10, 30):
        assert count_outliers(np.concatenate([np.linspace(2, 1, 9) * factor, RANKS**-1.3])).count == 9


@pytest.mark.parametrize("seed", range(5))
def test_nine_outliers_of_a_sample_covariance(seed):
    ranks = np.arange(1, 1501)
    spectrum = _spectrum(np.sqrt(np.where(ranks <= 9, 6, 1)) * ranks**-0.65, 400, seed)
    assert count_outliers(spectrum, k=300).count == 9


def test_critical_drop_is_where_the_p_value_is_alpha():
    line = RANKS**-1.0
    critical = count_outliers(line, alpha=0.03).critical_drop
    for factor, count in ((0.995, 0), (1.005, 12)):
        # The drop from the 12th to the 13th eigenvalue, in units of the slope.
        s = count_outliers(line).s
        lift = np.exp(factor * critical * s / 12) * line[12] / line[11]
        result = count_outliers(np.where(RANKS <= 12, lift, 1) * line, alpha=0.03)
        assert result.count == count
        assert result.p_value == pytest.approx(0.03, rel=0.1)


def test_scale_does_not_matter():
    values = _draws(np.random.default_rng(5))
    np.testing.assert_allclose(count_outliers(1e-30 * values).drops, count_outliers(values).drops, rtol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"k": 60, "most": 50}, "most=50 outliers of k=60 eigenvalues: between 1 and k - 21"),
        ({"most": 0}, "most=0 outliers"),
        ({"k": 3000}, "k=3000 eigenvalues were asked for"),
        ({"alpha": 1.0}, "alpha must lie between"),
        ({"spectrum": RANKS * 1.0}, "descending order"),
        ({"spectrum": -(RANKS * 1.0)}, "positive"),
        ({"spectrum": np.ones(1000)}, "eigenvalues 51 to 1000 are equal"),
        ({"spectrum": np.ones((1000, 2))}, "shape"),
    ],
)
def test_bad_input(arguments, message):
    with pytest.raises(gl.InputError, match=message):
        count_outliers(**({"spectrum": RANKS**-1.0} | arguments))


def test_a_spectrum_below_its_rank_is_refused():
    spectrum = _spectrum(np.arange(1, 301) ** -0.5, 60, 0)
    with pytest.raises(gl.InputError, match="k=60 but the covariance spectrum has numerical rank 59"):
        count_outliers(spectrum, k=60, most=9)


def test_default_sizes_are_lowered_to_the_spectrum_with_a_notice():
    spectrum = _spectrum(np.arange(1, 301) ** -0.5, 150, 0)
    found = count_outliers(spectrum)
    assert (found.k, found.most) == (50, 29)  # a third of min(T, n), as in an analysis
    assert found.notices == (
        "K lowered from 1,000 to 50: a third of the 150 eigenvalues",
        "at most 29 outliers are looked for instead of 50: K is 50",
    )
    assert count_outliers(spectrum, 50, 29).notices == ()
    assert (count_outliers(RANKS[:200] ** -1.0).k, count_outliers(RANKS**-1.0).notices) == (200, ())
    with pytest.raises(gl.InputError, match="most=50 outliers of k=3 eigenvalues"):
        count_outliers([3.0, 2.0, 1.0])
