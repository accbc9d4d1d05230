"""The study of the GPT: its parts against closed forms and plain autograd, its page against the committed results."""

import io
import math
import re
from dataclasses import replace
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch.nn.functional import cross_entropy

import gradlaw as gl
from studies.transformers.claims import CLAIMS, decide
from studies.transformers.design import CONTEXT, TESTS, Measurement, measurements
from studies.transformers.figures import figures
from studies.transformers.nanogpt import CHARACTERS, NanoGPT, signal_and_noise, train
from studies.transformers.noise import averaged
from studies.transformers.page import FIGURES, PAGE, page
from studies.transformers.results import COMMITTED, TABLES, gather, save
from studies.transformers.tables import Results
from studies.transformers.text import windows

ROOT = Path(__file__).parents[1]
TINY = NanoGPT("tiny", 2, 2, 8, 6, 4, 2, 0.1, 20, False, 6, (0, 6), warm_up=2)


@pytest.fixture(scope="module")
def results() -> Results:
    return Results.read(ROOT / COMMITTED)


@pytest.fixture
def text(tmp_path: Path) -> str:
    """A text in which 'a' is most frequent, then 'b', then 'c' and so on: 65 different characters."""
    letters = [chr(97 + i) for i in range(65)]
    rng = np.random.default_rng(0)
    weights = 1.0 / np.arange(1, 66)
    drawn = rng.choice(letters, 12_000, p=weights / weights.sum())
    (tmp_path / "text").mkdir()
    (tmp_path / "text/input.txt").write_text("".join(sorted(letters)) + "".join(drawn), encoding="utf-8")
    return str(tmp_path / "text")


def test_the_page_says_what_the_results_say(results: Results) -> None:
    assert page(results) == (ROOT / PAGE).read_text(encoding="utf-8")


def test_the_figures_show_what_the_results_say(results: Results) -> None:
    pinned = re.search(r"^matplotlib==(\d+\.\d+)\.", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert pinned is not None
    if not matplotlib.__version__.startswith(f"{pinned[1]}."):
        pytest.skip(f"the figures were drawn by matplotlib {pinned[1]}, whose letters are of another size")
    made = figures(results)
    assert {path.name for path in (ROOT / FIGURES).iterdir()} == set(made)
    for name, content in made.items():
        with Image.open(io.BytesIO(content)) as drawn, Image.open(ROOT / FIGURES / name) as committed:
            assert drawn.size == committed.size
            grey = [np.asarray(image.convert("L"), float) for image in (drawn, committed)]
        assert np.abs(grey[0] - grey[1]).mean() < 1, name


def test_what_was_measured_is_of_the_design(results: Results) -> None:
    names = [measurement.name for measurement in measurements()]
    assert len(names) == len(set(names))
    for table in (results.networks, results.rates, results.spectra, results.curvature):
        assert set(table.measurement) <= set(names)
    assert results.networks.measurement.is_unique
    assert len(results.of(TESTS)) > 10


def test_parts_of_the_noise_scale_are_the_u_statistics_of_the_pieces() -> None:
    pieces = torch.randn(8, 50, dtype=torch.float64) + 0.3
    of_pieces, of_mean = pieces.square().sum(dim=1).mean(), pieces.mean(dim=0).square().sum()
    signal, trace = signal_and_noise(float(of_pieces), float(of_mean), piece=5, pieces=8)
    products = pieces @ pieces.T
    assert signal == pytest.approx(float((products.sum() - products.trace()) / 56))
    assert trace == pytest.approx(5 * float(pieces.var(dim=0).sum()))
    # A window alone is what the package calls a sample.
    noise = gl.gradient_noise(pieces.numpy(), batch_size=5)
    assert trace == pytest.approx(noise.sample_trace.value)
    assert signal == pytest.approx(noise.mean_square_unbiased.value)


def test_noise_is_averaged_before_the_ratio_and_its_error_is_that_of_repetitions() -> None:
    rng = np.random.default_rng(0)
    found = []
    for _ in range(200):
        gradients = 1 + 3 * rng.standard_normal((20, 8, 40))
        steps = [{"loss": 2.0, "pieces": 8, "mean_square_of_pieces": float((g**2).sum(axis=1).mean()),
                  "square_of_mean": float((g.mean(axis=0) ** 2).sum())} for g in gradients]  # fmt: skip
        found.append(averaged(steps, piece=2))
    scales = np.array([row["noise_scale"] for row in found])
    assert scales.mean() == pytest.approx(2 * 9, rel=0.02)  # tr Sigma = 2 * 360 of one window, |G|^2 = 40
    errors = np.array([row["noise_scale_error"] for row in found])
    assert errors.mean() == pytest.approx(scales.std(), rel=0.15)


def test_a_run_of_nanogpt_resumes_to_the_same_bits(tmp_path: Path) -> None:
    tokens = torch.randint(11, (300,), generator=torch.Generator().manual_seed(0))
    assert train(TINY, tokens, 11, tmp_path / "whole") == 6
    assert train(replace(TINY, steps=3), tokens, 11, tmp_path / "parts") == 3
    assert train(TINY, tokens, 11, tmp_path / "parts", deadline=0.0) == 3
    assert train(TINY, tokens, 11, tmp_path / "parts") == 6
    whole, parts = (torch.load(tmp_path / name / "weights-00006.pt") for name in ("whole", "parts"))
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    losses = [pd.read_json(tmp_path / name / "steps.jsonl", lines=True).loss.tolist() for name in ("whole", "parts")]
    assert losses[0] == losses[1]
    assert len(losses[0]) == 6


def test_the_logged_norms_are_those_of_plain_autograd(tmp_path: Path) -> None:
    settings = replace(TINY, dropout=0.0, steps=1)
    tokens = torch.randint(11, (300,), generator=torch.Generator().manual_seed(0))
    train(settings, tokens, 11, tmp_path)
    row = pd.read_json(tmp_path / "steps.jsonl", lines=True).iloc[0]
    model = settings.build(11).double()
    starts = np.random.default_rng([1, 0, 0]).integers(0, 300 - 6, 4)
    gradients = []
    for pair in starts.reshape(2, 2):
        x, y = (torch.stack([tokens[s + shift : s + shift + 6] for s in pair]) for shift in (0, 1))
        loss = cross_entropy(model(x).flatten(0, 1), y.flatten())
        gradients.append(torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(model.parameters()))]))
    pieces = torch.stack(gradients)
    assert row.mean_square_of_pieces == pytest.approx(float(pieces.square().sum(dim=1).mean()), rel=1e-4)
    assert row.square_of_mean == pytest.approx(float(pieces.mean(dim=0).square().sum()), rel=1e-4)


