import copy
import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn.functional import cross_entropy, mse_loss
from torch.utils.data import Dataset

import gradlaw as gl
from gradlaw.training import OPTIMISERS, Recipe, load_checkpoint, train
from gradlaw.training.batches import epoch_batches
from gradlaw.training.epoch import evaluate
from gradlaw.zoo import ModelSettings, next_token_loss

SAMPLES = 50


@pytest.fixture
def data() -> tuple[torch.Tensor, torch.Tensor]:
    """Two classes on either side of a plane."""
    inputs = torch.randn(SAMPLES, 6)
    return inputs, (inputs.sum(dim=1) > 0).long()


def _model(*extra: nn.Module) -> nn.Module:
    torch.manual_seed(5)
    return nn.Sequential(nn.Linear(6, 9), *extra, nn.Tanh(), nn.Linear(9, 2))


def _same(one: nn.Module, other: nn.Module) -> bool:
    pairs = zip(one.state_dict().items(), other.state_dict().items(), strict=True)
    return all(a == b and torch.equal(x, y) for (a, x), (b, y) in pairs)


@given(st.integers(1, 200), st.integers(1, 60), st.integers(0, 5), st.integers(0, 5))
def test_an_epoch_holds_every_sample_once(samples, batch_size, seed, epoch):
    batches = epoch_batches(samples, batch_size, seed, epoch)
    assert sorted(np.concatenate(batches)) == list(range(samples))
    assert {len(batch) for batch in batches[:-1]} <= {batch_size}
    again = epoch_batches(samples, batch_size, seed, epoch)
    assert all(np.array_equal(a, b) for a, b in zip(batches, again, strict=True))


def test_epochs_and_seeds_have_orders_of_their_own_and_a_lone_sample_can_be_left_out():
    orders = {tuple(np.concatenate(epoch_batches(50, 8, seed, epoch))) for seed in range(3) for epoch in range(3)}
    assert len(orders) == 9
    assert [len(b) for b in epoch_batches(17, 8, 0, 0)] == [8, 8, 1]
    assert [len(b) for b in epoch_batches(17, 8, 0, 0, least=2)] == [8, 8]
    assert [len(b) for b in epoch_batches(18, 8, 0, 0, least=2)] == [8, 8, 2]


@pytest.mark.parametrize("optimiser", OPTIMISERS)
@pytest.mark.parametrize("clip_norm", [None, 0.1])
def test_training_is_the_plain_loop_of_pytorch(data, optimiser, clip_norm):
    inputs, targets = data
    recipe = Recipe(optimiser, 0.02, epochs=4, milestones=(2,), batch_size=16, weight_decay=0.01, clip_norm=clip_norm)
    trained, plain = _model(), _model()
    run = train(trained, cross_entropy, data, recipe=recipe, seed=3)
    make = torch.optim.Adam if optimiser == "adam" else torch.optim.SGD
    extra = {"momentum": 0.9} if optimiser == "momentum" else {}
    optimizer = make(plain.parameters(), lr=0.02, weight_decay=0.01, **extra)
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, [2])
    for epoch in range(4):
        total = right = 0.0
        for batch in epoch_batches(SAMPLES, 16, 3, epoch):
            output = plain(inputs[batch])
            loss = cross_entropy(output, targets[batch])
            optimizer.zero_grad()
            loss.backward()
            if clip_norm is not None:
                nn.utils.clip_grad_norm_(plain.parameters(), clip_norm)
            optimizer.step()
            total += loss.item() * len(batch)
            right += (output.argmax(dim=1) == targets[batch]).sum().item()
        schedule.step()
        assert run.history[epoch]["loss"] == pytest.approx(total / SAMPLES)
        assert run.history[epoch]["accuracy"] == right / SAMPLES
    assert _same(trained, plain)
    assert run.training.loss == pytest.approx(cross_entropy(plain(inputs), targets).item())
    assert [record["learning_rate"] for record in run.history] == pytest.approx([0.02, 0.02, 0.002, 0.002])


def test_it_learns_and_measures_on_test_data(data):
    inputs = torch.randn(200, 6)
    test = inputs, (inputs.sum(dim=1) > 0).long()
    model = _model()
    run = train(model, cross_entropy, data, test, Recipe("adam", 0.02, epochs=30))
    assert run.training.accuracy > 0.95
    assert run.test.accuracy == (model(inputs).argmax(dim=1) == test[1]).double().mean().item() > 0.8
    assert run.history[-1]["test_accuracy"] == run.test.accuracy
    assert list(run.to_frame()["epoch"]) == list(range(1, 31))
    assert run.checkpoint is None
    assert "accuracy" in str(run)


