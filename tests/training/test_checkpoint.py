import json

import pytest
import safetensors.torch
import torch
from torch import nn
from torch.nn.functional import cross_entropy

import gradlaw as gl
from gradlaw.training import Recipe, load_checkpoint, train
from gradlaw.zoo import MODELS, ModelSettings, next_token_loss

SHAPES = {"lenet": (1, 28, 28), "resnet18": (1, 6, 6), "gpt": (5,)}
SIZES = {"resnet18": {"width": 2}, "gpt": {"width": 8, "depth": 1, "heads": 2}}
NETWORK = {"0.weight": (4, 3), "0.bias": (4,), "1.weight": (2, 4), "1.bias": (2,)}


def _network() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))


def _trained(name: str, folder, **options) -> tuple[nn.Module, gl.training.TrainingRun]:
    settings = ModelSettings(name, SHAPES.get(name, (6,)), 4, 2, SIZES.get(name, {}))
    model = settings.build()
    data = (torch.randn(9, *settings.sample_shape), torch.randint(4, (9,)))
    if name == "gpt":
        data = (torch.randint(4, (9, 5)), torch.randint(4, (9, 5)))
    loss = next_token_loss if name == "gpt" else cross_entropy
    recipe = Recipe("momentum", 0.01, epochs=2, batch_size=4)
    return model, train(model, loss, data, None, recipe, 0, folder, settings=settings, **options)


@pytest.mark.parametrize("name", MODELS)
def test_every_model_comes_back_bit_for_bit(name, tmp_path):
    model, run = _trained(name, tmp_path)
    for path in (tmp_path, run.checkpoint, run.checkpoint.with_suffix(".json")):
        restored = load_checkpoint(path).build()
        pairs = zip(model.state_dict().items(), restored.state_dict().items(), strict=True)
        assert all(a == b and torch.equal(x, y) for (a, x), (b, y) in pairs)
        assert restored.training


def test_parameters_that_are_shared_are_kept_once_and_stay_shared(tmp_path):
    model, run = _trained("gpt", tmp_path)
    saved = safetensors.torch.load_file(run.checkpoint)
    assert set(model.state_dict()) - set(saved) == {"readout.weight"}
    restored = load_checkpoint(run.checkpoint).build()
    assert restored.readout.weight is restored.tokens.weight
    both = {name: t.clone() for name, t in model.state_dict().items()}
    torch.save(both, tmp_path / "both.pt")
    assert torch.equal(load_checkpoint(tmp_path / "both.pt").restore(restored).tokens.weight, model.tokens.weight)


def test_the_last_epoch_or_all_are_kept(tmp_path):
    _trained("lnn", tmp_path / "last")
    _trained("lnn", tmp_path / "all", keep_all=True)
    names = {folder: sorted(p.name for p in (tmp_path / folder).iterdir()) for folder in ("last", "all")}
    assert names["last"] == ["epoch-0002.json", "epoch-0002.optimiser.safetensors", "epoch-0002.safetensors"]
    assert names["all"] == ["epoch-0001.json", "epoch-0001.safetensors", *names["last"]]
    first = load_checkpoint(tmp_path / "all/epoch-0001.safetensors")
    assert (first.settings["epoch"], len(first.settings["history"]), first.settings["training"]) == (1, 1, None)


@pytest.mark.parametrize("suffix", [".safetensors", ".pt", ".pth"])
@pytest.mark.parametrize("wrap", [
    lambda state: state,
    lambda state: {"state_dict": state, "epoch": 3},
    lambda state: {"model": state, "optimizer": {"lr": 0.1}},
    lambda state: {"model_state_dict": state},
    lambda state: {f"module.{name}": tensor for name, tensor in state.items()},
    lambda state: {"model": {f"_orig_mod.{name}": tensor for name, tensor in state.items()}},
])  # fmt: skip
def test_weights_of_anybody(tmp_path, suffix, wrap):
    source, target = _network(), _network()
    content = wrap(source.state_dict())
    if suffix == ".safetensors":
        if not all(isinstance(value, torch.Tensor) for value in content.values()):
            return
        safetensors.torch.save_file(content, tmp_path / "weights.safetensors")
    else:
        torch.save(content, tmp_path / f"weights{suffix}")
    (tmp_path / "weights.json").write_text(json.dumps({"hidden_size": 4}))  # of another program
    checkpoint = load_checkpoint(tmp_path / f"weights{suffix}")
    assert (checkpoint.settings, checkpoint.model) == ({}, None)
    checkpoint.restore(target)
    assert all(torch.equal(p, q) for p, q in zip(source.parameters(), target.parameters(), strict=True))
    with pytest.raises(gl.InputError, match="does not say which model it is of"):
        checkpoint.build()


