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


@pytest.fixture(scope="session", autouse=True)
def _cache_of_its_own(tmp_path_factory) -> None:
    """Tests leave the user's cache of data sets alone."""
    os.environ["GRADLAW_CACHE"] = str(tmp_path_factory.mktemp("cache"))


def _real_data(name: str) -> Path:
    """Real data, in GRADLAW_TEST_DATA or in shared/data beside the checkout."""
    folder = DATA / name
    if not folder.is_dir():
        pytest.skip(f"the real data set {name} is not at {folder}")
    return folder


@pytest.fixture(scope="session")
def mnist_folder() -> Path:
    """MNIST in Parquet files."""
    return _real_data("mnist")


@pytest.fixture(scope="session")
def cifar10_folder() -> Path:
    """CIFAR-10 in Parquet files, as JPEG."""
    return _real_data("cifar10")


@pytest.fixture(scope="session")
def avila_folder() -> Path:
    """Avila in Parquet files."""
    return _real_data("avila")


@pytest.fixture(scope="session")
def shakespeare_folder() -> Path:
    """Tiny Shakespeare, one text file."""
    return _real_data("tinyshakespeare")


@pytest.fixture
def small_problem() -> gl.Problem:
    """A two-layer network on 64 random samples: 115 parameters."""
    model = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3), torch.nn.Flatten())
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(64, 8, generator=generator)
    targets = torch.randint(3, (64,), generator=generator)
    return gl.Problem(model, torch.nn.functional.cross_entropy, (inputs, targets))
