"""Fixtures shared by all tests."""

import os
from pathlib import Path

import pytest
import torch

import gradlaw as gl

DATA = Path(os.environ.get("GRADLAW_TEST_DATA", Path(__file__).parents[2] / "shared/data"))


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def mnist_folder() -> Path:
    """The folder of real MNIST in Parquet files, in GRADLAW_TEST_DATA or in shared/data beside the checkout."""
    folder = DATA / "mnist"
    if not folder.is_dir():
        pytest.skip(f"real MNIST is not at {folder}")
    return folder


@pytest.fixture
def small_problem() -> gl.Problem:
    """A two-layer network on 64 random samples: 115 parameters."""
    model = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3), torch.nn.Flatten())
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(64, 8, generator=generator)
    targets = torch.randint(3, (64,), generator=generator)
    return gl.Problem(model, torch.nn.functional.cross_entropy, (inputs, targets))
