"""Memory: what is free on a device, control groups heeded, and the share that one task may take."""

from collections.abc import Iterator
from pathlib import Path

import psutil
import torch

MEMORY_SHARE = 0.5  # of what is free, that one task takes unless it is told
_CONTROL_GROUPS = Path("/sys/fs/cgroup")
_OF_THIS_PROCESS = Path("/proc/self/cgroup")


def free_memory(device: torch.device) -> int:
    """Bytes of memory that are free on a device, no more than a container or a batch system leaves to this process."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return min([psutil.virtual_memory().available, *control_group_memory()])


def memory_budget(device: torch.device, memory: float | None, share: float = MEMORY_SHARE) -> int:
    """``memory`` bytes if it is given, else a share of what is free."""
    return int(share * free_memory(device) if memory is None else memory)


def gram_bytes(iterations: int) -> int:
    """Of the two T x T matrices in float64 that spectra of T gradients take at once: the Gram matrix, and the centred
    one or the work space of its eigenvalues.
    """
    return 2 * 8 * iterations**2


def control_group_memory(groups: Path = _OF_THIS_PROCESS, mount: Path = _CONTROL_GROUPS) -> list[int]:
    """Bytes that the control groups of this process, those around them included, leave to it; Linux alone has them.

    Pages of files that the kernel would give up count as free, as they do in ``MemAvailable``.

    Args:
        groups: the file that names the groups, ``hierarchy:controllers:path`` a line.
        mount: where version 2 is mounted, and version 1 under ``memory``.
    """
    if not groups.is_file():
        return []
    left: list[int] = []
    for line in groups.read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            left += _left(mount, path, "memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            files = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
            left += _left(mount / "memory", path, *files)
    return left


def _left(mount: Path, path: str, limit: str, usage: str, reclaimable: str) -> Iterator[int]:
    inner = mount / path.lstrip("/")
    for folder in (inner, *inner.parents):  # a container may see its own group as the mount, whatever its path
        if folder.is_relative_to(mount) and (folder / limit).is_file():
            most = (folder / limit).read_text().strip()
            if most != "max":
                statistics = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
                used = int((folder / usage).read_text()) - int(statistics.get(reclaimable, 0))
                yield max(0, int(most) - used)
