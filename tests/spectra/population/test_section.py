"""The section of an analysis on the population behind its spectrum."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

import gradlaw as gl
from gradlaw.report.section import REGISTERED
from gradlaw.report.sections.population import population_rows, population_sentence


@pytest.fixture(scope="module")
def problem() -> gl.Problem:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(40, 30), nn.Tanh(), nn.Linear(30, 10))
    inputs = torch.randn(120, 40) * torch.arange(1, 41) ** -0.5
    return gl.Problem(model, cross_entropy, (inputs, torch.randint(10, (120,))))


def test_a_run_keeps_and_shows_what_the_function_finds(problem, tmp_path):
    run = gl.analyze(problem, 150, 1, k=40, gaussian_k=20)
    frame = run.sections["population"]
    found = gl.population_spectrum(gl.collect(problem, 150, 1))
    assert frame["law"].tolist() == ["power law", "broken power law"]
    assert frame["iterations"].tolist() == [120, 120]  # of one epoch
    assert frame["s"].tolist() == pytest.approx([found.power_law.s, found.broken.s], rel=1e-6)
    assert frame["s_low"][0] == pytest.approx(found.power_law.interval("s")[0], rel=1e-6)
    assert frame["break_rank"][1] == pytest.approx(found.broken.break_rank, rel=1e-6)
    run.save(tmp_path)
    loaded = gl.Analysis.load(tmp_path)
    assert loaded.sections["population"].equals(frame)
    assert population_sentence(frame.to_dict("records"))[:60] in " ".join(str(loaded).split())
    (chart,) = (maker.make(loaded) for maker in REGISTERED["population"].charts)
    line = chart.panels[0].layers[1]
    drawn = gl.fit_power_law(found.drawn_sample(0), frame["k"][0])
    assert (frame["s_drawn"][0], frame["d_ks_drawn"][0]) == pytest.approx((drawn.s, drawn.d_ks), rel=1e-4)
    at = np.rint(line.x[10:]).astype(int)
    np.testing.assert_allclose(line.y[10:], found.power_law.eigenvalues(line.x[10:]), rtol=1e-6)
    assert at.max() == found.dimensions


def test_the_halves_of_a_run_are_those_of_its_history(problem, tmp_path):
    run = gl.analyze(problem, 100, 1, k=30, gaussian_k=20)
    frame = run.sections["two_halves"]
    gradients = gl.collect(problem, 100, 1).gradients.double()
    halves = [half - half.mean(dim=0) for half in (gradients[0::2], gradients[1::2])]

    def variances(half, of):
        vectors = torch.linalg.svd(half, full_matrices=False)[2][:5]
        return (of @ vectors.T).square().sum(dim=0).numpy() / 49

    own = np.mean([variances(half, half) for half in halves], axis=0)
    other = np.mean([variances(half, of) for half, of in (halves, halves[::-1])], axis=0)
    assert frame["rank"][:5].tolist() == [1, 2, 3, 4, 5]
    np.testing.assert_allclose(frame["own"][:5], own, rtol=1e-5)
    np.testing.assert_allclose(frame["other"][:5], other, rtol=1e-5)
    assert (frame["other_share"] < frame["own_share"]).all()
    run.save(tmp_path)
    loaded = " ".join(str(gl.Analysis.load(tmp_path)).split())
    assert "leading directions of one half of 100 independent gradients hold" in loaded


def test_the_whole_epoch_takes_the_spectrum_that_is_there(problem):
    run = gl.analyze(problem, 110, 1, k=40, gaussian_k=20)
    found = gl.population_spectrum(gl.collect(problem, 110, 1))
    assert run.sections["population"]["s"][0] == pytest.approx(found.power_law.s, rel=1e-6)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"iterations": 42, "batch_size": 2}, "fitted to at least 40 eigenvalues; 36 are left of 41 above rounding"),
        ({"iterations": 60, "batch_size": 1, "transforms": (gl.Momentum(),)}, "makes each depend on those before"),
        ({"iterations": 20, "batch_size": 120}, "1 independent iterations are too few"),
    ],
)
def test_why_there_is_none(problem, settings, reason):
    run = gl.analyze(problem, k=15, gaussian_k=20, **settings)
    assert run.sections["population"] is None
    assert any(reason in notice for notice in run.notices)


PLAIN = {"law": "power law", "s": 1.25, "s_low": 1.2, "s_high": 1.3, "s_below": 1.25, "s_below_low": np.nan,
         "s_below_high": np.nan, "break_rank": np.nan, "break_rank_low": np.nan, "break_rank_high": np.nan,
         "p_value": 0.4, "iterations": 5000, "k": 1000, "s_sample": 1.31,
         "spread": 0.4, "d_ks_sample": 0.04, "s_drawn": 1.33, "d_ks_drawn": 0.03}  # fmt: skip
ENDS = {f"{name}_{end}": value for name in ("s_below", "break_rank") for end, value in (("low", 1.5), ("high", 120.0))}
BROKEN = PLAIN | {"law": "broken power law", "s_below": 2.0, "break_rank": 100.0} | ENDS


@pytest.mark.parametrize(
    ("laws", "words"),
    [
        ([PLAIN, BROKEN], "the covariance itself can be a power law with s = 1.25 (1.2 to 1.3)."),
        ([PLAIN | {"p_value": 0.01}], "is no plain power law (the nearest has s = 1.25)."),
        ([PLAIN | {"p_value": 0.01}, BROKEN], "one with s = 1.25 down to rank 100 and 2 below fits."),
        ([PLAIN | {"p_value": 0.01}, BROKEN | {"p_value": 0.01}], "below comes nearer, though it is rejected too."),
    ],
)
def test_words(laws, words):
    sentence = population_sentence(laws)
    assert sentence.startswith("The sample spectrum of 5,000 independent gradients has s = 1.31 over its top 1,000; ")
    said, _, sampled = sentence.partition(" As many draws from that law")
    assert said.endswith(words)
    assert sampled == (" show s = 1.33 and d_KS = 0.03, the gradients d_KS = 0.04: sampling moves s by +0.08 and makes "
                       "75% of the distance.")  # fmt: skip


def test_intervals_are_shown_of_laws_that_are_not_rejected():
    rows = population_rows([PLAIN | {"p_value": 0.01}, BROKEN])
    assert rows == [
        ("power law", "1.25", "-", "-", "0.01"),
        ("broken power law", "1.25 (1.2 to 1.3)", "2 (1.5 to 120)", "100 (1.5 to 120)", "0.4"),
    ]
