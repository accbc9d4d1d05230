"""What engines rely on is shown on the minibatches that they are used on; what cannot be relied on is refused."""

import copy
import random
import threading

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import gradlaw as gl
from gradlaw.history.engines.cost import count_pass
from gradlaw.history.engines.layerwise import LayerwiseEngine
from gradlaw.history.engines.loop import LoopEngine
from gradlaw.history.engines.verify import Disagreement, Verification
from gradlaw.minibatches import Minibatches

SAMPLES = 300


@pytest.fixture
def data():
    torch.manual_seed(1)
    return torch.randn(SAMPLES, 6), torch.randint(3, (SAMPLES,))


class Wrapped(nn.Module):
    """A small network in a forward pass of the test's own."""

    def __init__(self, forward, **attributes):
        super().__init__()
        torch.manual_seed(2)
        self.net = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))
        self.own = forward
        for name, value in attributes.items():
            setattr(self, name, value)

    def forward(self, x):
        return self.own(self, x)


def _plain(model, loss, data, iterations, batch_size, seed=0) -> Tensor:
    """Plain autograd, minibatch by minibatch."""
    rows = []
    for indices in Minibatches(len(data[1]), batch_size, iterations, seed):
        chosen = torch.from_numpy(indices.copy())
        value = loss(model(data[0][chosen]), data[1][chosen])
        found = torch.autograd.grad(value, list(model.parameters()), allow_unused=True)
        pieces = [torch.zeros_like(p) if g is None else g for g, p in zip(found, model.parameters(), strict=True)]
        rows.append(torch.cat([piece.to_dense().flatten() for piece in pieces]))
    return torch.stack(rows)


def _collected(model, loss, data, iterations, batch_size, tolerance=2e-6, **settings) -> gl.GradientHistory:
    """A history that has been compared with plain autograd."""
    history = gl.collect(gl.Problem(model, loss, data), iterations, batch_size, **settings)
    torch.testing.assert_close(
        history.gradients, _plain(model, loss, data, iterations, batch_size), rtol=0, atol=tolerance
    )
    return history


# Losses that are not the mean over samples


def _weighted(out, y):
    return F.cross_entropy(out, y, torch.tensor([1.0, 1.0, 20.0]))


def _hardest(out, y):
    each = F.cross_entropy(out, y, reduction="none")
    weights = (each / each.max()).detach()
    return (weights * each).sum() / weights.sum()


def _balanced(out, y):
    """Equal in value to the mean over samples, and with another gradient."""
    mean = F.cross_entropy(out, y)
    spread = out.var(dim=0).sum() if len(out) > 1 else out.sum() * 0
    return mean + spread - spread.detach()


@pytest.mark.parametrize("loss", [_weighted, _hardest, _balanced])
def test_a_loss_that_is_not_a_mean_is_seen_in_whatever_minibatch_shows_it(data, loss):
    inputs, labels = data[0], data[1].remainder(2)
    labels[:3] = 2  # one sample in a hundred
    model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))
    history = _collected(model, loss, (inputs, labels), 200, 170)
    assert any("is not the mean over its samples" in notice for notice in history.notices)
    with pytest.raises(gl.InputError, match="is not the mean over its samples"):
        gl.collect(gl.Problem(model, loss, (inputs, labels)), 200, 170, engine="samplewise")


def test_the_mean_over_samples_is_proven_without_a_notice(data):
    model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))
    history = _collected(model, F.cross_entropy, data, 200, 170, tolerance=1e-6)
    assert history.settings["engine"] == "samplewise"
    assert not history.notices


# Control flow and shapes that depend on data


def _rare(self, x):
    h = self.net[0](x)
    large = x[:, :1] > 2.4
    return self.net[2](torch.where(large, self.token, h) if large.any() else h)


def _by_list(self, x):
    return self.net(x) + sum((self.token[:3] for v in x[:, 0].tolist() if v > 2.4), torch.zeros(3))


def _ragged(self, x):
    rows = torch.nonzero(x[:, 0] > 0).squeeze(1)
    out = self.net[0](x)
    return self.net[2](out.index_add(0, rows, self.net[0](x[rows])))


def _flagged(self, x):
    """No value is read: the whole minibatch changes if one sample is large."""
    return self.net(x / x.abs().amax().clamp(min=2.4))


