"""Which gradient was seen: what was done to it on its way to the optimiser is found out, or said to be unknown."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

import gradlaw as gl
from watched_loops import batches, network, train

NORM, VALUE = nn.utils.clip_grad_norm_, nn.utils.clip_grad_value_


def sgd(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=0.1)


def seen(change=None, steps: int = 1, accumulate: int = 1) -> dict:
    """The state of the last step."""
    model = network()
    optimizer = sgd(model)
    watch = gl.watch(model, optimizer, log=None, every=1)
    train(model, optimizer, steps, accumulate, change)
    return watch.last["gradient"]


def one_in_place(parameters: list[nn.Parameter]) -> None:
    parameters[0].grad.view(-1)[501] *= 1.5


def by_layer(parameters: list[nn.Parameter]) -> None:
    for p in parameters:
        NORM([p], 0.01)


CHANGES = {
    "nothing": (None, "unmodified", 1.0),
    "a norm that is not reached": (lambda ps: NORM(ps, 1e9), "unmodified", 1.0),
    "norm": (lambda ps: NORM(ps, 0.1), "rescaled", None),
    "halved through data": (lambda ps: [p.grad.data.mul_(0.5) for p in ps], "rescaled", 0.5),
    "replaced by a multiple": (lambda ps: [setattr(p, "grad", 3 * p.grad) for p in ps], "rescaled", 3.0),
    "by layer": (by_layer, "rescaled by parameter", None),
    "value": (lambda ps: VALUE(ps, 1e-3), "elementwise", None),
    "value that few reach": (lambda ps: VALUE(ps, 0.9 * float(ps[0].grad.abs().max())), "elementwise", None),
    "one value": (one_in_place, "elementwise", None),
    "noise": (lambda ps: [p.grad.add_(torch.randn_like(p), alpha=1e-4) for p in ps], "elementwise", None),
    "sign": (lambda ps: [p.grad.neg_() for p in ps], "elementwise", None),
    "to zero": (lambda ps: [p.grad.zero_() for p in ps[:1]], "rescaled by parameter", None),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_was_done_to_the_gradient_is_measured(change):
    work, expected, factor = CHANGES[change]
    state = seen(work)
    assert state["change"] == expected
    assert state["accumulated"] == (1, 1)
    if factor is not None:
        assert state["factor"] == pytest.approx(factor, rel=1e-6)


def test_the_factor_and_norm_of_clipping_are_those_of_pytorch():
    norms = []
    state = seen(lambda ps: norms.append(float(NORM(ps, 0.1))))
    assert state["delivered_norm"] == pytest.approx(norms[0], rel=1e-6)
    assert state["factor"] == pytest.approx(0.1 / norms[0], rel=1e-4)


@pytest.mark.parametrize("accumulate", [1, 2, 5])
def test_backward_passes_are_counted(accumulate):
    assert seen(None, 3, accumulate)["accumulated"] == (accumulate, accumulate)


@pytest.mark.parametrize("to_none", [True, False])
def test_gradients_that_were_thrown_away_do_not_count(to_none):
    model = network()
    optimizer = sgd(model)
    watch = gl.watch(model, optimizer, log=None, every=1)
    for inputs, labels in batches(3):
        model(inputs).sum().backward()  # of another loss, as a generator's pass through a discriminator
        optimizer.zero_grad(set_to_none=to_none)
        F.cross_entropy(model(inputs), labels).backward()
        optimizer.step()
        state = watch.last["gradient"]
        assert (state["change"], state["accumulated"], state["leftover"]) == ("unmodified", (1, 1), False)
        optimizer.zero_grad(set_to_none=to_none)


def test_gradients_that_nobody_threw_away_are_told():
    model = network()
    optimizer = sgd(model)
    watch = gl.watch(model, optimizer, log=None, every=1)
    told = []
    for inputs, labels in batches(3):
        F.cross_entropy(model(inputs), labels).backward()
        optimizer.step()
        told.append(watch.last["gradient"]["leftover"])
    assert told == [False, True, True]


def test_a_recomputed_forward_pass_is_no_second_gradient():
    model, tail = network(), nn.Linear(4, 4)
    both = nn.ModuleList([model, tail])
    for reentrant in (False, True):
        optimizer = sgd(both)
        watch = gl.watch(both, optimizer, log=None)
        inputs = torch.randn(8, 20, requires_grad=True)
        tail(checkpoint(model, inputs, use_reentrant=reentrant)).square().mean().backward()
        optimizer.step()
        state = watch.last["gradient"]
        assert (state["change"], state["accumulated"]) == ("unmodified", (1, 1))
        watch.close()
        optimizer.zero_grad()


def test_a_shared_parameter_has_one_gradient():
    model = nn.Sequential(nn.Linear(6, 6), nn.Linear(6, 6))
    model[1].weight = model[0].weight
    optimizer = sgd(model)
    watch = gl.watch(model, optimizer, log=None)
    model(torch.randn(8, 6)).square().mean().backward()
    optimizer.step()
    assert (watch.last["gradient"]["accumulated"], watch.last["layers"]["n"]) == ((1, 1), [42, 6])


def test_gradients_from_no_backward_pass_are_unknown_and_this_is_said_once():
    model = network()
    optimizer = sgd(model)
    watch = gl.watch(model, optimizer, log=None, every=1)
    inputs, labels = batches(1)[0]
    loss = F.cross_entropy(model(inputs), labels)
    for p, gradient in zip(model.parameters(), torch.autograd.grad(loss, list(model.parameters())), strict=True):
        p.grad = gradient
    with pytest.warns(UserWarning, match="cannot tell whether gradients were changed"):
        optimizer.step()
    optimizer.step()
    assert watch.last["gradient"]["change"] == "unknown"
    assert watch.last["gradient"]["accumulated"] is None
    assert watch.last["model"]["norm"] > 0


def test_a_backward_pass_that_failed_does_not_hide_the_next():
    model = network()
    optimizer = sgd(model)
    watch = gl.watch(model, optimizer, log=None)

    def fail(_):
        raise RuntimeError("out of memory")

    handle = model[0].bias.register_hook(fail)
    for inputs, labels in batches(2):
        try:
            F.cross_entropy(model(inputs), labels).backward()
        except RuntimeError:
            handle.remove()
            optimizer.zero_grad()
    optimizer.step()
    assert watch.last["gradient"]["change"] == "unmodified"


@pytest.mark.parametrize("clip", [None, 0.05])
@pytest.mark.parametrize("given", [True, False])
def test_a_gradient_scaler_is_seen_through(clip, given):
    """The statistics are those of the loss's own gradient; without the scaler the division is a factor, said aloud."""
    plain, model = network(), network()
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**12)
    optimizer, watches = sgd(model), []
    for m, o in ((plain, sgd(plain)), (model, optimizer)):
        watches.append(gl.watch(m, o, log=None, scaler=scaler if m is model and given else None))
        inputs, labels = batches(1)[0]
        loss = F.cross_entropy(m(inputs), labels)
        if m is plain:
            loss.backward()
            if clip is not None:
                NORM(m.parameters(), clip)
            o.step()
            continue
        scaler.scale(loss).backward()
        if clip is not None:
            scaler.unscale_(o)
            NORM(m.parameters(), clip)
        if given or clip is not None:
            scaler.step(o)
        else:
            with pytest.warns(UserWarning, match="divided by 4096 .* give it to gl.watch as scaler="):
                scaler.step(o)
    expected, found = (watch.last for watch in watches)
    for name in ("norm", "largest", "s", "d_ks"):
        assert found["layers"][name] == pytest.approx(expected["layers"][name], rel=1e-5, nan_ok=True), name
    state = found["gradient"]
    assert (state["loss_scale"], state["unscaled"]) == ((4096.0, True) if given else (None, None))
    assert state["change"] == ("unmodified" if given and clip is None else "rescaled")
    factor = expected["gradient"]["factor"] * (1 if given else 2.0**-12)
    assert state["factor"] == pytest.approx(factor, rel=1e-5)


