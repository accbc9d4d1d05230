"""Which numbers give which words: the rules of docs/page.md, each on both sides of its limits."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import gradlaw as gl
from gradlaw.report.finding import certainty_of_estimate, certainty_of_rate, lowered, share_in_words
from gradlaw.report.sections import findings_of
from gradlaw.report.state import state_of
from gradlaw.spectra import Spectrum

RULES = (Path(__file__).parents[2] / "docs/page.md").read_text()


def _first(share: float, count: int) -> np.ndarray:
    """True for this share of so many, from the first."""
    return np.arange(count) < round(share * count)


def _with(run: gl.Analysis, **sections: object) -> gl.Analysis:
    return replace(run, sections=run.sections | sections)


def _tested(run: gl.Analysis, axis: str, series: int = 1000, **shares: float) -> gl.Analysis:
    """The run with so many series in one direction, these shares of which pass or cannot be tested."""
    t, dead = run.tests[axis], _first(shares.get("degenerate", 0), series)[::-1]
    columns = {name: np.resize(getattr(t, name), series) for name in ("beta", "s", "lambda_min", "d_ks", "p_value")}
    gaussian = np.where(_first(shares.get("gaussian", 0), series), 0.5, 0.0)
    passes = _first(shares.get("power_law", 0), series)
    tests = replace(t, **columns, is_power_law=passes, is_power_law_calibrated=passes, degenerate_series=dead,
                    gaussian_p_value=gaussian)  # fmt: skip
    return _with(run, tests=run.tests | {axis: tests})


def _finding(run: gl.Analysis, topic: str):
    return next(finding for finding in findings_of(run) if finding.topic == topic)


@pytest.mark.parametrize(
    ("share", "words"),
    [(0, "none"), (0.01, "few"), (0.1, "some"), (0.39, "some"), (0.4, "about half"), (0.6, "most"), (0.94, "most"),
     (0.95, "nearly all"), (1, "nearly all")],
)  # fmt: skip
def test_shares_in_words(share, words):
    assert share_in_words(share) == words
    assert words in RULES


@pytest.mark.parametrize(
    ("shares", "headline"),
    [
        ({"power_law": 0.97}, "Across parameters, nearly all gradients have power-law tails"),
        ({"power_law": 0.4}, "Across parameters, about half of the gradients have power-law tails"),
        ({"power_law": 0.3}, "Across parameters, gradients are far from Gaussian, and mostly no power law"),
        ({"gaussian": 0.9}, "Across parameters, most gradients look Gaussian"),
        ({"power_law": 0.3, "gaussian": 0.4}, "Across parameters, some gradients have power-law tails"),
        ({"gaussian": 0.4}, "Across parameters, no gradients have power-law tails"),
    ],
)
def test_tails_across_parameters(random_run, shares, headline):
    finding = _finding(_tested(random_run, "dimension", **shares), "Tails across parameters")
    assert finding.headline == headline
    assert f"{100 * shares.get('power_law', 0):.1f}% of 1,000 iterations" in finding.text


def test_short_series_have_no_verdict_and_leave_first(hostile_run):
    finding = _finding(hostile_run, "Noise across minibatches")
    assert finding.certainty != "no verdict"  # the Gaussian test needs no tail
    tests = hostile_run.tests
    short = _with(hostile_run, tests=tests | {"dimension": replace(tests["dimension"], length=53)})
    finding = _finding(short, "Tails across parameters")
    assert (finding.certainty, finding.advice) == ("no verdict", None)
    assert "of 53 values" in finding.text


def test_certainty_of_a_rate(random_run):
    t = _tested(random_run, "dimension", power_law=0.8).tests["dimension"]
    assert certainty_of_rate(t, 0.8, 0.01)[0] == "high"
    assert certainty_of_rate(t, 0.8, 0.06) == ("medium", "6.0% of Gaussian series pass too")
    assert certainty_of_rate(t, 0.6, 0.01)[0] == "medium"  # 57% to 63%: about half, or most
    few = _tested(random_run, "dimension", series=99, power_law=0.8).tests["dimension"]
    assert certainty_of_rate(few, 0.8, 0.01) == ("low", "only 99 series were tested")
    dead = _tested(random_run, "dimension", degenerate=0.51).tests["dimension"]
    assert certainty_of_rate(dead, 0.2, 0.01) == ("low", "51.0% of the series cannot be tested")
    some = _tested(random_run, "dimension", degenerate=0.11).tests["dimension"]
    assert certainty_of_rate(some, 0.2, 0.01) == ("medium", "11.0% of the series cannot be tested")


def test_certainty_of_an_estimate():
    assert [certainty_of_estimate(8.0, error) for error in (2.0, 2.1, 4.0, 4.1)] == ["high", "medium", "medium", "low"]
    assert [lowered(level) for level in ("high", "medium", "low", "no verdict")] == [
        "medium",
        "low",
        "low",
        "no verdict",
    ]


@pytest.mark.parametrize(
    ("shares", "words", "certainty"),
    [
        ({"gaussian": 0.9}, "the noise of nearly all parameters looks Gaussian", "medium"),
        ({"gaussian": 0.6}, "the noise of most parameters looks Gaussian", "medium"),
        ({"gaussian": 0.5}, "Gaussian for some parameters and not for others", "high"),
        ({"gaussian": 0.1}, "the noise of most parameters is not Gaussian", "high"),
        ({"gaussian": 0.4, "degenerate": 0.58}, "the noise of nearly all parameters looks Gaussian", "low"),
    ],
)
def test_noise_across_minibatches(random_run, shares, words, certainty):
    finding = _finding(_tested(random_run, "iteration", **shares), "Noise across minibatches")
    assert words in finding.headline
    assert finding.certainty == certainty


def test_heavy_tails_and_clipping(random_run):
    # K a fifth of the series, at which its own verdict is one.
    run = _with(random_run, tests=random_run.tests | {"iteration": replace(random_run.tests["iteration"], length=5000,
                                                                           k=1000)})  # fmt: skip
    assert run.tests["iteration"].no_verdict_calibrated is None
    heavy = _finding(_tested(run, "iteration", power_law=0.4), "Noise across minibatches")
    assert "clipping" in heavy.advice.text
    assert "40.0%" in heavy.advice.text
    assert _finding(_tested(run, "iteration", power_law=0.39), "Noise across minibatches").advice is None
    half_dead = _finding(_tested(run, "iteration", power_law=0.3, degenerate=0.4), "Noise across minibatches")
    assert "50.0%" in half_dead.advice.text  # of those that can be tested


@pytest.mark.parametrize(
    ("scale", "error", "words", "certainty"),
    [
        (41.0, 4.0, "far below", "high"),  # B = 4
        (40.0, 4.0, "of the order", "high"),
        (0.4, 0.15, "of the order", "medium"),
        (0.39, 0.15, "far above", "medium"),
        (40.0, 21.0, None, "low"),
    ],
)
def test_the_critical_batch_size_against_the_batch(random_run, scale, error, words, certainty):
    noise = random_run.noise.copy()
    noise.loc[0, ["noise_scale_unbiased", "noise_scale_unbiased_error"]] = scale, error
    finding = _finding(_with(random_run, noise=noise), "Critical batch size")
    assert finding.certainty == certainty
    assert (finding.advice is None) if words is None else (words in finding.advice.text)


def test_a_mean_lost_in_noise_gives_no_advice(random_run):
    noise = random_run.noise.copy()
    noise.loc[0, "noise_scale_unbiased"] = np.inf
    finding = _finding(_with(random_run, noise=noise), "Critical batch size")
    assert (finding.certainty, finding.advice) == ("low", None)
    assert "lost in the noise" in finding.headline
    degenerate = noise.assign(degenerate=True)
    assert "Critical batch size" not in [f.topic for f in findings_of(_with(random_run, noise=degenerate))]


def _spectrum(run: gl.Analysis, values: np.ndarray) -> gl.Analysis:
    """The run with a covariance of these eigenvalues."""
    covariance = Spectrum(values, True, len(values), 5000, float(values.sum()), 1e-12)
    return _with(run, spectra=run.spectra | {"covariance": covariance}, controls=None)


def test_leading_directions(random_run):
    line = np.arange(1, 301) ** -1.0
    outliers = line.copy()
    outliers[:3] = [400, 390, 380]
    finding = _finding(_spectrum(random_run, outliers), "Leading directions")
    assert "hold most" in finding.headline
    assert "3 directions stand above" in finding.text
    assert finding.certainty == "medium"  # without controls
    assert "Low-rank" in finding.advice.text
    outliers[:3] = [9, 8.9, 8.8]
    flat = np.concatenate([outliers[:3], np.linspace(1, 0.9, 297)])
    finding = _finding(_spectrum(random_run, flat), "Leading directions")
    assert (finding.advice, "hold a part" in finding.headline) == (None, True)
    assert "Leading directions" not in [f.topic for f in findings_of(_spectrum(random_run, line))]


def test_outliers_of_controls_lower_the_certainty(random_run):
    values = np.arange(1, 301) ** -1.0
    values[:3] = [400, 390, 380]
    run = _spectrum(random_run, values)
    same = dict.fromkeys(("isotropic", "permuted", "diagonal"), run.spectra["covariance"])
    finding = _finding(_with(run, controls=same), "Leading directions")
    assert (finding.certainty, finding.advice) == ("low", None)
    none = Spectrum(np.linspace(2, 1, 300), True, 300, 5000, 450.0, 1e-12)
    finding = _finding(_with(run, controls=dict.fromkeys(same, none)), "Leading directions")
    assert finding.certainty == "high"


def test_the_shape_of_the_spectrum(random_run):
    pareto = (np.arange(1, 301) / 301) ** -0.8
    finding = _finding(_spectrum(random_run, pareto), "Spectrum of the noise")
    assert finding.headline.endswith("as straight as a power law")
    assert finding.certainty == "medium"
    finding = _finding(_spectrum(random_run, np.linspace(2, 1e-6, 300)), "Spectrum of the noise")
    assert finding.headline.endswith("not a power law")
    cut = _spectrum(random_run, np.concatenate([pareto[:20], np.full(280, 1e-13)]))
    finding = _finding(cut, "Spectrum of the noise")
    assert finding.certainty == "no verdict"
    assert finding.text.startswith("20 eigenvalues are above rounding; the fit was to take the top")


def test_random_or_trained_by_the_loss_of_guessing(random_run, trained_run):
    assert state_of(random_run).startswith("At chance")
    assert state_of(trained_run).startswith("Trained. ")
    chance = np.log(3)
    for loss, words in ((1.2, "Worse than"), (0.91, "At chance"), (0.89, "Trained in part"), (0.49, "Trained.")):
        assert state_of(replace(random_run, losses=np.full(9, loss * chance))).startswith(words)
    unknown = replace(random_run, provenance=random_run.provenance | {"problem": random_run.provenance["problem"]
                                                                      | {"loss": "mse_loss"}})  # fmt: skip
    assert "not recorded" in state_of(unknown)


def test_five_at_most_and_those_without_a_verdict_go_first(random_run):
    found = findings_of(random_run)
    assert 3 <= len(found) <= 5
    assert len({finding.topic for finding in found}) == len(found)