@pytest.mark.parametrize("forward", [_rare, _by_list, _ragged, _flagged])
@pytest.mark.parametrize("batch_size", [1, 2, 20])
def test_control_flow_that_depends_on_data(data, forward, batch_size):
    model = Wrapped(forward, token=nn.Parameter(torch.randn(8)))
    history = _collected(model, F.cross_entropy, data, min(200, 290 // batch_size), batch_size, tolerance=1e-5)
    assert history.unused == ([] if forward in (_rare, _by_list) else ["token"])
    problem = gl.Problem(model, F.cross_entropy, data)
    spectrum = gl.gradient_spectrum(problem, False, iterations=len(history), batch_size=batch_size)
    expected = torch.linalg.svdvals(history.gradients.double()).square() / len(history)
    np.testing.assert_allclose(spectrum.eigenvalues[:5], expected[:5], rtol=1e-4)


def test_a_run_goes_on_with_another_engine_and_keeps_what_it_has():
    """From some sample on a layer is used a second time; shapes show it where it happens."""

    def forward(self, x):
        h = torch.tanh(self.net[0](x))
        return self.net[2](h) if len(x) > 300 else self.net[2](h) + 0 * self.net[2](h)

    torch.manual_seed(3)
    data = torch.randn(2000, 6), torch.randint(3, (2000,))
    history = _collected(Wrapped(forward), F.cross_entropy, data, 1000, 1)
    assert history.settings["engine"] == "vmap"
    assert any("engine layerwise left at iteration 0: layer 'net.2' is called 1 times" in n for n in history.notices)


def test_parameters_that_some_minibatches_use_are_not_called_unused(data):
    model = Wrapped(_rare, token=nn.Parameter(torch.randn(8)))
    history = _collected(model, F.cross_entropy, data, 200, 1, tolerance=1e-5)
    assert "some minibatches depend on these parameters and others do not: token" in history.notices
    decayed = gl.collect(gl.Problem(model, F.cross_entropy, data), 200, 1, transforms=(gl.WeightDecay(0.1),))
    theta = torch.cat([p.detach().flatten() for p in model.parameters()])
    torch.testing.assert_close(decayed.gradients, history.gradients + 0.1 * theta, rtol=0, atol=1e-6)


def test_every_band_of_work_is_compared_with_the_reference(data):
    model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))
    problem = gl.Problem(model, F.cross_entropy, data)
    minibatches = Minibatches(SAMPLES, 1, 200)
    verification = Verification(problem, LoopEngine(problem, 0), minibatches)
    engine = LayerwiseEngine(problem, [minibatches[0], minibatches[1]])
    rows = torch.empty(200, problem.dimensions)
    losses = engine.gradients(0, list(minibatches), rows)
    verification.check("layerwise", 0, rows, losses)
    assert int(losses.argmax()) in verification.compared or len(verification.compared) == 1
    assert verification.difference < 1e-6
    rows[:, 3] += 1e-2 * rows.norm(dim=1)
    with pytest.raises(Disagreement, match=r"disagrees with plain autograd on iteration \d+ in 0.weight"):
        verification.check("layerwise", 0, rows, losses)


def test_a_kink_is_rounding_and_a_wrong_gradient_is_not():
    """At a tie of a maximum any gradient between is right; theta moved by eps goes from one to the other."""
    model = nn.Sequential(nn.Linear(2, 2, bias=False))
    with torch.no_grad():
        model[0].weight.fill_(1.0)
    problem = gl.Problem(model, lambda out, y: out.max(dim=1).values.mean(), (torch.ones(4, 2), torch.zeros(4)))
    verification = Verification(problem, LoopEngine(problem, 0), Minibatches(4, 1, 4))
    flipped = torch.tensor([0.0, 0.0, 1.0, 1.0])
    verification.compare("some", 0, flipped)
    with pytest.raises(Disagreement):
        verification.compare("some", 1, torch.tensor([9.0, 0.0, 0.0, 0.0]))


# Randomness and state


def test_functional_dropout(data):
    model = Wrapped(lambda self, x: self.net(F.dropout(x, 0.3)))
    with pytest.raises(gl.InputError, match=r"random numbers are drawn in Wrapped"):
        gl.collect(gl.Problem(model, F.cross_entropy, data), 50, 32)
    history = gl.collect(gl.Problem(model, F.cross_entropy, data, randomness="seeded"), 60, 5)
    assert gl.gradient_spectrum(history).rank == 59
    assert history.rounding < 1e-5


