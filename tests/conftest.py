"""Fixtures shared by all tests."""

import os
from pathlib import Path

import pytest
import torch
from sklearn.datasets import load_digits

import gradlaw as gl
from data_files import DIGIT, IMAGE, encoded, enlarged, write_parquet

# Tests fork processes, which a pool of threads does not survive; small models gain nothing by more.
torch.set_num_threads(1)

# Why a test may be left out. Any other skip fails, so that no test stops running without anybody noticing.
EXPECTED_SKIPS = (
    "needs a CUDA device",
    "needs a machine without CUDA",
    "needs Chromium and Playwright",
    "needs the whole data set",
    "mounting a small file system needs root",
    "the figures were drawn by matplotlib",
    "reads the highest memory from /proc",
)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """A skip for a reason that is not expected is a failure."""
    report = yield
    reason = str(report.longrepr[2]) if report.skipped and isinstance(report.longrepr, tuple) else None
    if reason is not None and not reason.removeprefix("Skipped: ").startswith(EXPECTED_SKIPS):
        report.outcome = "failed"
        report.longrepr = f"skipped for a reason that tests/conftest.py does not expect: {reason}"
    return report


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


@pytest.fixture(scope="session", autouse=True)
def _cache_of_its_own(tmp_path_factory) -> None:
    """Tests leave the user's cache of data sets alone."""
    os.environ["GRADLAW_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def mnist_folder(tmp_path_factory) -> Path:
    """Real images in the layout of MNIST on the hub: scikit-learn's digits, enlarged; 1,500 and 297."""
    folder = tmp_path_factory.mktemp("mnist")
    digits = load_digits()
    images = [enlarged(image) for image in digits.images]
    for split, part in (("train", slice(1500)), ("test", slice(1500, None))):
        rows = {"image": [encoded(image) for image in images[part]], "label": digits.target[part].tolist()}
        write_parquet(folder, rows, {"image": IMAGE, "label": DIGIT}, split)
    return folder


def _whole_data_set(name: str) -> Path:
    folder = Path(os.environ.get("GRADLAW_TEST_DATA", "")) / name
    if "GRADLAW_TEST_DATA" not in os.environ or not folder.is_dir():
        pytest.skip(f"needs the whole data set {name} in the folder GRADLAW_TEST_DATA")
    return folder


@pytest.fixture(scope="session")
def whole_mnist() -> Path:
    """MNIST in Parquet files."""
    return _whole_data_set("mnist")


@pytest.fixture(scope="session")
def whole_cifar10() -> Path:
    """CIFAR-10 in Parquet files, as JPEG."""
    return _whole_data_set("cifar10")


@pytest.fixture(scope="session")
def whole_avila() -> Path:
    """Avila in Parquet files."""
    return _whole_data_set("avila")


@pytest.fixture(scope="session")
def whole_shakespeare() -> Path:
    """Tiny Shakespeare, one text file."""
    return _whole_data_set("tinyshakespeare")


@pytest.fixture
def small_problem() -> gl.Problem:
    """A two-layer network on 64 random samples: 115 parameters."""
    model = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3), torch.nn.Flatten())
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(64, 8, generator=generator)
    targets = torch.randint(3, (64,), generator=generator)
    return gl.Problem(model, torch.nn.functional.cross_entropy, (inputs, targets))