def test_the_starting_point_and_the_seed_decide_and_the_global_state_is_left_alone(data):
    recipe = Recipe(epochs=2, batch_size=8)
    models = [_model(nn.Dropout(0.5)) for _ in range(3)]
    before = torch.get_rng_state()
    for model, seed in zip(models, (1, 1, 2), strict=True):
        train(model, cross_entropy, data, recipe=recipe, seed=seed)
        torch.rand(3)
    assert torch.equal(torch.get_rng_state(), _advanced(before, 3))
    assert _same(models[0], models[1])
    assert not _same(models[0], models[2])


def _advanced(state: torch.Tensor, calls: int) -> torch.Tensor:
    generator = torch.Generator()
    generator.set_state(state)
    for _ in range(calls):
        torch.rand(3, generator=generator)
    return generator.get_state()


def test_scores_take_the_running_statistics_of_batch_norm_and_put_the_mode_back(data):
    model = _model(nn.BatchNorm1d(9))
    train(model, cross_entropy, data, recipe=Recipe(epochs=3, batch_size=7))  # 50 = 7 * 7 + 1
    assert model.training
    score = evaluate(model, cross_entropy, *data)
    assert model.training
    assert score.loss == pytest.approx(cross_entropy(copy.deepcopy(model).eval()(data[0]), data[1]).item())
    assert model[1].num_batches_tracked == 3 * 7  # the lone sample of each epoch was left out


def test_numbers_as_targets_have_no_accuracy(data):
    run = train(nn.Linear(6, 1), mse_loss, (data[0], data[0].sum(dim=1, keepdim=True)), recipe=Recipe(epochs=30))
    assert run.training.accuracy is None
    assert run.history[0]["accuracy"] is None
    assert run.training.loss < run.history[0]["loss"]


def test_texts_count_every_character():
    tokens = torch.randint(5, (12, 9))
    model = gl.build_model("gpt", (8,), 5, width=8, depth=1, heads=2)
    run = train(
        model, next_token_loss, (tokens[:, :-1], tokens[:, 1:]), recipe=Recipe("adam", 0.01, epochs=2, batch_size=5)
    )
    expected = (model(tokens[:, :-1]).argmax(dim=-1) == tokens[:, 1:]).double().mean().item()
    assert run.training.accuracy == pytest.approx(expected)


def test_images_are_augmented_only_when_asked(data):
    images = torch.randn(SAMPLES, 1, 5, 5)
    models = []
    for augment in (False, True, True):
        torch.manual_seed(1)
        models.append(nn.Sequential(nn.Flatten(), nn.Linear(25, 2)))
        train(models[-1], cross_entropy, (images, data[1]), recipe=Recipe(epochs=2, augment=augment))
    assert not _same(models[0], models[1])
    assert _same(models[1], models[2])
    with pytest.raises(gl.InputError, match=r"only images \(C, H, W\) can be flipped and cropped, got samples \(6,\)"):
        train(_model(), cross_entropy, data, recipe=Recipe(epochs=1, augment=True))


def test_parameters_that_overflow_in_the_last_step_are_refused(data):
    recipe = Recipe(learning_rate=1e38, epochs=3, batch_size=SAMPLES, weight_decay=1e3)
    with pytest.raises(gl.InputError, match=r"in epoch 1: its last step left parameters .* no checkpoint was made"):
        train(_model(), cross_entropy, data, recipe=recipe)


def test_test_data_without_a_finite_loss_are_refused(data):
    test = torch.full((4, 6), torch.inf), torch.zeros(4).long()
    with pytest.raises(gl.InputError, match="diverged in epoch 1: the mean loss in evaluation mode is nan"):
        train(nn.Linear(6, 2), cross_entropy, data, test, Recipe(epochs=2))


