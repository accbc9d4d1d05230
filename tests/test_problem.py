import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy, mse_loss

import gradlaw as gl
from gradlaw.zoo import gpt


def _data(samples=12):
    return torch.randn(samples, 4), torch.randint(3, (samples,))


def test_layout_covers_the_parameters_in_order():
    model = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Linear(5, 3))
    problem = gl.Problem(model, cross_entropy, _data())
    assert problem.dimensions == sum(p.numel() for p in model.parameters()) == problem.layout[-1].stop
    assert [part.name for part in problem.layout] == [name for name, _ in model.named_parameters()]
    assert [part.layer_type for part in problem.layout[:4]] == ["Linear", "Linear", "BatchNorm1d", "BatchNorm1d"]
    assert all(a.stop == b.start for a, b in zip(problem.layout, problem.layout[1:], strict=False))


def test_a_parameter_belongs_to_the_innermost_module_that_has_a_kind():
    model = gl.build_model("gpt", (8,), 5, width=8, depth=2, heads=2)
    problem = gl.Problem(model, gpt.next_token_loss, (torch.zeros(2, 8, dtype=torch.long),) * 2)
    kinds = {"attention": gpt.CausalSelfAttention, "MLP": gpt.MLP, "vectors": (nn.Embedding, nn.LayerNorm)}
    groups = problem.dimensions_by_module(kinds)
    owner = {i: kind for kind, ranges in groups.items() for r in ranges for i in range(r.start, r.stop)}
    assert sorted(owner) == list(range(problem.dimensions))
    for part in problem.layout:
        expected = next((kind for kind in ("attention", "MLP") if kind.lower() in part.name), "vectors")
        assert {owner[i] for i in range(part.start, part.stop)} == {expected}, part
    # The type around takes what no inner type does; a shared parameter counts once, at its first module.
    outer = problem.dimensions_by_module({"block": gpt.Block, "norm": nn.LayerNorm})
    sizes = {kind: sum(r.stop - r.start for r in ranges) for kind, ranges in outer.items()}
    assert sizes == {"block": 2 * (4 * 8 * 8 + 4 * 8 + 8 * 8 * 8 + 5 * 8), "norm": 5 * 16}
    with pytest.raises(gl.InputError, match=r"no analysed parameter belongs to: readout.*Embedding, LayerNorm, Linear"):
        problem.dimensions_by_module({"readout": nn.Conv2d})
    with pytest.raises(gl.InputError, match="kinds is empty"):
        problem.dimensions_by_module({})


def test_patterns_choose_parameters_and_frozen_ones_are_left_out():
    model = nn.Sequential(nn.Linear(4, 5), nn.Linear(5, 3))
    model[1].bias.requires_grad_(False)
    assert [p.name for p in gl.Problem(model, cross_entropy, _data()).layout] == ["0.weight", "0.bias", "1.weight"]
    assert [p.name for p in gl.Problem(model, cross_entropy, _data(), parameters="*.weight").layout] == [
        "0.weight",
        "1.weight",
    ]


def test_dictionary_and_tuple_inputs_reach_the_model():
    class Sum(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.ones(()))

        def forward(self, left, right):
            return self.scale * (left - 2 * right)

    left, right, targets = torch.randn(6, 2), torch.randn(6, 2), torch.randn(6, 2)
    as_dict = gl.Problem(Sum(), mse_loss, ({"left": left, "right": right}, targets))
    as_tuple = gl.Problem(Sum(), mse_loss, ((left, right), targets))
    expected = (left - 2 * right - targets)[:3].square().mean()
    for problem in (as_dict, as_tuple):
        loss = problem.minibatch_loss({}, *problem.fetch(np.arange(3)))
        torch.testing.assert_close(loss, expected)


