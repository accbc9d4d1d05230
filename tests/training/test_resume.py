import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

import gradlaw as gl
from dies_after import DiesAfter, Killed
from gradlaw.cli.main import main
from gradlaw.training import OPTIMISERS, Recipe, load_checkpoint, train
from gradlaw.training.checkpoint import latest
from killed_at_call import killed_at_call

CALLS = ("rename", "replace", "unlink")  # that change names

EPOCHS = 12


def _train(folder: Path, optimiser: str = "momentum", epochs: int = EPOCHS, **options) -> gl.training.TrainingRun:
    """A training with all that is random or has a state: dropout, batch norm, augmentation, a schedule."""
    generator = torch.Generator().manual_seed(1)
    data = torch.randn(60, 1, 6, 6, generator=generator), torch.randint(3, (60,), generator=generator)
    torch.manual_seed(2)
    model = nn.Sequential(nn.Flatten(), nn.Linear(36, 8), nn.BatchNorm1d(8), nn.Dropout(0.3), nn.Linear(8, 3))
    recipe = Recipe(optimiser, 0.01, epochs, milestones=(4, 8), batch_size=16, augment=True)
    return train(model, cross_entropy, data, data, options.pop("recipe", recipe), 3, folder, resume=True, **options)


def _weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_checkpoint(folder).weights


def _equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_every_optimiser_goes_on_with_the_same_bits(tmp_path, optimiser):
    whole = _train(tmp_path / "whole", optimiser)
    for epoch in (1, 5, 12):  # the first time before any checkpoint
        with pytest.raises(Killed):
            _train(tmp_path / "resumed", optimiser, progress=DiesAfter(epoch))
    resumed = _train(tmp_path / "resumed", optimiser)
    assert _equal(_weights(tmp_path / "whole"), _weights(tmp_path / "resumed"))
    assert (resumed.history, resumed.training, resumed.test) == (whole.history, whole.training, whole.test)
    last = f"epoch-{EPOCHS:04d}.optimiser.safetensors"
    assert (tmp_path / "whole" / last).read_bytes() == (tmp_path / "resumed" / last).read_bytes()


def _command(folder: Path) -> list[str]:
    return ["train", "--epochs", str(EPOCHS), "--optimiser", "adam", "--quiet", "--batch-size", "8", "--resume",
            "--out", str(folder)]  # fmt: skip


def _kill_after(folder: Path, epoch: int) -> None:
    """Train in another process, killed with SIGKILL once it has written this epoch, in the midst of the next."""
    environment = os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads())}
    process = subprocess.Popen([sys.executable, "-m", "gradlaw", *_command(folder)], env=environment)
    while process.poll() is None and ((file := latest(folder)) is None or file.stem < f"epoch-{epoch:04d}"):
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL


def test_a_training_killed_with_sigkill_ends_with_the_same_bits(tmp_path):
    folders = {name: tmp_path / name for name in ("whole", "killed")}
    assert main(_command(folders["whole"])) == 0
    _kill_after(folders["killed"], 3)
    assert 3 <= load_checkpoint(folders["killed"]).settings["epoch"] < EPOCHS
    assert main(_command(folders["killed"])) == 0
    assert _equal(*(_weights(folder) for folder in folders.values()))
    histories = [load_checkpoint(folder).settings["history"] for folder in folders.values()]
    assert histories[0] == histories[1]
    assert len(histories[0]) == EPOCHS


def test_a_checkpoint_that_was_being_written_is_not_taken(tmp_path):
    whole = _train(tmp_path / "whole")
    with pytest.raises(Killed):
        _train(tmp_path / "torn", progress=DiesAfter(4))
    (tmp_path / "torn/epoch-0004.safetensors").write_bytes(b"torn")
    (tmp_path / "torn/epoch-0004.json.partial").write_bytes(b"{")
    assert _train(tmp_path / "torn").history == whole.history
    assert _equal(_weights(tmp_path / "whole"), _weights(tmp_path / "torn"))
    assert len(list((tmp_path / "torn").iterdir())) == 3


class _FillsTheDisk(gl.Progress):
    """Allows no file of more than 500 bytes from the third epoch on."""

    def say(self, text: str) -> None:
        if text.startswith("epoch 3 "):
            resource.setrlimit(resource.RLIMIT_FSIZE, (500, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))


def test_a_full_disk_leaves_the_checkpoint_before_to_go_on_from(tmp_path):
    whole = _train(tmp_path / "whole")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        with pytest.raises(gl.InputError, match=r"no space left on the disk while writing .*epoch-0003\..* and resume"):
            _train(tmp_path / "full", progress=_FillsTheDisk(shown=False))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert load_checkpoint(tmp_path / "full").settings["epoch"] == 2
    assert _train(tmp_path / "full").history == whole.history
    assert _equal(_weights(tmp_path / "whole"), _weights(tmp_path / "full"))