def test_the_schedule_is_nanogpts() -> None:
    assert CHARACTERS.learning_rate_at(0) == pytest.approx(1e-3 / 101)
    assert CHARACTERS.learning_rate_at(100) == pytest.approx(1e-3)
    assert CHARACTERS.learning_rate_at(2550) == pytest.approx(5.5e-4)  # half way down to a tenth
    assert CHARACTERS.learning_rate_at(5000) == pytest.approx(1e-4) == CHARACTERS.learning_rate_at(9999)
    assert float(CHARACTERS.build(65).blocks[0].mlp[2].weight.detach().std()) == pytest.approx(
        0.02 / math.sqrt(12), rel=0.02
    )


def test_a_smaller_vocabulary_makes_the_rarest_characters_one(text: str) -> None:
    whole, folded = windows(text, 65), windows(text, 5)
    assert folded.inputs.shape == whole.inputs.shape == (len(whole.inputs), CONTEXT)
    counts = np.bincount(whole.inputs.flatten(), minlength=65)
    order = np.argsort(-counts, kind="stable")
    for new, old in enumerate(order[:4]):
        assert torch.equal(folded.inputs == new, whole.inputs == int(old))
    assert torch.equal(folded.targets[:, :-1], folded.inputs[:, 1:])
    assert folded.inputs.max() == folded.targets.max() == 4


def test_what_is_saved_is_gathered_whatever_is_missing(tmp_path: Path) -> None:
    first, second = Measurement(TESTS), Measurement(TESTS, seed=1)
    for number, measurement in enumerate((first, second)):
        networks = [{"dimensions": np.int64(7), "outliers": number}]
        save(measurement, tmp_path, {"networks": networks, "spectra": [{"rank": 1, "eigenvalue": 0.5}]}, 1.25)
    assert gather(tmp_path, tmp_path / "tables") == 2
    read = Results.read(tmp_path / "tables")
    assert [(m.seed, int(row.outliers)) for m, row in read.networks_of(TESTS)] == [(0, 0), (1, 1)]
    assert read.networks.seconds.tolist() == [1.2, 1.2]
    assert read.spectra.measurement.tolist() == [first.name, second.name]
    assert len(read.curvature) == 0
    assert {path.stem for path in (tmp_path / "tables").iterdir()} < {*TABLES, "nanogpt"}


def test_the_rule_of_the_outliers_compares_with_the_vocabulary(results: Results) -> None:
    claim = next(claim for claim in CLAIMS if "outliers" in claim.name)
    networks = results.networks.copy()
    random = networks.measurement.str.startswith("tests-small-random")
    networks.loc[:, "outliers"] = 0
    networks.loc[random, "outliers"] = 64
    decision = decide(claim, replace(results, networks=networks))
    passed = [check.what for check in decision.checks if check.published]
    assert len(passed) == random.sum() > 0
    assert decision.published == decision.calibrated == "holds in part"
