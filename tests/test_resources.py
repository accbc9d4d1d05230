"""Free memory, with the files of control groups as Linux writes them."""

from pathlib import Path

import psutil
import pytest
import torch

from gradlaw.resources import control_group_memory, free_memory, memory_budget

GB = 2**30


def _group(folder: Path, **files: object) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / f"memory.{name}").write_text(f"{content}\n")


def test_the_cpu_has_no_more_than_the_system_says():
    free = free_memory(torch.device("cpu"))
    assert 0 < free <= psutil.virtual_memory().total
    assert memory_budget(torch.device("cpu"), 1e6) == 1_000_000
    assert memory_budget(torch.device("cpu"), None, 0.25) <= 0.3 * psutil.virtual_memory().total


def test_version_2_takes_the_groups_around_into_account(tmp_path):
    groups, mount = tmp_path / "cgroup", tmp_path / "mount"
    groups.write_text("0::/job/step\n")
    _group(mount, stat="anon 1")  # the root has no limit
    _group(mount / "job", max=8 * GB, current=6 * GB, stat=f"anon 5\ninactive_file {GB}")
    _group(mount / "job/step", max="max", current=GB, stat="inactive_file 0")
    assert control_group_memory(groups, mount) == [3 * GB]


def test_version_1_in_a_container_that_sees_its_group_as_the_mount(tmp_path):
    groups, mount = tmp_path / "cgroup", tmp_path / "mount"
    groups.write_text("5:cpu,cpuacct:/docker/1f\n4:memory:/docker/1f\n1:name=systemd:/docker/1f\n")
    _group(mount / "memory", limit_in_bytes=2 * GB, usage_in_bytes=3 * GB, stat=f"total_inactive_file {GB // 2}")
    assert control_group_memory(groups, mount) == [0]
    _group(mount / "memory", usage_in_bytes=GB)
    assert control_group_memory(groups, mount) == [GB + GB // 2]


@pytest.mark.parametrize("content", [None, "", "3:cpu:/\n", "0::/gone\n"])
def test_without_control_groups_there_is_no_limit(tmp_path, content):
    groups = tmp_path / "cgroup"
    if content is not None:
        groups.write_text(content)
    assert control_group_memory(groups, tmp_path / "mount") == []
