"""verify names each file that is not what was written, whatever gradlaw wrote, and repairs what can be made again."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

import gradlaw as gl
from gradlaw.cli.main import main
from gradlaw.reproduction.experiment import history
from gradlaw.reproduction.measurement import Measurement
from gradlaw.reproduction.store import Result, Store
from gradlaw.reproduction.xie2023.networks import LENET


def _problem() -> gl.Problem:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 3))
    return gl.Problem(model, cross_entropy, (torch.randn(40, 4), torch.randint(3, (40,))))


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    directory = tmp_path_factory.mktemp("verify") / "run"
    gl.analyze(_problem(), iterations=30, batch_size=4, k=10, gaussian_k=20).save(directory)
    return directory


def _flip(path: Path, place: int = 40) -> None:
    content = bytearray(path.read_bytes())
    content[place % len(content)] ^= 4
    path.write_bytes(content)


def test_figures_are_drawn_again_and_data_are_not(run, tmp_path, capsys):
    shutil.copytree(run, tmp_path / "run")
    assert gl.verify(tmp_path / "run").whole
    _flip(tmp_path / "run/figures/spectra.png")
    (tmp_path / "run/report.html").unlink()
    assert main(["verify", str(tmp_path / "run"), "--quiet"]) == 1
    printed = capsys.readouterr().out
    assert "spectra.png: its bytes are not those that were written; gradlaw verify --repair draws it again" in printed
    assert "report.html: missing" in printed
    assert main(["verify", str(tmp_path / "run"), "--repair", "--quiet"]) == 0
    assert (tmp_path / "run/report.html").read_bytes() == (run / "report.html").read_bytes()
    assert (tmp_path / "run/figures/spectra.png").read_bytes() == (run / "figures/spectra.png").read_bytes()
    _flip(tmp_path / "run/noise.parquet")
    (tmp_path / "run/report.html").unlink()
    found = gl.verify(tmp_path / "run", repair=True)
    assert not found.whole
    assert [damage.file.name for damage in found.damages] == ["noise.parquet", "report.html"]
    assert "measure it again: its command with --force" in str(found)
    found = gl.verify(tmp_path)  # a folder of runs
    assert (found.holds, len(found.damages)) == ("a run", 2)


def _train(folder: Path, optimiser: str = "adam") -> None:
    problem = _problem()
    assert isinstance(problem.data, tuple)
    gl.train(problem.model, cross_entropy, problem.data, recipe=gl.Recipe(optimiser, 0.01, 2, batch_size=8),
             checkpoint_dir=folder, points=(0.6,))  # fmt: skip


def test_each_file_of_a_training_is_checked(tmp_path):
    _train(tmp_path / "whole")
    files = sorted(path.name for path in (tmp_path / "whole").iterdir())
    assert len(files) == 5
    assert gl.verify(tmp_path / "whole").whole
    for name in files:
        shutil.copytree(tmp_path / "whole", tmp_path / name)
        _flip(tmp_path / name / name, -40)
        found = gl.verify(tmp_path / name)
        assert not found.whole
        assert name.partition(".")[0] in str(found.damages[0])


@pytest.mark.parametrize("change", [
    ("{", "}"), ('"epoch": 2', '"epoch": 1'), ('"epoch": 2', '"epoch": NaN'), ('"epoch": 2', '"epoch": 1e999'),
    ('"learning_rate": 0.01', '"learning_rate": 0.02'), ('"format": 2', '"form": 2'), ('"data": {', '"date": {'),
])  # fmt: skip
def test_no_change_of_the_record_of_a_training_goes_unnoticed(tmp_path, change):
    _train(tmp_path)
    record = tmp_path / "epoch-0002.json"
    text = record.read_text()
    assert change[0] in text
    record.write_text(text.replace(*change))
    with pytest.raises(gl.InputError, match=r"epoch-0002\.json (is|has|holds|does not say)"):
        gl.load_checkpoint(tmp_path)


def test_records_of_before_there_were_seals_are_read_if_they_say_everything(tmp_path):
    _train(tmp_path)
    record = tmp_path / "epoch-0002.json"
    text = record.read_text().replace('"format": 2', '"format": 1')
    old = "\n".join(line for line in text.splitlines() if "content_sha256" not in line).replace('",\n}', '"\n}')
    record.write_text(old)
    assert gl.load_checkpoint(tmp_path).settings["epoch"] == 2
    record.write_text(old.replace('"data": {', '"date": {'))
    with pytest.raises(gl.InputError, match="does not say data"):
        gl.load_checkpoint(tmp_path)
    for text, message in (("null", "holds a NoneType"), ('{"weights_sha256": null}', "has format None")):
        record.write_text(text)
        with pytest.raises(gl.InputError, match=message):
            gl.load_checkpoint(tmp_path)


def test_a_damaged_optimiser_is_not_gone_on_with(tmp_path):
    problem = _problem()
    assert isinstance(problem.data, tuple)
    recipe = gl.Recipe("adam", 0.01, 3, batch_size=8)
    gl.train(problem.model, cross_entropy, problem.data, recipe=recipe, checkpoint_dir=tmp_path, until=2)
    _flip(tmp_path / "epoch-0002.optimiser.safetensors", -4)
    with pytest.raises(gl.InputError, match=r"optimiser\.safetensors is damaged"):
        gl.train(_problem().model, cross_entropy, problem.data, recipe=recipe, checkpoint_dir=tmp_path, resume=True)


def test_damaged_results_of_a_store_are_removed_to_be_measured_again(tmp_path):
    store, measurements = Store(tmp_path), [Measurement(history(LENET, 1), i, None, None, 40, 20, 20) for i in (0, 1)]
    for measurement in measurements:
        store.save(measurement, Result({"tests": {"x": 0.5}}, {"covariance": np.arange(9) / 7}))
    assert gl.verify(tmp_path).whole
    for name in ("result.json", "arrays.npz", "manifest.json"):
        path = store.path(measurements[1]) / name
        content = path.read_bytes()
        for damaged in (content[:70] + b"!" + content[71:], content[:-9], None):
            path.unlink() if damaged is None else path.write_bytes(damaged)
            with pytest.raises(gl.InputError, match=r"remove the folder .* and run again"):
                store.load(measurements[1])
            assert len(gl.verify(tmp_path).damages) == 1
            path.write_bytes(content)
    (store.path(measurements[1]) / "arrays.npz").unlink()
    assert gl.verify(tmp_path, repair=True).whole
    assert [m in store for m in measurements] == [True, False]


def test_each_file_of_a_gradient_history_is_checked(tmp_path):
    gl.collect(_problem(), 20, 2, store=tmp_path / "whole")
    assert gl.verify(tmp_path / "whole").whole
    chunks = [path for path in (tmp_path / "whole").rglob("*") if path.is_file() and path.suffix != ".json"]
    assert len(chunks) >= 2
    for number, chunk in enumerate(chunks):
        shutil.copytree(tmp_path / "whole", tmp_path / str(number))
        _flip(tmp_path / str(number) / chunk.relative_to(tmp_path / "whole"))
        found = gl.verify(tmp_path / str(number))
        assert not found.whole
        assert len(found.damages) == 1


def test_what_is_not_ours_is_refused(tmp_path):
    with pytest.raises(gl.InputError, match="holds no run, gradients, training or store"):
        gl.verify(tmp_path)
    with pytest.raises(gl.InputError, match="there is no directory"):
        gl.verify(tmp_path / "nowhere")
