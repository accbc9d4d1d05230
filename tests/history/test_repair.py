"""Damaged chunks of a finished store are computed again, and written only if they are what was written."""

import shutil
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

import gradlaw as gl
from gradlaw.cli.main import main
from gradlaw.history.stores.integrity import check

BANDS = 4 * 35 * 5  # bytes of 5 rows of 35 float32 values: several chunks in either direction


def _problem(scale: float = 1.0) -> gl.Problem:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 3))
    return gl.Problem(model, cross_entropy, (scale * torch.randn(40, 4), torch.randint(3, (40,))))


def _files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _chunks(folder: Path) -> list[Path]:
    return sorted(path for path in (folder / "gradients/c").rglob("*") if path.is_file())


def _flip(path: Path, place: int = 9) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 4
    path.write_bytes(content)


@pytest.mark.parametrize("how", [
    {}, {"engine": "loop"}, {"dtype": "bfloat16", "transforms": (gl.Adam(),)}, {"transforms": (gl.ClipByNorm(0.1),)},
    {"dtype": "float64", "replacement": True}, {"transforms": (gl.Momentum(),), "engine": "vmap"},
], ids=str)  # fmt: skip
def test_each_chunk_is_computed_again_whatever_happened_to_it(tmp_path, how):
    store = tmp_path / "store"
    gl.collect(_problem(), 12, 4, 3, store=store, band_bytes=BANDS, **how)
    whole, chunks = _files(store), _chunks(store)
    assert len(chunks) > 4
    for number, chunk in enumerate(chunks[:: len(chunks) // 3]):
        content = chunk.read_bytes()
        damaged = (content[:-1], None, bytes([content[0] ^ 1]) + content[1:])[number % 3]
        chunk.unlink() if damaged is None else chunk.write_bytes(damaged)
        found = gl.verify(store, repair=True, problem=_problem())
        assert [damage.file for damage in found.damages] == [chunk]
        assert found.whole
        assert _files(store) == whole
    for chunk in chunks[1:4]:
        chunk.unlink()
    assert len(gl.verify(store, repair=True, problem=_problem()).damages) == 3
    assert _files(store) == whole


def test_what_cannot_be_proven_is_not_written(tmp_path):
    store = tmp_path / "store"
    gl.collect(_problem(), 12, 4, store=store)
    (chunk,) = _chunks(store)
    content = chunk.read_bytes()
    _flip(chunk)
    assert gl.verify(store, repair=True, problem=_problem()).whole, "its checksum proves it"
    assert chunk.read_bytes() == content
    chunk.unlink()
    with pytest.raises(gl.InputError, match=r"nothing of the gradients in .* is whole, by which"):
        gl.verify(store, repair=True, problem=_problem())
    assert not chunk.exists()


def test_another_problem_or_other_rounding_is_refused(tmp_path):
    store = tmp_path / "store"
    gl.collect(_problem(), 12, 4, store=store, band_bytes=BANDS, engine="loop")
    chunks = _chunks(store)
    chunks[0].unlink()
    with pytest.raises(gl.InputError, match="holds the gradient history of another run"):
        gl.verify(store, repair=True, problem=_problem(2))
    before = _files(store)

    def cross_entropy(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return nn.functional.cross_entropy(outputs, targets) * (1 + 1e-6)  # too little for the check of the first loss

    problem = _problem()
    other = gl.Problem(problem.model, cross_entropy, problem.data)
    with pytest.raises(gl.InputError, match=r"of iteration 0 onwards is not, to the last bit, what is whole in"):
        gl.verify(store, repair=True, problem=other)
    assert _files(store) == before


def test_what_is_more_than_gradients_is_not_repaired(tmp_path):
    store = tmp_path / "store"
    gl.collect(_problem(), 12, 4, store=store, band_bytes=BANDS)
    _flip(store / "losses/c/0")
    with pytest.raises(gl.InputError, match="losses/c/0 is damaged"):
        gl.verify(store, repair=True, problem=_problem())


def test_the_command_says_what_it_needs_and_repairs_with_it(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    named = ["--model", "fcn", "--width", "4", "--seed", "2"]
    assert main(["analyze", *named, "-T", "30", "--k", "10", "--gaussian-k", "20", "--quiet", "--out", "run", "--store",
                 "store"]) == 0  # fmt: skip
    shutil.copytree("store", "whole")
    (chunk,) = _chunks(tmp_path / "store")
    _flip(chunk)
    capsys.readouterr()
    assert main(["verify", "store", "--repair"]) == 1
    assert "with the problem that it is of, --repair computes what is damaged again" in capsys.readouterr().out
    assert main(["verify", "store", *named]) == 2
    assert "goes with --repair" in capsys.readouterr().err
    assert main(["verify", "store", "--repair", *named[:-1], "3"]) == 2
    assert "parameters_sha256 is" in capsys.readouterr().err
    assert main(["verify", "store", "--repair", "--quiet", *named]) == 0
    assert "repaired" in capsys.readouterr().out
    assert _files(tmp_path / "store") == _files(tmp_path / "whole")
    assert not check(tmp_path / "store")
