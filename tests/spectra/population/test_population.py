"""Laws of a population from a few draws, against populations whose law is known."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

import gradlaw as gl
from gradlaw.spectra.population.draws import drawn_gram
from gradlaw.spectra.population.fit import PopulationLaw
from gradlaw.spectra.population.laws import Shape
from gradlaw.spectra.population.population import independent_iterations, population_of_gram

ITERATIONS, DIMENSIONS = 100, 1200
RANKS = np.arange(1, DIMENSIONS + 1.0)
STRICT = 0.998  # level of intervals here: of the tests of this file hardly one fails by chance


@pytest.mark.parametrize("s", [0.7, 1.0, 2.0])
@pytest.mark.parametrize("sizes", [0.0, 1.5])
def test_the_exponent_of_a_power_law(s, sizes):
    factors = np.exp(sizes * np.random.default_rng(1).standard_normal(ITERATIONS))
    gram = drawn_gram(7.0 * RANKS**-s, ITERATIONS, seed=2, sizes=factors) + 5.0  # and a mean
    found = population_of_gram(gram, DIMENSIONS, broken=False)
    low, high = found.power_law.interval("s", STRICT)
    assert low < s < high
    assert high - low < 0.09  # as wide with equal lengths as with those that are not
    assert found.power_law.p_value > 0.001
    np.testing.assert_allclose(found.sizes, factors**2 / np.mean(factors**2), rtol=0.8)
    expected = np.sqrt(np.mean(factors**4) / np.mean(factors**2) ** 2 - 1)
    assert found.spread == pytest.approx(expected, rel=0.15, abs=0.2)


def test_draws_of_different_sizes_look_steeper_than_they_are():
    """Why the sizes are measured: without them the sample spectrum is taken for that of another law."""
    factors = np.exp(0.7 * np.random.default_rng(1).standard_normal(ITERATIONS))
    plain, scattered = (drawn_gram(RANKS**-1.0, ITERATIONS, 2, sizes=f) for f in (None, factors))
    slopes = [
        gl.fit_power_law(population_of_gram(g, DIMENSIONS, broken=False).sample, 60).s for g in (plain, scattered)
    ]
    assert slopes[1] > slopes[0] + 0.2


def test_a_break_is_found_and_a_plain_law_rejected():
    eigenvalues = np.where(RANKS < 40, RANKS**-0.8, 40**-0.8 * (RANKS / 40) ** -2.0)
    found = population_of_gram(drawn_gram(eigenvalues, 200, seed=0), DIMENSIONS)
    assert found.power_law.p_value < 1e-6
    law = found.law()
    assert law is found.broken
    for name, true in {"s": 0.8, "s_below": 2.0, "break_rank": 40.0}.items():
        low, high = law.interval(name, STRICT)
        assert low < true < high, name
    assert law.p_value > 0.001
    np.testing.assert_allclose(found.eigenvalues(400), eigenvalues[:400], rtol=0.15)


def test_a_break_is_found_where_the_spectrum_spans_little():
    """Where a grid of the usual spacing has too few tau, and the nearest start ends in a law that is far off."""
    eigenvalues = np.where(RANKS < 60, RANKS**-0.3, 60**-0.3 * (RANKS / 60) ** -1.5)
    found = population_of_gram(drawn_gram(eigenvalues, 150, seed=1), DIMENSIONS)
    assert found.power_law.p_value < 0.01
    assert found.power_law.degrees == 2  # five tau
    law = found.law()
    assert law is found.broken
    for name, true in {"s": 0.3, "s_below": 1.5, "break_rank": 60.0}.items():
        low, high = law.interval(name, STRICT)
        assert low < true < high, name
    drawn, sample = (gl.fit_power_law(values, 50).s for values in (found.drawn_sample(), found.sample))
    assert drawn == pytest.approx(sample, rel=0.1)


def test_outliers_do_not_tilt_the_law():
    eigenvalues = RANKS**-1.0
    eigenvalues[:5] *= 30
    found = population_of_gram(drawn_gram(eigenvalues, ITERATIONS, seed=3), DIMENSIONS, broken=False)
    low, high = found.power_law.interval("s", STRICT)
    assert found.outliers == 5
    assert low < 1 < high
    np.testing.assert_allclose(found.eigenvalues(20), eigenvalues[:20], rtol=0.6)
    assert found.law() is found.power_law


def test_groups_of_ranks_hold_every_rank_once():
    for first, dimensions in ((1, 60), (10, 44_426), (3, 104)):
        middle, counts = Shape(first, dimensions, 10.0).groups()
        assert counts.sum() == dimensions - first + 1
        assert (np.diff(middle) > 0).all()
        np.testing.assert_allclose(middle[:3], [first, first + 1, first + 2])


@pytest.fixture(scope="module")
def problem() -> gl.Problem:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(20, 30), nn.Tanh(), nn.Linear(30, 4))
    return gl.Problem(model, cross_entropy, (torch.randn(90, 20), torch.randint(4, (90,))))


def test_a_history_gives_its_first_epoch(problem):
    history = gl.collect(problem, 150, 1)
    found = gl.population_spectrum(history, broken=False)
    assert (found.iterations, found.dimensions) == (90, 754)
    assert found == gl.population_spectrum(history.gradients[:90], broken=False, gram=None)
    gram = history.gradients.double() @ history.gradients.double().T
    assert gl.population_spectrum(history, broken=False, gram=gram).power_law.s == pytest.approx(found.power_law.s)
    drawn = gl.collect(problem, 100, 1, replacement=True)
    assert independent_iterations(drawn.settings) == 100


def test_the_sample_is_that_of_the_covariance(problem):
    history = gl.collect(problem, 80, 1)
    expected = gl.gradient_spectrum(history).eigenvalues[:79] * 80 / 79
    np.testing.assert_allclose(gl.population_spectrum(history, broken=False).sample, expected, rtol=1e-9, atol=1e-12)


def test_gradients_of_zero_are_left_out():
    gram = drawn_gram(RANKS**-1.0, ITERATIONS, 2).numpy()
    with_zeros = torch.zeros(150, 150, dtype=torch.float64)
    with_zeros[:100, :100] = torch.from_numpy(gram)
    some, none = (population_of_gram(g, DIMENSIONS, broken=False) for g in (with_zeros, torch.from_numpy(gram)))
    assert (some.iterations, len(some.sizes)) == (150, 100)
    assert some.power_law.s == pytest.approx(none.power_law.s, rel=1e-4)
    np.testing.assert_allclose(some.eigenvalues(10), none.eigenvalues(10) * 2 / 3, rtol=1e-3)
    mostly = torch.zeros(150, 150, dtype=torch.float64)
    mostly[:30, :30] = torch.from_numpy(gram[:30, :30])
    with pytest.raises(gl.InputError, match="120 of 150 independent gradients are next to zero"):
        population_of_gram(mostly, DIMENSIONS)


def test_minibatches_that_are_drawn_again_count_once():
    gram = drawn_gram(RANKS**-1.0, ITERATIONS, 2)
    order = torch.cat([torch.arange(100), torch.tensor([7, 7, 30])])
    some, once = (population_of_gram(g, DIMENSIONS, broken=False) for g in (gram[order][:, order], gram))
    assert some.iterations == once.iterations == 100
    assert some.power_law.s == pytest.approx(once.power_law.s, rel=1e-9)


def test_a_break_of_which_nothing_is_known_lies_anywhere_among_the_ranks():
    law = PopulationLaw(np.array([0.0, 1.0, 2.0, 3.0]), np.diag([1.0, 1.0, 1.0, 1e6]), 1.0, 5, Shape(2, 1200, 10.0))
    assert law.interval("break_rank") == pytest.approx((2.0, 1200.0))
    assert law.interval("s") == pytest.approx((1 - 1.96, 1 + 1.96), rel=1e-3)


def test_refusals(problem):
    with pytest.raises(gl.InputError, match=r"dampening=0\.0 makes each depend on those before"):
        gl.population_spectrum(gl.collect(problem, 80, 1, transforms=(gl.Momentum(0.9),)))
    with pytest.raises(gl.InputError, match="22 independent iterations are too few"):
        gl.population_spectrum(gl.collect(problem, 200, 4))  # 22 batches an epoch
    gram = drawn_gram(RANKS**-1.0, 60)
    with pytest.raises(gl.InputError, match="last=70 but the covariance spectrum has numerical rank 59"):
        population_of_gram(gram, DIMENSIONS, last=70)
    law = population_of_gram(gram, DIMENSIONS, broken=False).power_law
    with pytest.raises(gl.InputError, match="name must be one of s, got 'break_rank'"):
        law.interval("break_rank")
    with pytest.raises(gl.InputError, match="k=1300 eigenvalues, while there are n=1200"):
        population_of_gram(gram, DIMENSIONS, broken=False).eigenvalues(1300)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"eigenvalues": -RANKS}, "not negative"),
        ({"sizes": np.ones(3)}, "one for each of 10 draws"),
        ({"freedom": 2.0}, "have no variance"),
    ],
)
def test_draws_refuse(settings, message):
    with pytest.raises(gl.InputError, match=message):
        drawn_gram(**({"eigenvalues": RANKS, "iterations": 10} | settings))


def test_student_draws_have_the_same_covariance():
    eigenvalues = np.array([4.0, 1.0])
    gram = drawn_gram(eigenvalues, 4000, freedom=6.0)
    assert float(gram.diagonal().mean()) == pytest.approx(5.0, rel=0.1)