GENERATOR = np.random.default_rng(5)


def _with(draw):
    return lambda self, x: self.net(x * (1 + 0.1 * draw(self)))


@pytest.mark.parametrize(
    ("draw", "attributes"),
    [
        (lambda self: torch.rand((), generator=self.held), {"held": torch.Generator().manual_seed(1)}),
        (lambda self: self.held["inner"].random(), {"held": {"inner": np.random.default_rng(1)}}),
        (lambda self: self.held.random(), {"held": random.Random(1)}),
        (lambda self: GENERATOR.random(), {}),
        (lambda self: float(np.random.rand()), {}),  # noqa: NPY002
        (lambda self: random.random(), {}),
    ],
    ids=["torch", "numpy in a dict", "python", "module level", "numpy's own", "python's own"],
)
def test_generators_of_all_kinds_are_found_and_seeded(data, draw, attributes):
    model = Wrapped(_with(draw), **attributes)
    with pytest.raises(gl.InputError, match="random at fixed parameters"):
        gl.collect(gl.Problem(model, F.cross_entropy, data), 10, 4)
    problem = gl.Problem(model, F.cross_entropy, data, randomness="seeded")
    one, same, other = (gl.collect(problem, 10, SAMPLES, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(one.gradients, same.gradients)
    assert not torch.equal(one.gradients, other.gradients)
    assert gl.gradient_spectrum(one).rank > 0  # one minibatch, ten draws


def test_entropy_that_cannot_be_seeded_is_refused_either_way(data):
    model = Wrapped(lambda self, x: self.net(x * float(np.random.default_rng().random())))
    for randomness, how in (("refuse", "two passes over the same minibatch"), ("seeded", "even with the generators")):
        with pytest.raises(gl.InputError, match=how):
            gl.collect(gl.Problem(model, F.cross_entropy, data, randomness=randomness), 10, 4)


def test_a_pass_starts_from_the_attributes_that_the_model_has(data):
    def forward(self, x):
        self.calls += 1
        self.mean.mul_(0.9).add_(0.1 * x.detach().mean(0))
        self.log.append(len(x))
        self.cache = x
        return self.net(x - self.mean) / self.calls

    state = {"calls": 0, "mean": torch.zeros(6), "log": []}
    model = Wrapped(forward, **state)
    history = gl.collect(gl.Problem(model, F.cross_entropy, data), 20, 5)
    for t, indices in enumerate(Minibatches(SAMPLES, 5, 20)):
        fresh = Wrapped(forward, calls=0, mean=torch.zeros(6), log=[])
        chosen = torch.from_numpy(indices.copy())
        F.cross_entropy(fresh(data[0][chosen]), data[1][chosen]).backward()
        expected = torch.cat([p.grad.flatten() for p in fresh.parameters()])
        torch.testing.assert_close(history[t], expected, rtol=0, atol=1e-6)
    assert (model.calls, model.log, hasattr(model, "cache")) == (0, [], False)
    assert not model.mean.any()


def test_what_counts_calls_elsewhere_is_found_at_the_start_or_at_the_end(data):
    calls = [0]

    def counted(out, y):
        calls[0] += 1
        return F.cross_entropy(out, y) / calls[0]

    with pytest.raises(gl.InputError, match="kept from call to call"):
        gl.collect(gl.Problem(nn.Linear(6, 3), counted, data), 10, 4)

    def late(out, y):
        calls[0] += 1
        return F.cross_entropy(out, y) * (2 if calls[0] > 60 else 1)

    calls[0] = 0
    with pytest.raises(gl.InputError, match="is not what it was at the start"):
        gl.collect(gl.Problem(nn.Linear(6, 3), late, data), 100, 3, engine="loop")


def test_a_forward_pass_that_writes_to_parameters_is_refused_and_they_are_put_back():
    model = nn.Sequential(nn.Embedding(30, 8, max_norm=0.5), nn.Flatten(), nn.Linear(32, 3))
    before = [p.detach().clone() for p in model.parameters()]
    data = torch.randint(0, 30, (100, 4)), torch.randint(0, 3, (100,))
    for use in (gl.collect, lambda p, t, b: gl.gradient_spectrum(p, iterations=t, batch_size=b)):
        with pytest.raises(gl.InputError, match=r"writes to the parameters 0\.weight"):
            use(gl.Problem(model, F.cross_entropy, data), 20, 4)
        assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


def test_past_the_version_counter_too(data):
    def forward(self, x):
        self.net[0].weight.data.mul_(0.99)
        return self.net(x)

    model = Wrapped(forward)
    before = model.net[0].weight.detach().clone()
    with pytest.raises(gl.InputError, match=r"writes to the parameters net\.0\.weight"):
        gl.collect(gl.Problem(model, F.cross_entropy, data), 20, 4)
    assert torch.equal(before, model.net[0].weight)


@pytest.mark.parametrize("reentrant", [False, True])
def test_batch_norm_in_a_checkpointed_segment(data, reentrant):
    def forward(self, x):
        return self.readout(checkpoint(self.segment, self.first(x), use_reentrant=reentrant))

    parts = {
        "first": nn.Linear(6, 6),
        "segment": nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Tanh()),
        "readout": nn.Linear(8, 3),
    }
    model = Wrapped(forward, **parts)
    del model.net
    plain = nn.Sequential(*parts.values())
    expected = _plain(plain, F.cross_entropy, data, 20, 5)
    plain[1][1].reset_running_stats()
    history = gl.collect(gl.Problem(model, F.cross_entropy, data), 20, 5)
    torch.testing.assert_close(history.gradients, expected, rtol=0, atol=1e-6)
    norm = model.segment[1]
    assert int(norm.num_batches_tracked) == 0
    assert not norm.running_mean.any()
    assert all(p.grad is None for p in model.parameters())


# Rounding


def test_rank_in_half_precision_is_no_larger_than_what_is_there():
    torch.manual_seed(0)
    repeated = torch.arange(300) % 20  # 20 distinct samples: at most 20 directions
    inputs, labels = torch.randn(20, 20).bfloat16(), torch.randint(0, 5, (20,))
    model = nn.Sequential(nn.Linear(20, 40), nn.Tanh(), nn.Linear(40, 5)).bfloat16()
    history = gl.collect(gl.Problem(model, F.cross_entropy, (inputs[repeated], labels[repeated])), 120, 8)
    assert 1e-3 < history.rounding < 0.1
    assert 0 < gl.gradient_spectrum(history, center=False).rank <= 20
    assert any("the model computes in bfloat16" in notice for notice in history.notices)


def test_autocast_around_the_call_is_a_computation_in_half_precision(data):
    model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        history = gl.collect(gl.Problem(model, F.cross_entropy, data), 30, 4)
    assert 1e-3 < history.rounding < 0.1


@pytest.mark.parametrize("batch_size", [1, 4])
def test_float32_inside_a_float64_model_shows_in_the_rounding(data, batch_size):
    def forward(self, x):
        h = x.float()
        return self.net((h * torch.rsqrt(h.square().mean(-1, keepdim=True)) * self.scale.float()).double())

    model = Wrapped(forward, scale=nn.Parameter(torch.ones(6))).double()
    history = gl.collect(gl.Problem(model, F.cross_entropy, (data[0].double(), data[1])), 30, batch_size)
    assert 1e-7 < history.rounding < 1e-5


def test_rounding_is_the_distance_to_float64(data):
    model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))
    history = gl.collect(gl.Problem(model, F.cross_entropy, data), 30, 4)
    double = _plain(model.double(), F.cross_entropy, (data[0].double(), data[1]), 30, 4)
    errors = (history.gradients.double() - double).norm(dim=1) / double.norm(dim=1)
    assert 0.3 * float(errors.median()) < history.rounding < 10 * float(errors.median())


