"""Points of a training: what they hold, and that nothing but files depends on them."""

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

import gradlaw as gl
from dies_after import DiesAfter, Killed
from gradlaw.cli.main import main
from gradlaw.training import Recipe, load_checkpoint, train
from gradlaw.training.epoch import evaluate
from gradlaw.training.points import checked_points

SAMPLES, BATCH, EPOCHS = 80, 8, 3  # 10 steps an epoch
POINTS = (0, 0.1, 0.5, 1, 1.7, 3)


def _data() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(SAMPLES, 1, 6, 6, generator=generator), torch.randint(3, (SAMPLES,), generator=generator)


def _model(*extra: nn.Module) -> nn.Module:
    torch.manual_seed(2)
    return nn.Sequential(nn.Flatten(), nn.Linear(36, 8), *extra, nn.Linear(8, 3))


def _train(folder: Path, points=POINTS, recipe: Recipe | None = None, **options) -> gl.training.TrainingRun:
    """With all that is random or has a state: dropout, batch norm, augmentation, momentum."""
    model = options.pop("model", None) or _model(nn.BatchNorm1d(8), nn.Dropout(0.3))
    recipe = recipe or Recipe("momentum", 0.01, EPOCHS, milestones=(2,), batch_size=BATCH, augment=True)
    return train(model, cross_entropy, _data(), None, recipe, 3, folder, resume=True, points=points, **options)


def _files(folder: Path, pattern: str = "*.safetensors") -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.glob(pattern)}


def test_a_point_is_where_the_plain_loop_of_pytorch_is_after_as_many_steps(tmp_path):
    inputs, targets = _data()
    run = train(_model(), cross_entropy, (inputs, targets), None, Recipe("sgd", 0.1, 2, batch_size=BATCH), 0,
                tmp_path, points=(0.3, 1.2), overwrite=True)  # fmt: skip
    assert len(run.history) == 2
    from gradlaw.training.batches import epoch_batches

    model = _model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, weight_decay=5e-4)
    batches = [*epoch_batches(SAMPLES, BATCH, 0, 0), *epoch_batches(SAMPLES, BATCH, 0, 1)]
    for steps, indices in enumerate(batches, 1):
        chosen = torch.from_numpy(indices)
        optimizer.zero_grad()
        cross_entropy(model(inputs[chosen]), targets[chosen]).backward()
        optimizer.step()
        if steps in (3, 12):
            point = load_checkpoint(tmp_path / f"point-{steps / 10:g}.safetensors")
            assert all(torch.equal(point.weights[name], tensor) for name, tensor in model.state_dict().items())
            score = evaluate(model, cross_entropy, inputs, targets)
            assert point.settings["training"] == {"loss": score.loss, "accuracy": score.accuracy}
            assert (point.settings["point"], point.settings["steps"]) == (steps / 10, steps)


def test_points_change_nothing_else(tmp_path):
    with_points, without = _train(tmp_path / "with"), _train(tmp_path / "without", ())
    assert (with_points.history, with_points.training) == (without.history, without.training)
    assert _files(tmp_path / "with", "epoch-*.safetensors") == _files(tmp_path / "without")


def test_the_first_and_last_points_are_start_and_end(tmp_path):
    _train(tmp_path)
    start = _model(nn.BatchNorm1d(8), nn.Dropout(0.3)).state_dict()
    assert all(torch.equal(start[name], t) for name, t in load_checkpoint(tmp_path / "point-0.json").weights.items())
    files = _files(tmp_path)
    assert files["point-3.safetensors"] == files["epoch-0003.safetensors"]


def test_a_training_that_goes_on_writes_the_same_points(tmp_path):
    _train(tmp_path / "whole")
    for epoch in (1, 2, 3):
        with pytest.raises(Killed):
            _train(tmp_path / "resumed", progress=DiesAfter(epoch))
    _train(tmp_path / "resumed")
    assert _files(tmp_path / "resumed") == _files(tmp_path / "whole")


def test_a_training_in_parts_is_the_same_training(tmp_path):
    whole = _train(tmp_path / "whole")
    first = _train(tmp_path / "parts", until=1)
    assert [row["epoch"] for row in first.history] == [1]
    assert first.training == gl.training.Score(**load_checkpoint(tmp_path / "parts/point-1.json").settings["training"])
    _train(tmp_path / "parts", until=2)
    assert load_checkpoint(tmp_path / "parts").settings["recipe"]["epochs"] == EPOCHS
    last = _train(tmp_path / "parts")
    assert (last.history, last.training) == (whole.history, whole.training)
    assert _files(tmp_path / "parts") == _files(tmp_path / "whole")


def test_a_training_past_its_end_or_a_point_is_refused(tmp_path):
    _train(tmp_path, (0.5,), until=2)
    with pytest.raises(gl.InputError, match="behind epoch 1, where this training is to stop"):
        _train(tmp_path, (0.5,), until=1)
    with pytest.raises(gl.InputError, match=r"past epoch 0\.7, which was not kept as a point"):
        _train(tmp_path, (0.5, 0.7))
    assert _train(tmp_path, (0.5, 2.5)).checkpoint is not None


@pytest.mark.parametrize(
    ("points", "message"),
    [
        ((-0.1,), "from 0 to 3"),
        ((3.1,), "from 0 to 3"),
        ((float("nan"),), "from 0 to 3"),
        ((0.5, 0.52), "both step 5 of the training, whose epochs have 10 steps"),
        ((0.01,), "less than half a step of an epoch of 10 steps"),
    ],
)
def test_points_that_are_none_are_refused(points, message):
    with pytest.raises(gl.InputError, match=message):
        checked_points(points, 3, 10)


def test_points_need_a_folder_and_a_loss(tmp_path):
    with pytest.raises(gl.InputError, match="give checkpoint_dir"):
        train(_model(), cross_entropy, _data(), points=(0.5,))
    broken = _model()
    with torch.no_grad():
        broken[1].weight.fill_(float("nan"))
    with pytest.raises(gl.InputError, match="that the training starts from cannot be evaluated"):
        _train(tmp_path, (0,), model=broken)


def test_points_of_a_training_without_a_checkpoint_and_overwritten_ones_are_removed(tmp_path):
    with pytest.raises(Killed):
        _train(tmp_path, (0.2,), progress=DiesAfter(1))
    assert set(_files(tmp_path)) == {"point-0.2.safetensors"}
    _train(tmp_path, (0.4,))
    assert "point-0.2.safetensors" not in _files(tmp_path)
    _train(tmp_path, (), overwrite=True)
    assert set(_files(tmp_path)) == {"epoch-0003.safetensors", "epoch-0003.optimiser.safetensors"}


def test_the_command_line_keeps_points(tmp_path):
    assert main(["train", "--epochs", "1", "--quiet", "--out", str(tmp_path), "--points", "0,0.5,1"]) == 0
    assert {file.stem for file in tmp_path.glob("point-*.json")} == {"point-0", "point-0.5", "point-1"}