def test_a_model_whose_own_names_begin_like_a_wrapper_is_left_alone(tmp_path):
    source, target = (nn.ModuleDict({"module": _network()}) for _ in range(2))
    torch.save(source.state_dict(), tmp_path / "wrapped.pt")
    load_checkpoint(tmp_path / "wrapped.pt").restore(target)
    assert all(torch.equal(p, q) for p, q in zip(source.parameters(), target.parameters(), strict=True))


def _without(name: str) -> dict[str, torch.Tensor]:
    return {key: torch.zeros(shape) for key, shape in NETWORK.items() if key != name}


@pytest.mark.parametrize(("state", "message"), [
    (_without("1.bias"), r"does not fit Sequential: it lacks 1.bias \(2,\)$"),
    (_without("") | {"2.bias": torch.zeros(2)}, r"does not fit Sequential: the model has no 2.bias$"),
    (_without("") | {"0.weight": torch.zeros(5, 3)},
     r"shapes differ: 0.weight is \(5, 3\) in the file and \(4, 3\) in the model$"),
    (_without("1.bias") | {"x": torch.zeros(1)}, r"it lacks 1.bias \(2,\); the model has no x$"),
    ({f"extra{i}": torch.zeros(1) for i in range(9)}, r"extra4 and 4 more$"),
])  # fmt: skip
def test_weights_that_do_not_fit_are_named_and_change_nothing(tmp_path, state, message):
    torch.save(state, tmp_path / "other.pt")
    model = _network()
    before = {name: t.clone() for name, t in model.state_dict().items()}
    with pytest.raises(gl.InputError, match=message):
        load_checkpoint(tmp_path / "other.pt").restore(model)
    assert all(torch.equal(t, before[name]) for name, t in model.state_dict().items())


def test_files_without_weights(tmp_path):
    def refused(name: str, message: str) -> None:
        with pytest.raises(gl.InputError, match=message):
            load_checkpoint(tmp_path / name)

    refused("nothing.pt", "there is no file")
    refused("", "holds no checkpoint")
    (tmp_path / "weights.npz").write_bytes(b"")
    refused("weights.npz", "are read from .safetensors files and from .pt")
    (tmp_path / "torn.safetensors").write_bytes(safetensors.torch.save(_without(""))[:-9])
    refused("torn.safetensors", "torn.safetensors is no whole safetensors file")
    (tmp_path / "torn.pt").write_bytes(b"PK\3\4 and not much more")
    refused("torn.pt", "torn.pt cannot be read as weights alone")
    torch.save(_network(), tmp_path / "whole.pt")
    refused("whole.pt", "save model.state_dict\\(\\), not the model")
    torch.save({"epoch": 3}, tmp_path / "none.pt")
    refused("none.pt", "holds no state_dict")


def test_weights_and_settings_must_belong_together(tmp_path):
    _, run = _trained("lnn", tmp_path)
    record = run.checkpoint.with_suffix(".json")
    settings = json.loads(record.read_text())
    safetensors.torch.save_file({**load_checkpoint(run.checkpoint).weights, "1.bias": torch.zeros(70)}, run.checkpoint)
    with pytest.raises(gl.InputError, match=r"does not hold the weights that epoch-0002.json describes"):
        load_checkpoint(run.checkpoint)
    record.write_text(json.dumps(settings | {"format": 99}))
    with pytest.raises(gl.InputError, match="has format 99; this version of gradlaw reads 1 and 2"):
        load_checkpoint(run.checkpoint)
    record.write_text("{")
    with pytest.raises(gl.InputError, match="is no JSON"):
        load_checkpoint(run.checkpoint)