class _FailsLater(nn.Module):
    """cross_entropy that is infinite from its 14th minibatch in training on."""

    calls = 0

    def forward(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        self.calls += outputs.requires_grad
        return cross_entropy(outputs, targets) * (math.inf if self.calls >= 14 else 1.0)


def test_the_last_good_checkpoint_is_named_and_loads(data, tmp_path):
    recipe = Recipe(epochs=3, batch_size=5)  # 10 steps an epoch
    with pytest.raises(gl.InputError) as caught:
        train(_model(), _FailsLater(), data, recipe=recipe, checkpoint_dir=tmp_path)
    assert str(caught.value) == (
        f"the training diverged in epoch 2: the loss is inf in step 4 of 10 (learning rate 0.1); the last good "
        f"checkpoint is {tmp_path / 'epoch-0001.safetensors'}. Lower the learning rate or set clip_norm"
    )
    checkpoint = load_checkpoint(tmp_path)
    assert checkpoint.settings["epoch"] == 1
    assert _finite(checkpoint.restore(_model()))


def _finite(model: nn.Module) -> bool:
    return all(torch.isfinite(p).all() for p in model.parameters())


class _Pairs(Dataset):
    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return torch.zeros(6), index % 2


def test_what_cannot_be_trained(data, tmp_path):
    norm = _model(nn.BatchNorm1d(9))
    with pytest.raises(gl.InputError, match="batch norm cannot normalise a minibatch of a single sample"):
        train(norm, cross_entropy, data, recipe=Recipe(batch_size=1))
    with pytest.raises(gl.InputError, match="two tensors or arrays"):
        train(_model(), cross_entropy, _Pairs())
    with pytest.raises(gl.InputError, match="same first dimension"):
        train(_model(), cross_entropy, (data[0], data[1][:-1]))
    (tmp_path / "file").write_text("")
    with pytest.raises(gl.InputError, match="cannot be made"):
        train(_model(), cross_entropy, data, checkpoint_dir=tmp_path / "file" / "folder")


def test_checkpoints_record_every_setting(tmp_path):
    data = gl.load_data("digits")
    noisy = gl.corrupt_labels(data, "symmetric", 0.3, seed=4)
    settings = ModelSettings("fcn", data.sample_shape, data.classes, 6, {"width": 8})
    run = train(settings.build(), cross_entropy, noisy, data, Recipe(epochs=2), 7, tmp_path, settings=settings)
    record = json.loads(run.checkpoint.with_suffix(".json").read_text())
    assert record["model"] == {"name": "fcn", "sample_shape": [1, 8, 8], "classes": 10, "seed": 6,
                               "sizes": {"width": 8}, "initialisation": "pytorch"}  # fmt: skip
    assert (record["seed"], record["epoch"], record["loss"]) == (7, 2, "cross_entropy")
    assert record["data"]["label_noise"]["realised_rate"] == noisy.source.label_noise.realised_rate
    assert record["data"]["sha256"] != record["test_data"]["sha256"]
    assert record["recipe"]["weight_decay"] == 5e-4
    assert record["history"] == run.history
    assert record["training"]["accuracy"] == run.training.accuracy
    assert record["versions"]["torch"].partition("+")[0] == torch.__version__.partition("+")[0]
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "epoch-0002.json", "epoch-0002.optimiser.safetensors", "epoch-0002.safetensors",
    ]  # fmt: skip


def test_real_images_are_learnt(mnist_folder):
    data, test = (gl.load_data(str(mnist_folder), split) for split in ("train", "test"))
    model = gl.build_model("lenet", data.sample_shape, data.classes)
    run = train(model, cross_entropy, data.tensors, test.tensors, Recipe("adam", 0.001, epochs=4, batch_size=32))
    assert run.test.accuracy > 0.9


def _convolutional() -> nn.Module:
    torch.manual_seed(5)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 5, 2), nn.Flatten(), nn.Linear(20, 2)
    )


@pytest.mark.parametrize("augment", [False, True])
def test_channels_last_is_the_same_training_but_for_rounding_and_leaves_the_model_as_it_was(augment, tmp_path):
    images = torch.randn(SAMPLES, 3, 8, 8).double(), torch.arange(SAMPLES) % 2
    recipe = Recipe(epochs=3, batch_size=16, augment=augment, optimiser="momentum")
    seen, models = [], [_convolutional().double() for _ in range(2)]
    for model, channels_last in zip(models, (False, True), strict=True):
        hook = model[3].register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].stride()))
        train(
            model,
            cross_entropy,
            images,
            None,
            recipe,
            channels_last=channels_last,
            checkpoint_dir=tmp_path / str(channels_last),
        )
        hook.remove()
    for one, other in zip(models[0].parameters(), models[1].parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)
    assert all(p.is_contiguous() for p in models[1].parameters())
    assert {strides[1] for strides in seen[: len(seen) // 3]} == {9}  # one channel after the other
    assert {strides[1] for strides in seen[len(seen) // 2 + 2 : -1]} == {1}
    assert load_checkpoint(tmp_path / "True").settings["channels_last"] is True
    with pytest.raises(gl.InputError, match="channels_last was False and is True"):
        train(
            _convolutional().double(),
            cross_entropy,
            images,
            None,
            recipe,
            checkpoint_dir=tmp_path / "False",
            channels_last=True,
            resume=True,
        )


def test_channels_last_of_what_are_no_images_is_refused(data):
    with pytest.raises(gl.InputError, match=r"channels_last is for images \(C, H, W\), got samples \(6,\)"):
        train(_model(), cross_entropy, data, channels_last=True)


def test_a_training_channels_last_resumes_to_the_same_bits(tmp_path):
    images = torch.randn(SAMPLES, 3, 8, 8), torch.arange(SAMPLES) % 2
    recipe = Recipe(epochs=3, batch_size=16, augment=True, optimiser="momentum")
    whole, parts = _convolutional(), _convolutional()
    train(whole, cross_entropy, images, None, recipe, channels_last=True)
    train(parts, cross_entropy, images, None, recipe, channels_last=True, checkpoint_dir=tmp_path, until=1)
    parts = _convolutional()
    train(parts, cross_entropy, images, None, recipe, channels_last=True, checkpoint_dir=tmp_path, resume=True)
    assert _same(whole, parts)
