"""A run directory holds the run before or the new one, whole, whatever happens; and damage of it is found."""

import json
import os
import random
import shutil
import signal
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

import gradlaw as gl
from gradlaw.analysis.run_directory import claimed, manifest_of_run
from gradlaw.cli.main import main
from gradlaw.manifest import MANIFEST, write_manifest
from gradlaw.report import write
from gradlaw.sealed_json import SEAL
from killed_at_call import killed_at_call
from tools.forked import exit_status, forked

QUICK = ["analyze", "--iterations", "40", "--k", "20", "--gaussian-k", "20", "--quiet", "--width", "4"]
CALLS = ("rename", "replace", "unlink", "mkdir")


@pytest.fixture(scope="module")
def analysis() -> gl.Analysis:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 3))
    problem = gl.Problem(model, cross_entropy, (torch.randn(40, 4), torch.randint(3, (40,))))
    return gl.analyze(problem, iterations=30, batch_size=4, k=10, gaussian_k=20)


@pytest.fixture(scope="module")
def saved(analysis, tmp_path_factory) -> Path:
    """A run that was saved; tests that change it take a copy."""
    directory = tmp_path_factory.mktemp("saved") / "run"
    analysis.save(directory)
    return directory


def _put(directory: Path, generation: str, names: tuple[str, ...]) -> None:
    """Publish a run of small files."""
    with claimed(directory) as place:
        folder = place.start()
        for name in names:
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(f"{generation} {name}")
        write_manifest(folder, names)
        place.publish(())


def _content(directory: Path) -> dict[str, str]:
    manifest = manifest_of_run(directory)
    assert manifest is not None
    return {name: manifest.read(name).decode() for name in manifest.files}


def test_killed_at_any_moment_the_old_run_or_the_new_one_is_there(tmp_path):
    old, new = ("analysis.json", "a.parquet", "figures/a.svg"), ("analysis.json", "b.parquet", "figures/b.svg")
    before, after = ({name: f"{when} {name}" for name in names} for when, names in (("old", old), ("new", new)))
    seen, kills, killed = [], 0, True
    while killed:
        kills += 1
        directory = tmp_path / str(kills)
        _put(directory, "old", old)
        (directory / "mine.txt").write_text("kept")
        killed = killed_at_call(lambda directory=directory: _put(directory, "new", new), kills, CALLS)
        found = _content(directory)
        assert found in (before, after), kills
        seen.append(found == after)
        _put(directory, "new", new)
        files = {str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file()}
        assert files == {*new, MANIFEST, "mine.txt"}
    assert seen == sorted(seen), "the old one until a moment, the new one from then on"
    assert 0 < sum(seen) < kills
    assert kills > 12