def test_a_loss_that_depends_on_the_order_of_samples(data):
    model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))

    def ordered(out, y):
        return (F.cross_entropy(out, y, reduction="none") * torch.arange(1.0, len(out) + 1, dtype=out.dtype)).mean()

    history = _collected(model, ordered, data, 60, 4)
    assert history.rounding < 1e-5
    assert any("depends on the order of the samples" in notice for notice in history.notices)
    assert gl.gradient_spectrum(history).rank == 59
    single = torch.arange(1.0, 5.0)  # float32 constants: float64 cannot tell
    constants = gl.Problem(model.double(), lambda out, y: (out.double() @ torch.ones(3).double() * single).sum(),
                           (data[0].double(), data[1]))  # fmt: skip
    assert gl.collect(constants, 5, 4).shape[0] == 5


# Models that only some engines take


def _derivative(self, x):
    x = x.detach().requires_grad_()
    return torch.autograd.grad(self.net(x).sum(), x, create_graph=True)[0][:, :3]


def _jacobian(self, x):
    return self.net(x) + torch.func.vmap(torch.func.jacrev(self.net))(x).sum(-1)


@pytest.mark.parametrize("forward", [_derivative, _jacobian])
@pytest.mark.parametrize("batch_size", [1, 60])  # of passes over minibatches, and over samples
def test_derivatives_in_the_forward_pass(data, forward, batch_size):
    slopes = torch.randn(SAMPLES, 3)
    _collected(Wrapped(forward), F.mse_loss, (data[0], slopes), 40, batch_size)


