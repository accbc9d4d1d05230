"""The memory that the docstrings state, of a process of its own."""

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import numpy as np, torch
from gradlaw.stats import gaussianity_rows
torch.set_num_threads(1)
def highest():
    line = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024
small, matrix = (np.random.default_rng(0).standard_t(3, shape) for shape in ((2, 3000), (4000, 5000)))
gaussianity_rows(small)
before = highest()
gaussianity_rows(matrix)
print(highest() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the highest memory from /proc")
def test_rows_are_worked_on_in_blocks():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 60  # MB over those of the input, 160 MB