def test_a_map_style_dataset_gives_the_same_minibatches_as_its_tensors():
    inputs, targets = _data()

    class Rows(torch.utils.data.Dataset):
        def __len__(self):
            return len(inputs)

        def __getitem__(self, i):
            return inputs[i], int(targets[i])

    model = nn.Linear(4, 3)
    indices = np.array([[3, 1], [0, 7]])
    x, y = gl.Problem(model, cross_entropy, Rows()).fetch(indices)
    torch.testing.assert_close(x, inputs[indices])
    torch.testing.assert_close(y, targets[indices])
    assert gl.Problem(model, cross_entropy, torch.utils.data.TensorDataset(inputs, targets)).samples == 12


def test_arrays_are_taken_and_the_digest_follows_data_and_parameters():
    inputs, targets = _data()
    model = nn.Linear(4, 3)
    one = gl.Problem(model, cross_entropy, (inputs.numpy(), targets.numpy())).describe()
    assert one["data"]["sha256"] == gl.Problem(model, cross_entropy, (inputs, targets)).describe()["data"]["sha256"]
    with torch.no_grad():
        model.bias[0] += 1
    other = gl.Problem(model, cross_entropy, (inputs + 1, targets)).describe()
    assert other["data"]["sha256"] != one["data"]["sha256"]
    assert other["parameters_sha256"] != one["parameters_sha256"]


def _frozen():
    model = nn.Linear(4, 3)
    model.requires_grad_(False)
    return model


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: gl.Problem(_frozen(), cross_entropy, _data()), "no trainable parameters"),
        (lambda: gl.Problem(nn.ReLU(), cross_entropy, _data()), "no trainable parameters"),
        (lambda: gl.Problem(nn.Linear(4, 3), cross_entropy, _data(), parameters="fc*"), "'fc\\*'.*weight, bias"),
        (lambda: gl.Problem(nn.Linear(4, 3), cross_entropy, (torch.ones(3, 4), torch.ones(2))), "same first dimension"),
        (lambda: gl.Problem(nn.Linear(4, 3), cross_entropy, (torch.ones(0, 4), torch.ones(0))), "empty"),
        (lambda: gl.Problem(nn.Linear(4, 3), cross_entropy, torch.ones(3, 4)), "\\(inputs, targets\\)"),
        (lambda: gl.Problem(nn.Linear(4, 3), cross_entropy, ([1.0], [2])), "tensors or NumPy arrays"),
        (lambda: gl.Problem("lenet", cross_entropy, _data()), "torch.nn.Module"),
        (lambda: gl.Problem(nn.Linear(4, 3), "mean", _data()), "callable"),
        (lambda: gl.Problem(nn.Linear(4, 3), cross_entropy, _data(), randomness="yes"), "randomness"),
        (lambda: gl.Problem(nn.Linear(4, 3), cross_entropy, _data(), device="gpu"), "device 'gpu'"),
    ],
)
def test_bad_problems_are_refused(build, message):
    with pytest.raises(gl.InputError, match=message):
        build()


def test_a_parameter_whose_name_no_file_can_hold_is_refused():
    model = nn.Sequential()
    model.add_module("a\udc80", nn.Linear(3, 2))
    with pytest.raises(gl.InputError, match=r"text that a file can hold \(UTF-8\)"):
        gl.Problem(model, cross_entropy, (torch.randn(5, 3), torch.zeros(5).long()))


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_a_device_that_is_not_there_is_refused():
    with pytest.raises(gl.InputError, match="cuda"):
        gl.Problem(nn.Linear(4, 3), cross_entropy, _data(), device="cuda")


def test_a_pass_that_freezes_a_parameter_leaves_it_as_it_was():
    class Freezes(nn.Linear):
        def forward(self, x):
            self.bias.requires_grad_(False)
            return super().forward(x)

    problem = gl.Problem(Freezes(3, 1), nn.MSELoss(), (torch.ones(4, 3), torch.zeros(4, 1)))
    with problem.undisturbed(problem.state()):
        problem.plain_loss(*problem.fetch(np.arange(2)))
        assert not problem.model.bias.requires_grad
    assert problem.model.bias.requires_grad
