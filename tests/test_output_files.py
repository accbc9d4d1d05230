"""What commands write beside runs has manifests too: what was changed is named by verify, and not read again."""

import json
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

import gradlaw as gl
from gradlaw.lock import locked
from gradlaw.output_files import output_manifests, read_output, write_output


def _flip(path: Path, place: int = 5) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def test_each_file_is_listed_whoever_wrote_it_first(tmp_path):
    write_output(tmp_path, "tables", {"a.csv": "1,2\n", "b/c.txt": b"deep"})
    write_output(tmp_path, "figures", {"a.svg": lambda path: path.write_text("<svg/>")})
    write_output(tmp_path, "tables", {"d.csv": "3,4\n"})
    assert [kind for kind, _ in output_manifests(tmp_path)] == ["figures", "tables"]
    found = gl.verify(tmp_path)
    assert (found.whole, found.files, found.holds) == (True, 6, "the output 'figures' and the output 'tables'")
    for name in ("a.csv", "b/c.txt", "a.svg", "d.csv"):
        content = (tmp_path / name).read_bytes()
        _flip(tmp_path / name, 1)
        assert [damage.file for damage in gl.verify(tmp_path).damages] == [tmp_path / name]
        assert "repeat the command that wrote it" in str(gl.verify(tmp_path))
        (tmp_path / name).unlink()
        assert "missing" in gl.verify(tmp_path).damages[0].what
        (tmp_path / name).write_bytes(content)
    _flip(tmp_path / "tables.manifest.json", 60)
    assert len(gl.verify(tmp_path).damages) == 1
    write_output(tmp_path, "tables", {"a.csv": "1,2\n"})
    assert gl.verify(tmp_path).whole
    assert not list(tmp_path.glob(".*"))


def test_what_was_changed_is_not_read(tmp_path):
    write_output(tmp_path, "rows", {"rows.csv": "1,2\n"})
    assert read_output(tmp_path / "rows.csv", "rows") == b"1,2\n"
    (tmp_path / "rows.csv").write_text("1,3\n")
    with pytest.raises(gl.InputError, match=r"rows\.csv is damaged: its bytes are not those that were written; repeat"):
        read_output(tmp_path / "rows.csv", "rows")
    (tmp_path / "others.csv").write_text("5,6\n")
    assert read_output(tmp_path / "others.csv", "rows") == b"5,6\n"
    with pytest.raises(gl.InputError, match="there is no file"):
        read_output(tmp_path / "nothing.csv", "rows")


def test_one_writer_at_a_time(tmp_path):
    with locked(tmp_path / ".rows.lock", "the rows"), pytest.raises(gl.InputError, match="is being written by"):
        write_output(tmp_path, "rows", {"rows.csv": "1,2\n"})


def test_the_output_of_a_command_goes_with_a_run_in_the_same_directory(tmp_path):
    torch.manual_seed(0)
    data = torch.randn(60, 4), torch.randint(3, (60,))
    problem = gl.Problem(nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 3)), cross_entropy, data)
    gl.analyze(problem, iterations=30, batch_size=4, k=10, gaussian_k=20).save(tmp_path)
    gl.critical_batch_size(problem, 30, 4, hessian_samples=0).save(tmp_path)
    found = gl.verify(tmp_path)
    assert (found.whole, found.holds) == (True, "a run and the output 'batch_size'")
    (tmp_path / "batch_size.json").write_text(json.dumps({}))
    assert [damage.file.name for damage in gl.verify(tmp_path).damages] == ["batch_size.json"]
    gl.analyze(problem, iterations=30, batch_size=4, k=10, gaussian_k=20).save(tmp_path, force=True)
    assert (tmp_path / "batch_size.json").exists(), "what is no part of a run stays"