def test_a_fused_optimiser_holds_the_scale_itself():
    model = network()
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**12)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, fused=True)
    watch = gl.watch(model, optimizer, log=None, every=1)
    for bad in (False, True):
        optimizer.zero_grad()
        inputs, labels = batches(1)[0]
        loss = F.cross_entropy(model(inputs), labels)
        gradients = torch.autograd.grad(loss, list(model.parameters()), retain_graph=True)
        norm = math.hypot(*(float(g.norm()) for g in gradients))
        scaler.scale(loss * (math.inf if bad else 1.0)).backward()
        scaler.step(optimizer)
        scaler.update()
        state = watch.last["gradient"]
        assert (state["loss_scale"], state["unscaled"], state["no_update"]) == (4096.0, False, bad)
        assert state["accumulated"] == (1, 1)  # autograd.grad adds to no parameter
        if not bad:
            assert watch.last["model"]["norm"] == pytest.approx(norm, rel=1e-5)
            assert state["delivered_norm"] == pytest.approx(norm, rel=1e-5)
            assert (state["change"], state["factor"]) == ("unmodified", 1.0)
    assert watch.last["model"]["non_finite_share"] == 1.0
    assert watch.last["model"]["update_norm"] == 0.0


def test_attempts_that_a_scaler_gave_up_are_counted():
    model = network()
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**12)
    optimizer = sgd(model)
    watch = gl.watch(model, optimizer, log=None, every=1, scaler=scaler)
    for inputs, labels in batches(4):
        bad = scaler.get_scale() > 2.0**10  # two steps are given up
        scaler.scale(F.cross_entropy(model(inputs), labels) * (math.inf if bad else 1.0)).backward()
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
    assert watch.step == 2
    assert watch.last["gradient"]["skipped"] == 0
    model = network()
    optimizer = sgd(model)
    watch = gl.watch(model, optimizer, log=None, every=1)
    for bad in (True, True, False):
        optimizer.zero_grad()
        (F.cross_entropy(model(inputs), labels) * (math.inf if bad else 1.0)).backward()
    optimizer.step()
    assert watch.last["gradient"]["skipped"] == 2
    assert watch.last["gradient"]["accumulated"] == (1, 1)


