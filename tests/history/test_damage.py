"""Stores that are damaged, disks that are full: nothing is read as a number that was not written."""

import errno
import json
import os
import re
import shutil
from itertools import pairwise
from pathlib import Path

import pytest
import torch
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.functional import cross_entropy

import gradlaw as gl
from failing_disk import FailingDisk
from gradlaw.history.stores import placement, zarr_store
from gradlaw.history.stores.integrity import check

T, B = 12, 4
BANDS = 4 * 35 * 5  # bytes of 5 rows of 35 float32 values


def _problem() -> gl.Problem:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 3))
    return gl.Problem(model, cross_entropy, (torch.randn(40, 4), torch.randint(3, (40,))))


def _collect(store: Path | None, **how: object) -> gl.GradientHistory:
    return gl.collect(_problem(), T, B, engine="loop", store=store, band_bytes=BANDS, **how)


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("whole") / "store"
    _collect(folder)
    return folder


def _names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damage_is_found_or_harmless(whole, tmp_path, data):
    expected, folder = gl.GradientHistory.open(whole), tmp_path / "store"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(whole, folder)
    path = folder / data.draw(st.sampled_from(_names(whole)), "file")
    content = bytearray(path.read_bytes())
    how = data.draw(st.sampled_from(["bit", "block", "truncated", "missing"]), "damage")
    where = data.draw(st.integers(0, len(content) - 1), "where")
    if how == "bit":
        content[where] ^= 1 << data.draw(st.integers(0, 7), "bit")
    elif how == "block":
        content[where : where + 16] = data.draw(st.binary(min_size=1, max_size=16), "bytes")
    path.unlink()
    if how != "missing":
        path.write_bytes(content[:where] if how == "truncated" else content)
    found = check(folder)
    if not found:
        history = gl.GradientHistory.open(folder)
        assert torch.equal(history[:], expected[:])
        assert history == expected
        return
    assert re.search(r"(collect it again|collect again)", found[0].message)
    with pytest.raises(gl.InputError, match=re.escape(found[-1].message)):
        gl.GradientHistory.open(folder)[:]


def test_a_chunk_of_zeros_is_there_and_one_that_is_missing_is_no_zeros(tmp_path):
    gradients = zarr_store.create(tmp_path / "store", (6, 4), torch.float32, 4 * 4 * 3)
    gradients.write(0, torch.zeros(3, 4))
    assert torch.equal(gradients[:3], torch.zeros(3, 4))
    message = rf"^{tmp_path}/store/gradients/c/1/\d is missing; delete .* and collect it again"
    for key in (3, slice(0, 6), (slice(None), 2)):
        with pytest.raises(gl.InputError, match=message):
            gradients[key]


def test_chunks_are_those_of_zarr(whole):
    array = zarr.open_group(whole, mode="r")["gradients"]
    assert [codec.to_dict()["name"] for codec in array.metadata.codecs] == ["bytes", "crc32c"]
    assert torch.equal(torch.from_numpy(array[:]), gl.GradientHistory.open(whole)[:])


def test_what_is_damaged_is_named(whole, tmp_path):
    folder = tmp_path / "store"
    shutil.copytree(whole, folder)
    assert check(folder) == []
    for name in ("gradients/c/0/1", "losses/c/0"):
        content = bytearray((folder / name).read_bytes())
        content[3] ^= 1
        (folder / name).write_bytes(content)
    (folder / "gradients/c/1/0").unlink()
    found = check(folder)
    assert [str(damage.file.relative_to(folder)) for damage in found] == [
        "losses/c/0",
        "gradients/c/0/1",
        "gradients/c/1/0",
    ]
    assert "is missing" in found[2].message
    with pytest.raises(gl.InputError, match=r"losses/c/0 is damaged: its checksum"):
        _collect(folder)
    assert "holds no gradient history" in check(tmp_path / "nothing")[0].message


def test_a_store_from_before_checksums_is_read_and_says_so(whole, tmp_path):
    folder = tmp_path / "store"
    history = gl.GradientHistory.open(whole)
    group = zarr.create_group(folder)
    for name, values in (("gradients", history[:]), ("losses", history.losses)):
        group.create_array(name, data=values.numpy(), compressors=None)
    group.attrs["gradlaw"] = json.loads((whole / "zarr.json").read_text())["attributes"]["gradlaw"]
    old = gl.GradientHistory.open(folder)
    assert torch.equal(old[:], history[:])
    assert "from before checksums" in old.notices[-1]
    assert "cannot be checked" in check(folder)[0].message
    assert old == _collect(folder)


def test_rows_are_on_the_disk_before_the_note_that_counts_them(tmp_path, monkeypatch):
    events: list[str] = []
    fsync, rename = os.fsync, Path.replace

    def flushed(descriptor: int) -> None:
        events.append(str(Path(os.readlink(f"/proc/self/fd/{descriptor}")).relative_to(tmp_path.resolve())))
        fsync(descriptor)

    def renamed(self: Path, target: Path) -> Path:
        events.append(f"rename {target.name}")
        return rename(self, target)

    monkeypatch.setattr(os, "fsync", flushed)
    monkeypatch.setattr(Path, "replace", renamed)
    _collect(tmp_path / "store")
    notes = [i for i, event in enumerate(events) if event == "rename unfinished"]
    assert len(notes) == 4, "one at the beginning, one a band"
    for band, (before, after) in enumerate(pairwise(notes)):
        between = events[before:after]
        chunks = sorted(path for path in _names(tmp_path / "store") if path.startswith(f"gradients/c/{band}/"))
        assert {f"store/{path}" for path in chunks} <= set(between)
        assert f"store/gradients/c/{band}" in between
    last = events.index("store/losses/c/0")
    assert "store/zarr.json" in events[last:]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_whatever_write_fails_the_same_call_goes_on(whole, tmp_path, monkeypatch, number):
    disk = FailingDisk(monkeypatch, number)
    _collect(tmp_path / "counted")
    for fail_at in range(1, disk.calls + 1, 6):
        folder, disk.calls, disk.fail_at = tmp_path / f"store-{fail_at}", 0, fail_at
        message = "no space left .* make the same call again" if number == errno.ENOSPC else "Input/output error"
        with pytest.raises(gl.InputError if number == errno.ENOSPC else OSError, match=message):
            _collect(folder)
        disk.fail_at = 0
        _collect(folder)
        assert _names(folder) == _names(whole)
        assert all((folder / name).read_bytes() == (whole / name).read_bytes() for name in _names(whole))


def test_the_forecast_counts_all_that_is_written(whole, monkeypatch, tmp_path):
    written = sum(-(-path.stat().st_size // 4096) * 4096 for path in whole.rglob("*") if path.is_file())
    needed = zarr_store.stored_bytes((T, 35), torch.float32, BANDS)
    assert written <= needed <= written + 2**21
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(placement.shutil, "disk_usage", lambda path: usage._replace(free=needed - 2**12))
    with pytest.raises(gl.InputError, match=r"GB of disk, and that of .* has 0.00 GB left"):
        _collect(tmp_path / "store")