def test_a_finished_training_is_not_repeated(tmp_path):
    first = _train(tmp_path)
    files = {p: p.stat().st_mtime_ns for p in tmp_path.iterdir()}
    assert _train(tmp_path) == first
    assert {p: p.stat().st_mtime_ns for p in tmp_path.iterdir()} == files


def test_another_training_is_neither_resumed_nor_overwritten_unless_asked(tmp_path):
    _train(tmp_path, epochs=1)
    (tmp_path / "epoch-notes.txt").write_text("mine")
    with pytest.raises(gl.InputError, match=r"already holds a training, 1 of 1 epochs done; resume it \(--resume\)"):
        train(nn.Linear(2, 2), cross_entropy, (torch.zeros(2, 2), torch.zeros(2).long()), checkpoint_dir=tmp_path)
    other = Recipe("momentum", 0.02, 1, milestones=(4, 8), batch_size=16, augment=True)
    with pytest.raises(gl.InputError, match=r"recipe\.learning_rate was 0\.01 and is 0\.02$"):
        _train(tmp_path, recipe=other)
    _train(tmp_path, recipe=other, overwrite=True)
    assert load_checkpoint(tmp_path).settings["recipe"]["learning_rate"] == 0.02
    assert (tmp_path / "epoch-notes.txt").read_text() == "mine"


def test_without_the_optimiser_it_cannot_go_on(tmp_path):
    with pytest.raises(Killed):
        _train(tmp_path, progress=DiesAfter(3))
    (tmp_path / "epoch-0002.optimiser.safetensors").unlink()
    with pytest.raises(gl.InputError, match=r"epoch-0002.optimiser.safetensors is missing"):
        _train(tmp_path)


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_training_that_is_replaced_stays_until_the_new_one_is_whole(tmp_path):
    _train(tmp_path / "a", "sgd", 2, points=(0.5,))
    whole = _train(tmp_path / "whole", "adam")
    before = _weights(tmp_path / "a")
    for epoch in (1, 5, 12):
        with pytest.raises(Killed):
            _train(tmp_path / "a", "adam", overwrite=True, progress=DiesAfter(epoch))
        assert _equal(_weights(tmp_path / "a"), before)
    with pytest.raises(Killed):  # another one is begun anew
        _train(tmp_path / "a", "momentum", overwrite=True, progress=DiesAfter(2))
    with pytest.raises(Killed):
        _train(tmp_path / "a", "adam", overwrite=True, progress=DiesAfter(3))
    replaced = _train(tmp_path / "a", "adam", overwrite=True)
    assert replaced.checkpoint == tmp_path / "a" / f"epoch-{EPOCHS:04d}.safetensors"
    assert replaced.history == whole.history
    assert _equal(_weights(tmp_path / "a"), _weights(tmp_path / "whole"))
    assert _names(tmp_path / "a") == _names(tmp_path / "whole")


def test_killed_while_it_replaces_the_old_training_or_the_new_one_is_there(tmp_path):
    _train(tmp_path / "old", "sgd", 2, points=(0.5, 1))
    _train(tmp_path / "old", "sgd", 2, points=(0.5, 1), overwrite=True)
    shutil.copytree(tmp_path / "old", tmp_path / "begun")
    new = gl.Recipe("adam", 0.01, 2, milestones=(4, 8), batch_size=16, augment=True)
    with pytest.raises(Killed):
        _train(tmp_path / "begun", recipe=new, points=(0.5,), overwrite=True, progress=DiesAfter(2))
    _train(tmp_path / "new", recipe=new, points=(0.5,))
    both, seen, killed, kills = [_weights(tmp_path / name) for name in ("old", "new")], [], True, 0
    while killed:
        kills += 1
        folder = tmp_path / str(kills)
        shutil.copytree(tmp_path / "begun", folder)
        replacing = partial(_train, folder, recipe=new, points=(0.5,), overwrite=True)
        killed = killed_at_call(replacing, kills, CALLS)
        found = _weights(folder)
        seen.append([_equal(found, weights) for weights in both])
        assert sum(seen[-1]) == 1, kills
        _train(folder, recipe=new, points=(0.5,), overwrite=not seen[-1][1])
        assert _names(folder) == _names(tmp_path / "new")
        assert gl.verify(folder).whole
    assert seen == sorted(seen, reverse=True), "the old one until a moment, the new one from then on"
    assert 0 < sum(new for _, new in seen) < kills
    assert kills > 8


def test_killed_while_it_removes_the_checkpoint_before_it_ends_with_the_same_files(tmp_path):
    for keep_all in (False, True):
        _train(tmp_path / f"whole {keep_all}", "adam", 2, keep_all=keep_all)
        killed, kills = True, 0
        while killed:
            kills += 1
            folder = tmp_path / f"{kills} {keep_all}"
            again = partial(_train, folder, "adam", 2, keep_all=keep_all)
            killed = killed_at_call(again, kills, CALLS)
            again()
            assert _names(folder) == _names(tmp_path / f"whole {keep_all}"), kills
        assert kills > 6