def test_a_run_that_was_killed_while_figures_were_drawn_is_finished_without_measuring(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main([*QUICK, "--out", "whole"]) == 0
    printed = capsys.readouterr().out

    def dies(*_):
        os.kill(os.getpid(), signal.SIGKILL)

    with monkeypatch.context() as deadly:
        deadly.setattr(write, "_write_image", dies)
        child = forked(lambda: main([*QUICK, "--out", "killed"]))
    assert exit_status(child) == -signal.SIGKILL
    assert main(["report", "killed"]) == 2
    assert "one was begun and not finished: repeat the command" in capsys.readouterr().err
    assert main([*QUICK, "--out", "killed", "--seed", "1"]) == 2
    error = capsys.readouterr().err
    assert "other settings that was not finished (" in error
    assert "seed 0 instead of 1" in error
    monkeypatch.setattr("gradlaw.cli.analyze.analyze", None)  # nothing is measured again
    assert main([*QUICK, "--out", "killed"]) == 0
    assert capsys.readouterr().out == printed.replace("whole/", "killed/")
    assert not list(Path("killed").glob(".*"))
    assert _without_times("killed") == _without_times("whole")
    before = _content_bytes(Path("killed"))
    Path("killed/report.html").unlink()
    Path("killed/figures/spectra.svg").write_text("changed")
    assert main([*QUICK, "--out", "killed"]) == 0
    assert _content_bytes(Path("killed")) == before
    assert main([*QUICK, "--out", "killed"]) == 2, "it is whole now"


def _without_times(directory: str) -> dict[str, str]:
    """The digests of the files of a run, and its record but for the time."""
    manifest = manifest_of_run(Path(directory))
    assert manifest is not None
    record = json.loads(manifest.read("analysis.json"))
    assert record.pop("time")
    timed = ("analysis.json", "report.html")
    return {name: one.sha256 for name, one in manifest.files.items() if name not in timed} | record


def _content_bytes(directory: Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def test_no_damage_of_data_is_read_as_a_number(analysis, saved, tmp_path):
    shutil.copytree(saved, tmp_path / "run")
    whole, rng = _content_bytes(tmp_path / "run"), random.Random(0)
    data = [name for name in whole if name.endswith((".json", ".parquet"))]
    assert len(data) >= 7
    for name in data * 3:
        path, content = tmp_path / "run" / name, bytearray(whole[name])
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        for damaged in (bytes(content), whole[name][: rng.randrange(len(content))], None):
            path.unlink() if damaged is None else path.write_bytes(damaged)
            if damaged is not None and name == MANIFEST and _same_json(damaged, whole[name]):
                continue
            with pytest.raises(gl.InputError, match=name.replace(".", r"\.") if name != MANIFEST else "manifest"):
                gl.Analysis.load(tmp_path / "run")
            path.write_bytes(whole[name])
    assert gl.Analysis.load(tmp_path / "run") == analysis


def _same_json(damaged: bytes, whole: bytes) -> bool:
    """Whether the change was of white space alone."""
    try:
        return json.loads(damaged) == json.loads(whole)
    except ValueError:
        return False


def test_a_run_of_a_version_without_manifests_is_read_and_says_so(analysis, saved, tmp_path):
    shutil.copytree(saved, tmp_path / "run")
    (tmp_path / "run" / MANIFEST).unlink()
    with pytest.raises(gl.InputError, match=r"its manifest\.json, which is written last, is missing"):
        gl.Analysis.load(tmp_path / "run")
    record = tmp_path / "run/analysis.json"
    record.write_text(record.read_text().replace('"format": 3', '"format": 2'))
    assert "wrote no manifest.json" in gl.Analysis.load(tmp_path / "run").notices[-1]
    with pytest.raises(gl.InputError, match="already holds a run"):
        analysis.save(tmp_path / "run")
    for text, message in (
        ("{", "is no JSON"), ('{"format": NaN}', "NaN is no number"), ('{"format": 1e999}', "larger than any float"),
        ("null", "holds a NoneType"), ("{}", "has format None"), ('{"format": 2}', "does not fit its tables"),
    ):  # fmt: skip
        record.write_text(text)
        with pytest.raises(gl.InputError, match=message):
            gl.Analysis.load(tmp_path / "run")
    (tmp_path / "run/eigenvalues.parquet").write_bytes(b"PAR1")
    analysis.save(tmp_path / "run", force=True)
    assert gl.Analysis.load(tmp_path / "run") == analysis


def test_of_two_writers_the_second_is_refused_before_any_work(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("gradlaw.cli.analyze.problem_of", None)
    with claimed(tmp_path / "run"):
        for force in ([], ["--force"]):
            assert main([*QUICK, "--out", str(tmp_path / "run"), *force]) == 2
            error = capsys.readouterr().err
            assert "run is being written by this process itself since" in error


def test_pages_that_are_written_again_are_listed_again(analysis, saved, tmp_path):
    shutil.copytree(saved, tmp_path / "run")
    page = tmp_path / "run/report.html"
    page.write_text("another version wrote it")
    assert list(_faults(tmp_path / "run")) == ["report.html"]
    analysis.report(page)
    (tmp_path / "other").mkdir()
    analysis.report(tmp_path / "other/report.html")
    assert not (tmp_path / "other" / MANIFEST).exists()
    assert _faults(tmp_path / "run") == {}


def _faults(directory: Path) -> dict[str, str]:
    manifest = manifest_of_run(directory)
    assert manifest is not None
    return manifest.faults()


def test_a_manifest_that_points_outside_is_refused(saved, tmp_path):
    shutil.copytree(saved, tmp_path / "run")
    write_manifest(tmp_path / "run", ["../run/report.html"])
    with pytest.raises(gl.InputError, match=r"lists \.\./run/report.html, which is not in its folder"):
        gl.Analysis.load(tmp_path / "run")
    assert SEAL in json.loads((tmp_path / "run" / MANIFEST).read_text())
