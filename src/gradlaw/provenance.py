"""What every result records of the software and the machine that made it."""

import hashlib
import platform
from collections.abc import Iterable
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch
from torch import Tensor

PACKAGES = (
    *("gradlaw", "torch", "numpy", "scipy", "pandas", "pyarrow", "pillow", "datasets", "safetensors", "scikit-learn"),
    "matplotlib",
)


def versions(packages: Iterable[str] = PACKAGES) -> dict[str, str]:
    """Versions of Python and of the packages that results depend on, those of extras as far as they are installed."""
    return {"python": platform.python_version(), **{name: found for name in packages if (found := _version(name))}}


@cache  # the metadata of a package is a text that would be parsed at each call
def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def machine(device: torch.device) -> dict[str, Any]:
    """The device that computed, and the threads: another number of them sums in another order."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    return {"device": str(device), "device_name": name, "system": platform.system(), "threads": torch.get_num_threads()}


def sha256(tensors: Iterable[Tensor]) -> str:
    """A digest of the types, shapes and bytes of tensors."""
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(f"{tensor.dtype}{tuple(tensor.shape)}".encode())
        if tensor.numel():
            plain = tensor.cpu().resolve_conj().resolve_neg().contiguous()  # a column of a table has gaps
            digest.update(plain.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
