"""The examples of watching run, each in a process of its own, and print what they say."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PRINTED = {
    "watch_plain_loop": ["4 watched steps of 2 layers, 0 to 150", "rescaled"],
    "watch_hf_trainer": ["4 watched steps of 15 layers, 0 to 15", "transformer.h.1.mlp.c_fc", "rescaled", "[2, 2]"],
    "watch_lightning": ["4 watched steps of 2 layers, 0 to 15", "elementwise"],
    "watch_gan": ["generator: 4 watched steps", "critic: 4 watched steps", "[2, 2]     False", "[1, 1]     False"],
    "watch_vae": ["4 watched steps of 4 layers, 0 to 150", "[1, 2]", "recovered: mean gradient", "code: mean gradient"],
    "watch_ddp": ["4 watched steps of 2 layers, 0 to 15", "rescaled", "    2\n"],
}


@pytest.mark.parametrize("name", PRINTED)
def test_an_example_runs(name, tmp_path):
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(ROOT / f"examples/{name}.py"), str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    for text in PRINTED[name]:
        assert text in done.stdout, done.stdout
