"""Runs to show, and a browser to show them in."""

import importlib.util
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

import gradlaw as gl
from hostile import HOSTILE


class Labelled(torch.utils.data.Dataset):
    """Samples with a description, as data sets by name have one."""

    def __init__(self, pairs: tuple[torch.Tensor, torch.Tensor], **description: object):
        self.pairs, self.description = pairs, description

    def __len__(self) -> int:
        return len(self.pairs[0])

    def __getitem__(self, i: int) -> tuple[torch.Tensor, torch.Tensor]:
        return self.pairs[0][i], self.pairs[1][i]


def problem(model_name: str = "net", layer_name: str = "1", **description: object) -> gl.Problem:
    """963 parameters, 3 classes that can be learnt."""
    torch.manual_seed(0)
    inputs = torch.randn(64, 20)
    model = nn.Sequential()
    for name, layer in (("0", nn.Linear(20, 40)), ("act", nn.Tanh()), (layer_name, nn.Linear(40, 3))):
        model.add_module(name, layer)
    described = {"name": "clouds", "classes": ["a", "b", "c"]} | description
    data = Labelled((inputs, inputs[:, :3].argmax(dim=1)), **described)
    return gl.Problem(model, cross_entropy, data, name=model_name)


@pytest.fixture(scope="session")
def random_run() -> gl.Analysis:
    return gl.analyze(problem(), iterations=300, batch_size=4, extended=True, controls=True)


@pytest.fixture(scope="session")
def trained_run() -> gl.Analysis:
    trained = problem("net, trained")
    inputs, targets = trained.data.pairs
    optimizer = torch.optim.SGD(trained.model.parameters(), lr=1.0)
    for _ in range(200):
        optimizer.zero_grad()
        cross_entropy(trained.model(inputs), targets).backward()
        optimizer.step()
    return gl.analyze(trained, iterations=300, batch_size=4)


@pytest.fixture(scope="session")
def seeds() -> list[gl.Analysis]:
    """Three of one setting."""
    return [gl.analyze(problem(), iterations=120, batch_size=8, seed=seed) for seed in range(3)]


@pytest.fixture(scope="session")
def hostile_run() -> gl.Analysis:
    """Names that would be run, break lines, colour a terminal or typeset, wherever a user can choose one."""
    named = problem(HOSTILE, HOSTILE, name=HOSTILE, classes=[HOSTILE, "b", "c"], label_column=HOSTILE)
    return gl.analyze(named, iterations=60, batch_size=4, k=15, gaussian_k=20)


@pytest.fixture(scope="session")
def empty_run() -> gl.Analysis:
    """Whole batches, whose gradients are all the same: there is no noise, and a spectrum of one value or none."""
    return gl.analyze(problem(), iterations=40, batch_size=64)


@pytest.fixture(scope="session")
def browser() -> Iterator[object]:
    """A headless Chromium of the system, driven by Playwright."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None or importlib.util.find_spec("playwright") is None:
        assert "GRADLAW_NEEDS_CHROMIUM" not in os.environ, "no Chromium, or no Playwright, where the tests have to run"
        pytest.skip("needs Chromium and Playwright")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield launched
        launched.close()


@pytest.fixture(scope="session")
def pages(tmp_path_factory, random_run, trained_run, seeds, hostile_run, empty_run) -> dict[str, Path]:
    """Pages by name, written as the command line writes them."""
    from gradlaw.report.write import write_comparison

    folder = tmp_path_factory.mktemp("pages")
    written = {"random": random_run, "trained": trained_run, "hostile": hostile_run, "empty": empty_run}
    for name, run in written.items():
        run.report(folder / f"{name}.html")
    three = {"random": random_run, "trained": trained_run, HOSTILE: hostile_run}
    write_comparison(three, folder / "three.html")
    write_comparison({"random": random_run} | {f"seed {i}": run for i, run in enumerate(seeds)}, folder / "seeds.html")
    return {path.stem: path for path in folder.glob("*.html")}
