"""What a prompt and a notebook show of the objects of the package: a line, and a small table without any script."""

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from torch import nn
from torch.nn.functional import cross_entropy

import gradlaw as gl
from hostile import HOSTILE


@pytest.fixture(scope="module")
def shown() -> dict[str, object]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3))
    problem = gl.Problem(model, cross_entropy, (torch.randn(64, 6), torch.randint(3, (64,))), name=HOSTILE)
    history = gl.collect(problem, 60, 4, seed=2)
    spectrum = gl.gradient_spectrum(history, center=True)
    return {
        "problem": problem,
        "history": history,
        "spectrum": spectrum,
        "fit": spectrum.power_law(20),
        "degenerate": gl.fit_power_law(np.zeros(30), k=20),
        "analysis": gl.analyze(problem, iterations=60, batch_size=4, k=20, gaussian_k=30),
    }


def test_one_line_each(shown):
    lines = {name: repr(value) for name, value in shown.items()}
    for line in lines.values():
        assert len(line.replace(HOSTILE, "")) < 140
        assert line.count("\n") == line.count(HOSTILE)
    assert lines["history"] == "GradientHistory(T=60, n=53, B=4, seed=2, layerwise, float32)"
    spectrum, fit = shown["spectrum"], shown["fit"]
    assert lines["spectrum"] == (
        f"Spectrum(covariance, T=60, n=53, rank={spectrum.rank}, lambda_1={spectrum.eigenvalues[0]:.4g}, "
        f"trace={spectrum.trace:.4g})"
    )
    assert f"s={fit.s:.4g}" in lines["fit"]
    assert lines["degenerate"] == "PowerLawFit(k=20, degenerate)"
    assert lines["analysis"].endswith("B = 4, T = 60, seed=0)")


@pytest.mark.parametrize("name", ["problem", "history", "spectrum", "fit", "degenerate", "analysis"])
def test_tables_of_notebooks_hold_text_alone(shown, name):
    page = shown[name]._repr_html_()
    assert page.startswith("<div")
    assert "<script" not in page
    assert "\x1b" not in page
    assert ("&lt;script&gt;" in page) == (name in ("problem", "analysis"))
    assert ("<svg" in page) == (name in ("spectrum", "analysis"))


def test_a_spectrum_is_drawn_on_axes_that_are_given(shown):
    spectrum, axes = shown["spectrum"], Figure().add_subplot()
    assert spectrum.plot(axes, k=20) is axes
    values, law = axes.lines
    np.testing.assert_array_equal(values.get_ydata(), spectrum.eigenvalues[: spectrum.rank])
    assert law.get_xdata()[-1] == 20
    assert law.get_ydata().max() <= spectrum.eigenvalues[0] * (1 + 1e-9)
    with pytest.raises(gl.InputError, match="numerical rank"):
        spectrum.plot(axes, k=1000)


def test_frames(shown):
    spectrum, fit = shown["spectrum"], shown["fit"]
    frame = spectrum.to_frame()
    np.testing.assert_array_equal(frame["eigenvalue"], spectrum.eigenvalues)
    assert frame["rank"].tolist() == list(range(1, len(frame) + 1))
    assert frame["above_rounding"].sum() == spectrum.rank
    (row,) = fit.to_frame().to_dict("records")
    assert (row["s"], row["d_ks"], row["k"]) == (fit.s, fit.d_ks, 20)
    assert (row["beta_low"], row["beta_high"]) == fit.beta_interval()
    assert "beta_low" not in shown["degenerate"].to_frame()