def test_sparse_gradients_and_lazy_modules(data):
    tokens = torch.randint(20, (SAMPLES, 4))
    sparse = nn.Sequential(nn.Embedding(20, 6, sparse=True), nn.Flatten(), nn.Linear(24, 3))
    for engine in ("auto", "loop"):
        _collected(sparse, F.cross_entropy, (tokens, data[1]), 20, 4, engine=engine)
    with pytest.raises(gl.InputError, match=r"without a shape yet: 0\.weight, 0\.bias \(lazy modules\)"):
        gl.Problem(nn.Sequential(nn.LazyLinear(3)), F.cross_entropy, data)


def test_complex_parameters_are_refused_or_left_out(data):
    model = Wrapped(lambda self, x: self.net(x) * self.phase.abs().sum(), phase=nn.Parameter(torch.ones(2) + 1j))
    with pytest.raises(gl.InputError, match="complex parameters: phase"):
        gl.Problem(model, F.cross_entropy, data)
    assert gl.collect(gl.Problem(model, F.cross_entropy, data, parameters="net*"), 10, 2).shape == (10, 83)


def test_names_are_names_before_they_are_patterns():
    model = nn.ModuleDict({"a[0]": nn.Linear(2, 2), "a0": nn.Linear(2, 2)})
    model.forward = lambda x: model["a0"](model["a[0]"](x))
    data = torch.randn(5, 2), torch.randn(5, 2)
    exact = gl.Problem(model, F.mse_loss, data, parameters=["a[0].weight"])
    assert [part.name for part in exact.layout] == ["a[0].weight"]
    pattern = gl.Problem(model, F.mse_loss, data, parameters="a[0-9].*")
    assert [part.name for part in pattern.layout] == ["a0.weight", "a0.bias"]
    with pytest.raises(gl.InputError, match="parameters is empty"):
        gl.Problem(model, F.mse_loss, data, parameters=[])


class _Ragged(torch.utils.data.Dataset):
    def __len__(self):
        return 40

    def __getitem__(self, i):
        return torch.ones(3 + i % 5, 4) * i / 40, i % 3


class _Pooled(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def forward(self, x):
        return self.layer(x).mean(dim=1)


def test_samples_of_unequal_length():
    problem = gl.Problem(_Pooled(), F.cross_entropy, _Ragged())
    history = gl.collect(problem, 20, 1)
    assert history.settings["engine"] == "loop"
    assert "do not stack into a minibatch" in history.notices[0]
    with pytest.raises(gl.InputError, match="do not stack into a minibatch"):
        gl.collect(problem, 10, 3)


def test_threads_that_share_a_model_take_turns(data):
    model = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 3))
    expected = gl.collect(gl.Problem(model, F.cross_entropy, data), 100, 3).gradients
    results: list[object] = []

    def work():
        results.append(gl.collect(gl.Problem(model, F.cross_entropy, data), 100, 3).gradients)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 4
    assert all(torch.equal(result, expected) for result in results)
    assert not any("forward" in vars(module) for module in model.modules())


def test_threads_with_models_of_their_own_share_the_generators_of_the_process(data):
    def problem(seed):
        torch.manual_seed(seed)
        model = nn.Sequential(nn.Linear(6, 8), nn.Dropout(0.5), nn.Linear(8, 3)).train(seed % 2 == 1)
        return gl.Problem(model, F.cross_entropy, data, randomness="seeded" if model.training else "refuse")

    problems = [problem(seed) for seed in range(4)]
    expected = [gl.collect(problem, 20, 3).gradients for problem in problems]
    results: dict[int, list[Tensor]] = {seed: [] for seed in range(4)}

    def work(seed):
        for _ in range(3):
            results[seed].append(gl.collect(problems[seed], 20, 3).gradients)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(len(results[seed]) == 3 for seed in range(4))  # none was refused for what another one drew
    assert all(torch.equal(result, expected[seed]) for seed in range(4) for result in results[seed])