def test_gradients_that_were_never_divided_by_the_scale_are_told():
    model = network()
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**12)
    optimizer = sgd(model)
    watch = gl.watch(model, optimizer, log=None, scaler=scaler)
    inputs, labels = batches(1)[0]
    loss = F.cross_entropy(model(inputs), labels)
    scaler.scale(loss).backward()
    with pytest.warns(UserWarning, match=r"still multiplied by the loss scale 4096.0"):
        optimizer.step()
    state = watch.last["gradient"]
    assert (state["change"], state["unscaled"], state["factor"]) == ("unmodified", False, 1.0)


def test_bfloat16_autocast_changes_nothing_of_this():
    model = network()
    optimizer = sgd(model)
    watch = gl.watch(model, optimizer, log=None)
    inputs, labels = batches(1)[0]
    with torch.autocast("cpu", torch.bfloat16):
        loss = F.cross_entropy(model(inputs), labels)
    loss.backward()
    NORM(model.parameters(), 0.1)
    optimizer.step()
    assert watch.last["gradient"]["change"] == "rescaled"
    assert watch.last["model"]["norm"] == pytest.approx(0.1, rel=1e-4)


def test_a_model_in_bfloat16_is_watched():
    model = network().bfloat16()
    optimizer = sgd(model)
    watch = gl.watch(model, optimizer, log=None)
    inputs, labels = batches(1)[0]
    F.cross_entropy(model(inputs.bfloat16()), labels).backward()
    norm = math.hypot(*(float(p.grad.double().norm()) for p in model.parameters()))
    optimizer.step()
    assert watch.last["model"]["norm"] == pytest.approx(norm, rel=1e-12)
    assert watch.last["gradient"]["change"] == "unmodified"
