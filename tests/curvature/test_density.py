import numpy as np
import pytest

from gradlaw.curvature.eigensolver.density import spectral_density
from gradlaw.errors import InputError
from matrices import power_law, symmetric

N = 300
VALUES = power_law(N)


def test_moments_of_a_probe_are_exact() -> None:
    matrix = symmetric(VALUES)
    density = spectral_density(matrix, probes=3, steps=6, seed=4)
    from gradlaw.curvature.eigensolver.density import _signs
    from gradlaw.curvature.operators.base import as_operator

    for probe in range(3):
        v = _signs(as_operator(matrix), 4, probe).numpy()
        power = v
        for degree in range(12):  # 2 steps - 1
            quadrature = density.weights[probe] @ density.nodes[probe] ** degree
            assert quadrature == pytest.approx(v @ power, rel=1e-9)
            power = matrix @ power
    assert density.products == 18


def test_trace_within_its_error() -> None:
    errors = []
    for seed in range(30):
        density = spectral_density(symmetric(VALUES), probes=12, steps=5, seed=seed)
        for estimate, exact in ((density.trace, VALUES.sum()), (density.trace_of_square, (VALUES**2).sum())):
            errors.append((estimate.value - exact) / estimate.standard_error)
    assert 0.7 < np.std(errors) < 1.5
    assert abs(np.mean(errors)) < 0.6


def test_all_steps_give_the_spectrum_that_a_probe_sees() -> None:
    values = np.repeat([-2.0, 0.0, 5.0], [20, 60, 20])
    density = spectral_density(symmetric(values), probes=40, steps=50)
    seen = density.nodes[density.weights > 0]
    assert np.abs(seen[:, None] - [-2.0, 0.0, 5.0]).min(axis=1).max() < 1e-12
    assert density.products == 120  # three eigenvalues, three steps a probe
    for threshold, exact in ((-3, 100), (-1, 80), (1, 20), (6, 0)):
        count = density.count_above(threshold)
        assert abs(count.value - exact) <= 4 * count.standard_error + 1e-9
    assert density.count_above(-3) == pytest.approx((100, 0), abs=1e-9)


def test_curve_against_the_smoothed_spectrum() -> None:
    width = 0.1
    density = spectral_density(symmetric(VALUES), probes=30, steps=80)
    grid, curve, error = density.curve(width=width)
    exact = np.exp(-0.5 * ((grid[:, None] - VALUES) / width) ** 2).mean(axis=1) / (width * np.sqrt(2 * np.pi))
    assert np.trapezoid(curve, grid) == pytest.approx(1, abs=1e-3)
    visible = exact > 0.01 * exact.max()
    assert np.abs((curve - exact) / error)[visible].max() < 4
    assert (error / curve)[visible].max() < 0.5


def test_small_and_constant() -> None:
    one = spectral_density(np.array([[2.0]]), probes=1)
    assert one.trace == (2.0, np.inf)
    identity = spectral_density(np.eye(20), probes=5)
    assert identity.trace == pytest.approx((20, 0), abs=1e-12)
    grid, curve, _ = identity.curve()
    assert np.trapezoid(curve, grid) == pytest.approx(1, abs=1e-3)
    assert spectral_density(np.zeros((9, 9)), probes=2).trace_of_square == (0, 0)


def test_one_seed_one_result() -> None:
    matrix = symmetric(VALUES)
    first, again, other = (spectral_density(matrix, probes=2, steps=10, seed=seed) for seed in (0, 0, 1))
    assert np.array_equal(first.nodes, again.nodes)
    assert not np.array_equal(first.nodes, other.nodes)


def test_bad_input() -> None:
    for name, least in (("probes", 1), ("steps", 2)):
        with pytest.raises(InputError, match=f"{name} must be at least {least}"):
            spectral_density(np.eye(3), **{name: least - 1})
    with pytest.raises(InputError, match="width"):
        spectral_density(np.eye(3)).curve(width=0)