# The choice by cost


def _convolutional(width: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, 3, 3, padding=1))


@pytest.mark.parametrize(("size", "engine"), [(16, "layerwise"), (128, "loop")])
def test_large_activations_are_left_to_the_loop(size, engine):
    data = torch.randn(4, 3, size, size), torch.randint(3, (4, size, size))
    problem = gl.Problem(_convolutional(16), F.cross_entropy, data)
    assert gl.collect(problem, 4, 1).settings["engine"] == engine


def test_the_larger_samples_are_the_fewer_are_computed_at_once():
    most = []
    for size in (32, 64, 128, 256):
        data = torch.randn(1, 3, size, size), torch.randint(3, (1, size, size))
        problem = gl.Problem(_convolutional(16), F.cross_entropy, data)
        most.append(count_pass(LoopEngine(problem, 0), np.arange(1)).most_samples())
    assert most[0] > most[1] > most[2] > most[3] >= 1
    assert most[1] / most[3] == pytest.approx(16, rel=0.1)  # as many pixels


def test_the_cost_of_a_pass_is_counted():
    problem = gl.Problem(nn.Linear(50, 20, bias=False), F.mse_loss, (torch.randn(8, 50), torch.randn(8, 20)))
    cost = count_pass(LoopEngine(problem, 0), np.arange(8))
    assert cost.flops == 2 * 2 * 8 * 50 * 20  # the product, and the gradient of the weight
    assert 8 * 20 * 4 <= cost.bytes <= 8 * 20 * 4 * 8  # outputs, differences and their gradients; not the weight's
    again = count_pass(LoopEngine(problem, 0), np.arange(8))
    assert again == cost


@pytest.mark.parametrize(("reduction", "said"), [("sum", True), ("mean", False)])
def test_a_loss_that_is_a_sum_is_told_from_a_mean(reduction: str, said: bool) -> None:
    model, (inputs, labels) = nn.Linear(5, 3), (torch.randn(64, 5), torch.randint(3, (64,)))
    problem = gl.Problem(model, nn.CrossEntropyLoss(reduction=reduction), (inputs, labels))
    notices = gl.collect(problem, iterations=3, batch_size=8).notices
    assert any("the loss is a sum over the minibatch" in notice for notice in notices) == said
    alone = gl.collect(problem, iterations=3, batch_size=1).notices  # of one sample both are the same
    assert not any("is a sum" in notice for notice in alone)
    mean = gl.Problem(model, lambda out, y: F.cross_entropy(out, y, reduction="sum") / len(y), (inputs, labels))
    assert not gl.collect(mean, iterations=3, batch_size=8).notices


def test_samples_that_are_fitted_to_the_last_digit_do_not_hide_the_others():
    """Most gradients of a trained network at B = 1 are rounding of themselves, and nothing beside the few others."""
    torch.manual_seed(0)
    model, inputs = nn.Linear(6, 2), torch.randn(400, 6)
    with torch.no_grad():
        model.weight.copy_(torch.stack([torch.ones(6), -torch.ones(6)]))
        model.bias.zero_()
    margins = torch.where(torch.arange(400) % 20 == 0, 0.5, 9.0)  # one in twenty is not fitted
    inputs += ((margins - inputs.sum(dim=1)) / 6)[:, None]
    problem = gl.Problem(model, F.cross_entropy, (inputs, torch.zeros(400, dtype=torch.long)))
    seed = next(s for s in range(99) if all(Minibatches(400, 1, 200, s)[t][0] % 20 for t in range(4)))
    history = gl.collect(problem, 200, 1, seed=seed)
    exact = _plain(copy.deepcopy(model).double(), F.cross_entropy, (inputs.double(), problem.data[1]), 200, 1, seed)
    errors, norms = (history.gradients.double() - exact).norm(dim=1), exact.norm(dim=1)
    assert float((errors / norms).median()) > 1e-3  # of a gradient by itself
    assert float(errors.norm() / norms.norm()) < 1e-6  # of what the spectrum is made of
    assert history.rounding < 1e-5
    assert not history.settings["rounding_alone"]
    assert gl.gradient_spectrum(history).rank >= 6
