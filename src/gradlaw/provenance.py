"""What every result records of the software and the machine that made it."""

import platform
from importlib.metadata import version
from typing import Any

import torch

PACKAGES = ("gradlaw", "torch", "numpy", "scipy", "pandas", "pyarrow", "datasets", "scikit-learn", "matplotlib")


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that results depend on."""
    return {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}}


def machine(device: torch.device) -> dict[str, Any]:
    """The device that computed, and the threads: another number of them sums in another order."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    return {"device": str(device), "device_name": name, "system": platform.system(), "threads": torch.get_num_threads()}
