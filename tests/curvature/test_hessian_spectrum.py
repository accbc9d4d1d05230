from pathlib import Path

import numpy as np
import pytest
import torch

import gradlaw as gl
import problems
from gradlaw.curvature.operators.base import dense
from gradlaw.curvature.operators.hessian import hessian
from gradlaw.curvature.spectrum import hessian_spectrum
from gradlaw.errors import InputError


@pytest.fixture(scope="module")
def problem() -> gl.Problem:
    return problems.make("lnn", torch.float64)


@pytest.fixture(scope="module")
def exact(problem: gl.Problem) -> np.ndarray:
    return np.linalg.eigvalsh(dense(hessian(problem)).numpy())[::-1]


def test_top_and_bottom(problem: gl.Problem, exact: np.ndarray) -> None:
    norm = np.abs(exact).max()
    top, bottom = hessian_spectrum(problem, 30), hessian_spectrum(problem, 20, "SA", keep_vectors=True)
    assert top.converged.all()
    assert bottom.converged.all()
    assert np.abs(top.eigenvalues - exact[:30]).max() < 1e-9 * norm
    assert np.abs(bottom.eigenvalues - exact[-20:]).max() < 1e-9 * norm
    assert top.vectors is None
    assert bottom.vectors is not None
    assert bottom.vectors.shape == (20, problem.dimensions)
    assert top.operator["samples"] == problem.samples


def test_all_eigenvalues_of_a_part(problem: gl.Problem) -> None:
    part = gl.Problem(problem.model, problem.loss, problem.data, parameters="*.bias")
    spectrum = hessian_spectrum(part, 1000)
    exact = np.linalg.eigvalsh(dense(hessian(part)).numpy())[::-1]
    assert np.abs(spectrum.eigenvalues - exact).max() < 1e-9 * np.abs(exact).max()


def test_power_law_of_the_positive_ones(problem: gl.Problem, exact: np.ndarray) -> None:
    norm = np.abs(exact).max()
    sure = int((exact > 2e-6 * norm).sum())
    fit, expected = hessian_spectrum(problem, 30).power_law(15), gl.fit_power_law(exact[:15], 15)
    assert fit.s == pytest.approx(expected.s, rel=1e-6)
    assert fit.is_power_law_calibrated == expected.is_power_law_calibrated
    everything = hessian_spectrum(problem, problem.dimensions)
    assert sure <= everything.positive < problem.dimensions
    with pytest.raises(InputError, match=f"{everything.positive} of the largest"):
        everything.power_law(everything.positive + 1)


def test_smallest_eigenvalues_have_no_upper_tail(problem: gl.Problem) -> None:
    with pytest.raises(InputError, match="0 of the largest"):
        hessian_spectrum(problem, 5, "SA").power_law(2)


def test_checkpoints_do_not_change_it(problem: gl.Problem, tmp_path: Path) -> None:
    with_them = hessian_spectrum(problem, 3, checkpoint=tmp_path / "run", save_seconds=0)
    without = hessian_spectrum(problem, 3)
    assert np.array_equal(with_them.eigenvalues, without.eigenvalues)
    assert np.array_equal(with_them.residuals, without.residuals)
