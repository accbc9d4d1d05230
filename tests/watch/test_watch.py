"""``gl.watch`` around a loop: it changes nothing of the training, and refuses what it cannot see."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import gradlaw as gl
from watched_loops import batches, network, train


def bits(model: nn.Module) -> list[torch.Tensor]:
    return [value.clone() for value in model.state_dict().values()]


def train_with_dropout(watched: bool, **arguments) -> tuple[list[torch.Tensor], torch.Tensor]:
    model = network()
    model.insert(2, nn.Dropout(0.3))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    if watched:
        gl.watch(model, optimizer, log=None, **arguments)
    torch.manual_seed(5)
    train(model, optimizer, 7, 2, lambda ps: nn.utils.clip_grad_norm_(ps, 0.5))
    return bits(model), torch.get_rng_state()


@pytest.mark.parametrize("every", [1, 3])
def test_watching_changes_no_bit_of_the_training(every):
    plain, watched = train_with_dropout(False), train_with_dropout(True, every=every)
    assert all(torch.equal(a, b) for a, b in zip(plain[0], watched[0], strict=True))
    assert torch.equal(plain[1], watched[1])


def test_a_closed_watch_leaves_no_hook():
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with gl.watch(model, optimizer, log=None, every=1) as watch:
        train(model, optimizer, 2)
    train(model, optimizer, 2)
    assert watch.step == 2
    assert all(not p._backward_hooks and not p._post_accumulate_grad_hooks for p in model.parameters())
    assert not optimizer._optimizer_step_pre_hooks
    assert not optimizer._optimizer_step_post_hooks


def test_parameters_have_hooks_before_a_watched_step_only():
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    gl.watch(model, optimizer, log=None, every=3)
    hooked = [bool(model[0].weight._backward_hooks)]
    for _ in range(6):
        train(model, optimizer, 1)
        hooked.append(bool(model[0].weight._backward_hooks))
    assert hooked == [True, False, False, True, False, False, True]


def test_a_closure_is_watched_after_it_has_run():
    """Lightning hands its whole training step to the optimiser so."""
    model, twin = network(), network()
    optimizer, plain = (torch.optim.Adam(m.parameters(), lr=1e-2) for m in (model, twin))
    watch = gl.watch(model, optimizer, log=None, every=1)
    for positional, (inputs, labels) in enumerate(batches(2)):

        def closure(m: nn.Module, o: torch.optim.Optimizer, inputs=inputs, labels=labels) -> torch.Tensor:
            o.zero_grad()
            loss = F.cross_entropy(m(inputs), labels)
            loss.backward()
            return loss.detach()

        expected = float(plain.step(lambda: closure(twin, plain)))
        norm = torch.cat([p.grad.double().reshape(-1) for p in twin.parameters()]).norm()
        work = lambda: closure(model, optimizer)  # noqa: E731
        assert float(optimizer.step(work) if positional else optimizer.step(closure=work)) == expected
        assert watch.last["model"]["norm"] == pytest.approx(float(norm), rel=1e-12)
        assert watch.last["gradient"]["change"] == "unmodified"
    assert all(torch.equal(a, b) for a, b in zip(bits(model), bits(twin), strict=True))


def test_two_optimisers_have_a_watch_each():
    generator, critic = nn.Linear(4, 6), nn.Linear(6, 1)
    optimizers = [torch.optim.Adam(m.parameters(), lr=1e-2) for m in (generator, critic)]
    watches = [gl.watch(m, o, log=None, every=1) for m, o in zip((generator, critic), optimizers, strict=True)]
    for _ in range(3):
        optimizers[1].zero_grad()
        (critic(torch.randn(8, 6)).mean() - critic(generator(torch.randn(8, 4)).detach()).mean()).backward()
        expected = torch.cat([p.grad.double().reshape(-1) for p in critic.parameters()]).norm()
        optimizers[1].step()
        optimizers[0].zero_grad()
        critic(generator(torch.randn(8, 4))).mean().backward()  # leaves a gradient in the critic too
        optimizers[0].step()
    assert [watch.step for watch in watches] == [3, 3]
    for watch in watches:
        state = watch.last["gradient"]
        assert (state["change"], state["accumulated"], state["leftover"]) == ("unmodified", (1, 1), False)
    assert watches[1].last["model"]["norm"] == pytest.approx(float(expected), rel=1e-12)


def test_parameters_that_come_later_are_watched_from_then_on(tmp_path):
    model = network()
    optimizer = torch.optim.SGD(model[0].parameters(), lr=0.1)
    gl.watch(model, optimizer, log=tmp_path / "log.jsonl", every=1)
    train(model, optimizer, 2)
    optimizer.add_param_group({"params": list(model[2].parameters())})
    with pytest.warns(UserWarning, match="cannot tell"):  # of this one step: its passes were not seen
        train(model, optimizer, 2)
    log = gl.read_watch(tmp_path / "log.jsonl")
    assert log.to_frame().groupby("step", sort=False).layer.agg(list).tolist() == [
        ["(model)", "0"], ["(model)", "0"], ["(model)", "0", "2"], ["(model)", "0", "2"],
    ]  # fmt: skip
    assert log.gradients().change.tolist() == ["unmodified", "unmodified", "unknown", "unmodified"]


def test_frozen_and_chosen_parameters():
    model = network()
    model[0].requires_grad_(False)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    watch = gl.watch(model, optimizer, log=None, parameters=["2.*", "4.weight"])
    train(model, optimizer, 1)
    assert watch.last["layers"]["n"] == [3660, 240]
    with pytest.raises(gl.InputError, match=r"no parameter that matches '9.\*'; there are: 0.weight"):
        gl.watch(model, optimizer, log=None, parameters="9.*")


def test_a_compiled_module_keeps_its_names():
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    watch = gl.watch(torch.compile(model, backend="eager"), optimizer, log=None)
    assert [layer.name for layer in watch._layers] == ["0", "2", "3", "4"]


def test_a_watch_goes_on_from_a_checkpoint():
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    watch = gl.watch(model, optimizer, log=None, every=2)
    train(model, optimizer, 3)
    saved = copy.deepcopy((model.state_dict(), optimizer.state_dict(), watch.state_dict()))
    train(model, optimizer, 2)
    other = network(1)
    again = torch.optim.SGD(other.parameters(), lr=0.1, momentum=0.9)
    other.load_state_dict(saved[0])
    again.load_state_dict(saved[1])
    resumed = gl.watch(other, again, log=None, every=2, start=saved[2]["step"])
    resumed.load_state_dict(saved[2])
    train(other, again, 2)
    assert {k: v for k, v in resumed.last.items() if k != "time"} == {
        k: v for k, v in watch.last.items() if k != "time"
    }
    with pytest.raises(gl.InputError, match="the state is of step 3; make the watch with start=3"):
        resumed.load_state_dict(saved[2])


def refused(model: nn.Module, optimizer: object = None, **arguments) -> str:
    optimizer = optimizer or torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(gl.InputError) as caught:
        gl.watch(model, optimizer, log=None, **arguments)
    return str(caught.value)


def test_what_cannot_be_watched_is_refused():
    model = network()
    assert "several gradients a step" in refused(model, torch.optim.LBFGS(model.parameters()))
    assert "parameters that Linear does not have" in refused(nn.Linear(2, 2), torch.optim.SGD(model.parameters()))
    assert "makes sparse gradients" in refused(nn.Embedding(9, 3, sparse=True))
    assert "is complex" in refused(nn.ParameterList([torch.randn(3, dtype=torch.complex64)]))
    assert "meta device" in refused(nn.Linear(3, 3, device="meta"))
    assert "must be a torch.optim.Optimizer, got str" in refused(model, "adam")
    assert "must be a torch.nn.Module" in refused("model", torch.optim.SGD(model.parameters()))
    assert "every must be at least 1" in refused(model, every=0)
    assert 'layers must be "module", "parameter"' in refused(model, layers="block")
    assert "must return the name of a layer, got 3" in refused(model, layers=lambda name: 3)
    assert "loggers takes a TensorBoard SummaryWriter" in refused(model, loggers=["wandb"])
    lazy = nn.LazyLinear(3)
    assert "no shape yet" in refused(lazy, torch.optim.SGD([*lazy.parameters()]))


def test_sparse_gradients_that_nobody_announced_are_refused():
    table = nn.Embedding(9, 3)
    optimizer = torch.optim.SGD(table.parameters(), lr=0.1)
    gl.watch(table, optimizer, log=None)
    with pytest.raises(gl.InputError, match="is sparse"):
        F.embedding(torch.tensor([1, 2]), table.weight, sparse=True).sum().backward()


def test_an_optimiser_that_evaluates_twice_is_refused():
    class Twice(torch.optim.SGD):
        def step(self, closure=None):
            closure()
            return super().step(closure)

    model = network()
    optimizer = Twice(model.parameters(), lr=0.1)
    gl.watch(model, optimizer, log=None)
    inputs, labels = batches(1)[0]

    def closure() -> torch.Tensor:
        loss = F.cross_entropy(model(inputs), labels)
        loss.backward()
        return loss

    with pytest.raises(gl.InputError, match="evaluates its closure several times a step"):
        optimizer.step(closure)
