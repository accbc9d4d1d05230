import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy, mse_loss

import gradlaw as gl
import problems
from gradlaw.history.engines.samplewise import SamplewiseEngine
from gradlaw.minibatches import Minibatches

FAST = ("vmap", "layerwise", "samplewise")


def _autograd(problem: gl.Problem, iterations: int, batch_size: int, seed: int = 0) -> torch.Tensor:
    """Plain backward() on a float64 copy, minibatch by minibatch."""
    model = copy.deepcopy(problem.model).double()
    rows = []
    for indices in Minibatches(problem.samples, batch_size, iterations, seed):
        inputs, targets = problem.fetch(indices)
        model.zero_grad()
        problem.loss(model(inputs.double() if inputs.is_floating_point() else inputs), targets).backward()
        rows.append(torch.cat([p.grad.reshape(-1) for p in model.parameters()]))
    return torch.stack(rows)


def _error(history: gl.GradientHistory, reference: torch.Tensor) -> float:
    return float(((history.gradients.double() - reference).norm(dim=1) / reference.norm(dim=1)).max())


@pytest.mark.parametrize("batch_size", [6, 11])  # batch norm of two samples is too ill-conditioned to compare
@pytest.mark.parametrize("name", problems.NAMES)
def test_engines_equal_float64_autograd(name, batch_size):
    reference = _autograd(problems.make(name, torch.float64), 9, batch_size)
    double, single = problems.make(name, torch.float64), problems.make(name)
    assert _error(gl.collect(double, 9, batch_size, engine="loop"), reference) < 1e-12
    # Rounding in float32: of plain autograd itself where a network amplifies it (batch norm of few samples).
    rounding = _error(gl.collect(single, 9, batch_size, engine="loop"), reference)
    assert rounding < 2e-6
    for engine in FAST:
        if engine == "samplewise" and "BatchNorm" in repr(single.model):
            continue
        if engine == "vmap" and name in problems.UNBATCHED:
            continue
        exact = gl.collect(double, 9, batch_size, engine=engine)
        assert exact.gradients.dtype == torch.float64
        assert exact.settings["engine"] == engine
        assert _error(exact, reference) < 1e-12
        rounded = gl.collect(single, 9, batch_size, engine=engine)
        assert rounded.gradients.dtype == torch.float32
        assert _error(rounded, reference) < max(1e-6, 2 * rounding)


def test_single_samples_too():
    reference = _autograd(problems.make("lenet", torch.float64), 5, 1)
    history = gl.collect(problems.make("lenet"), 5, 1, engine="vmap")
    assert ((history.gradients - reference).norm(dim=1) / reference.norm(dim=1)).max() < 2e-6


@pytest.mark.parametrize("engine", ["loop", "vmap", "layerwise"])
def test_nothing_in_the_model_changes(engine):
    problem = problems.make("fcn")
    before = {name: tensor.clone() for name, tensor in problem.model.state_dict().items()}
    random_state = torch.get_rng_state()
    gl.collect(problem, 20, 4, engine=engine)
    after = problem.model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert all(p.grad is None for p in problem.model.parameters())
    assert torch.equal(random_state, torch.get_rng_state())


def test_batch_norm_in_evaluation_mode_takes_its_running_statistics():
    problem = problems.make("fcn", torch.float64)
    problem.model(problem.data[0])  # moves the running statistics off their start
    problem.model.eval()
    loop = gl.collect(problem, 6, 1, engine="loop")
    for engine in FAST:
        history = gl.collect(problem, 6, 1, engine=engine)
        torch.testing.assert_close(history.gradients, loop.gradients, rtol=0, atol=1e-12)


def test_a_part_of_the_parameters_is_that_part_of_all():
    whole = gl.collect(problems.make("lenet"), 4, 3, engine="vmap")
    model, data = problems.make("lenet").model, problems.make("lenet").data
    for engine in ("loop", "vmap", "layerwise"):
        part = gl.collect(gl.Problem(model, cross_entropy, data, parameters="fc2.*"), 4, 3, engine=engine)
        start = next(p.start for p in whole.layout if p.name == "fc2.weight")
        torch.testing.assert_close(part.gradients, whole[:, start : start + part.shape[1]], rtol=1e-4, atol=1e-7)


def test_auto_takes_the_engine_that_costs_least():
    problem = problems.make("lenet")
    many = gl.Problem(problem.model, cross_entropy, tuple(torch.cat([a] * 30) for a in problem.data))
    assert gl.collect(many, 10, 2).settings["engine"] == "layerwise"
    assert gl.collect(many, 2, 600).settings["engine"] == "loop"  # one iteration fills a pass
    assert gl.collect(many, 40, 600).settings["engine"] == "samplewise"  # 24,000 passes or 1,200


def test_auto_takes_vmap_where_layers_interact_in_a_way_of_their_own():
    class Centred(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, 3)

        def forward(self, x):
            x = self.layer(x)
            return torch.tanh(x - x.mean(dim=0))

    problem = gl.Problem(Centred(), cross_entropy, (torch.randn(200, 4), torch.randint(3, (200,))))
    history = gl.collect(problem, 10, 5)
    assert history.settings["engine"] == "vmap"
    assert (
        "engine layerwise left out: the samples of a minibatch see one another in the model (by mean?)"
        in history.notices[0]
    )
    assert _error(history, _autograd(problem, 10, 5)) < 1e-6


def test_samples_that_interact_have_no_gradient_of_their_own():
    with pytest.raises(gl.InputError, match=r"'2' \(BatchNorm1d\) takes the statistics of the minibatch"):
        gl.collect(problems.make("fcn"), 4, 6, engine="samplewise")
    # Not the mean over samples: every minibatch's loss is held against those of its samples.
    data = problems.make("lnn").data
    summed = gl.Problem(problems.make("lnn").model, lambda o, y: cross_entropy(o, y, reduction="sum"), data)
    with pytest.raises(gl.InputError, match="the loss of iteration 0 is not the mean over its samples"):
        gl.collect(summed, 30, 20, engine="samplewise")
    assert gl.collect(summed, 30, 20).settings["engine"] == "layerwise"


def test_samplewise_goes_band_by_band():
    problem = problems.make("lnn", torch.float64)
    whole, loop = (gl.collect(problem, 30, 25, engine=name, replacement=True) for name in ("samplewise", "loop"))
    batches = list(loop.settings.minibatches())
    banded = SamplewiseEngine(problem, batches[:2], band_bytes=7 * problem.dimensions * 8)
    step = banded.chunk(25)
    assert step == 7
    gradients = torch.empty_like(loop.gradients)
    bands = range(0, 30, step)
    losses = [banded.gradients(t, batches[t : t + step], gradients[t : t + step]) for t in bands]
    for ours, of_minibatches in ((whole.gradients, whole.losses), (gradients, torch.cat(losses))):
        torch.testing.assert_close(ours, loop.gradients, rtol=0, atol=1e-14)
        torch.testing.assert_close(of_minibatches, loop.losses, rtol=1e-13, atol=0)


def test_minibatches_of_all_samples_are_one_gradient():
    problem = problems.make("lnn")
    history = gl.collect(problem, 30, problem.samples)
    assert history.settings["engine"] == "samplewise"
    assert gl.gradient_spectrum(history).rank == 0
    assert gl.gradient_spectrum(history, center=False).rank == 1


def test_auto_falls_back_to_the_loop_where_nothing_else_can_and_says_so():
    problem = problems.make("gru")
    history = gl.collect(problem, 6, 2)
    assert history.settings["engine"] == "loop"
    assert "engine layerwise left out: it has no rule for gru.bias_hh_l0" in history.notices[0]
    assert "engine vmap left out: output with shape" in history.notices[1]
    with pytest.raises(gl.InputError, match="cannot batch"):
        gl.collect(problem, 6, 2, engine="vmap")
    double = gl.Problem(
        copy.deepcopy(problem.model).double(), cross_entropy, (problem.data[0].double(), problem.data[1])
    )
    torch.testing.assert_close(history.gradients.double(), _autograd(double, 6, 2), rtol=1e-4, atol=1e-6)


class _WronglyBatched(torch.autograd.Function):
    """Identity whose rule under vmap doubles its argument."""

    generate_vmap_rule = False

    @staticmethod
    def forward(x):
        return x.clone()

    @staticmethod
    def setup_context(ctx, inputs, output):
        pass

    @staticmethod
    def backward(ctx, gradient):
        return gradient

    @staticmethod
    def vmap(info, in_dims, x):
        return 2 * x, in_dims[0]


def test_an_engine_that_disagrees_is_an_error_that_names_the_layers():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Linear(4, 6), nn.Linear(6, 3)

        def forward(self, x):
            return self.second(_WronglyBatched.apply(self.first(x)))

    problem = gl.Problem(Model(), cross_entropy, (torch.randn(10, 4), torch.randint(3, (10,))))
    with pytest.raises(gl.InputError, match=r"disagrees with plain autograd.*second\.weight \(Linear\)"):
        gl.collect(problem, 4, 2, engine="vmap")
    assert gl.collect(problem, 4, 2, engine="loop").shape == (4, 51)


def test_losses_are_recorded():
    problem = problems.make("fcn", torch.float64)
    history = gl.collect(problem, 5, 4, seed=2)
    for t, indices in enumerate(Minibatches(problem.samples, 4, 5, 2)):
        loss = problem.minibatch_loss(problem.buffers(), *problem.fetch(indices))
        assert history.losses[t].item() == pytest.approx(loss.item(), rel=1e-12)


def test_dropout_is_refused_or_seeded_by_iteration():
    model = nn.Sequential(nn.Linear(4, 50), nn.Dropout(0.5), nn.Linear(50, 3))
    data = torch.randn(10, 4), torch.randint(3, (10,))
    with pytest.raises(gl.InputError, match=r"random at fixed parameters.*1 \(Dropout\)"):
        gl.collect(gl.Problem(model, cross_entropy, data), 4, 10)
    seeded = gl.Problem(model, cross_entropy, data, randomness="seeded")
    torch.manual_seed(5)
    one = gl.collect(seeded, 4, 10, seed=1)
    torch.manual_seed(6)
    same, other = gl.collect(seeded, 4, 10, seed=1), gl.collect(seeded, 4, 10, seed=2)
    assert torch.equal(one.gradients, same.gradients)
    assert not torch.equal(one.gradients, other.gradients)
    # Full batches: without dropout all rows would be equal up to rounding.
    assert (one[0] - one[1]).norm() > 0.01 * one[0].norm()
    with pytest.raises(gl.InputError, match="vmap"):
        gl.collect(seeded, 4, 10, engine="vmap")
    model.eval()
    assert gl.collect(gl.Problem(model, cross_entropy, data), 4, 2).settings["engine"] == "layerwise"


def test_functional_randomness_is_found_too():
    class Noisy(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, 3)

        def forward(self, x):
            return self.layer(x) + 0.1 * torch.from_numpy(np.random.standard_normal((len(x), 3))).float()  # noqa: NPY002

    with pytest.raises(gl.InputError, match="random at fixed parameters"):
        gl.collect(gl.Problem(Noisy(), cross_entropy, (torch.randn(10, 4), torch.randint(3, (10,)))), 4, 2)


def test_random_augmentation_is_refused():
    class Augmented(torch.utils.data.Dataset):
        def __len__(self):
            return 10

        def __getitem__(self, i):
            return torch.randn(4), 0

    with pytest.raises(gl.InputError, match="draws random numbers when a sample is fetched"):
        gl.collect(gl.Problem(nn.Linear(4, 3), cross_entropy, Augmented()), 4, 2)


def test_batch_norm_of_a_single_value_is_refused_by_name():
    with pytest.raises(gl.InputError, match=r"batch norm '2'.*single value per channel.*raise batch_size"):
        gl.collect(problems.make("fcn"), 4, 1)


@pytest.mark.parametrize("engine", ["loop", "vmap", "layerwise"])
def test_unused_parameters_are_listed_and_kept_as_zeros(engine):
    class Partly(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.idle = nn.Linear(4, 3), nn.Linear(4, 3)

        def forward(self, x):
            return self.used(x)

    problem = gl.Problem(Partly(), cross_entropy, (torch.randn(10, 4), torch.randint(3, (10,))))
    history = gl.collect(problem, 4, 2, engine=engine)
    assert history.unused == ["idle.weight", "idle.bias"]
    assert not history[:, 15:].any()
    assert history[:, :15].any()
    assert "idle.weight, idle.bias" in history.notices[0]


def test_a_loss_that_depends_on_no_analysed_parameter_is_refused():
    model = nn.Linear(4, 3)
    with pytest.raises(gl.InputError, match="does not depend on any"):
        gl.collect(gl.Problem(model, lambda out, y: y.float().mean(), (torch.randn(5, 4), torch.ones(5))), 4, 2)


@pytest.mark.parametrize("engine", ["loop", "vmap", "samplewise"])
def test_a_loss_that_is_not_finite_names_iteration_and_sample(engine):
    inputs = torch.randn(20, 4)
    samples = Minibatches(20, 2, 8, 0)[5].tolist()
    inputs[samples[1]] = torch.nan
    where = rf"\(samples: {samples[0]}, {samples[1]}\)$"
    message = rf"loss of iteration 5 is nan: .*{where}"
    if engine == "samplewise":
        message = rf"^the gradient of iteration 5 is not finite: of its sample {samples[1]} the loss is nan$"
    with pytest.raises(gl.InputError, match=message):
        gl.collect(gl.Problem(nn.Linear(4, 3), cross_entropy, (inputs, torch.randint(3, (20,)))), 8, 2, engine=engine)


@pytest.mark.parametrize("engine", ["loop", "vmap"])
def test_a_gradient_that_is_not_finite_names_iteration_and_parameter(engine):
    class Root(nn.Module):
        def __init__(self):
            super().__init__()
            self.free, self.scale = nn.Parameter(torch.ones(1)), nn.Parameter(torch.ones(2))

        def forward(self, x):
            return self.free + (self.scale * x).abs().sqrt()  # the derivative at zero is infinite

    inputs = torch.rand(20, 2) + 1
    inputs[int(Minibatches(20, 1, 8, 0)[3][0]), 1] = 0
    with pytest.raises(gl.InputError, match=r"gradient of iteration 3 is \S+ at parameter 'scale' \(element 1 of 2\)"):
        gl.collect(gl.Problem(Root(), mse_loss, (inputs, torch.zeros(20, 2))), 8, 1, engine=engine)


@pytest.mark.parametrize("engine", ["auto", "loop", "layerwise", "vmap", "samplewise"])
@pytest.mark.parametrize("t", [0, 5])
def test_a_label_that_is_no_class_names_sample_and_iteration(engine, t):
    labels = torch.randint(3, (20,))
    bad = int(Minibatches(20, 2, 8, 0)[t][1])
    labels[bad] = 7
    message = rf"the label 7 of sample {bad} in iteration {t} is none of the classes"
    with pytest.raises(gl.InputError, match=message):
        gl.collect(gl.Problem(nn.Linear(4, 3), cross_entropy, (torch.randn(20, 4), labels)), 8, 2, engine=engine)


def test_a_loss_by_sample_is_refused():
    by_sample = lambda out, y: cross_entropy(out, y, reduction="none")  # noqa: E731
    with pytest.raises(gl.InputError, match=r"one number.*shape \(2,\)"):
        gl.collect(gl.Problem(nn.Linear(4, 3), by_sample, (torch.randn(5, 4), torch.zeros(5, dtype=torch.long))), 4, 2)


def test_a_history_that_does_not_fit_says_how_many_iterations_would(small_problem):
    with pytest.raises(
        gl.InputError, match=r"takes .* GB, .* of disk, and that of .* has .* GB left, which fits T=[\d,]+"
    ):
        gl.collect(small_problem, 10**12, 1)
    with pytest.raises(gl.InputError, match=r"GB of memory are free, which fits T=[\d,]+; give a folder"):
        gl.collect(small_problem, 10**12, 1, store="memory")


def test_one_seed_gives_the_same_bits(small_problem):
    one, same = gl.collect(small_problem, 30, 3, seed=4), gl.collect(small_problem, 30, 3, seed=4)
    assert torch.equal(one.gradients, same.gradients)
    assert not torch.equal(one.gradients, gl.collect(small_problem, 30, 3, seed=5).gradients)


def test_unknown_engine(small_problem):
    with pytest.raises(gl.InputError, match="auto, loop, vmap, layerwise, samplewise"):
        gl.collect(small_problem, 4, 1, engine="fast")


def test_history_is_read_by_iteration_by_dimension_and_in_blocks(small_problem):
    history = gl.collect(small_problem, 11, 2)
    matrix = np.asarray(history)
    assert history.shape == matrix.shape == (len(history), small_problem.dimensions)
    assert np.array_equal(history[3], matrix[3])
    assert np.array_equal(history[2:5], matrix[2:5])
    assert np.array_equal(history.dimension(7), matrix[:, 7])
    for axis, expected in (("dimension", matrix), ("iteration", matrix.T)):
        blocks = list(history.blocks(axis))
        assert np.array_equal(np.concatenate([block for _, block in blocks]), expected)
        assert blocks[0][0] == 0


def test_transforms_are_applied_in_the_order_of_the_iterations(small_problem):
    plain = gl.collect(small_problem, 40, 4, seed=3)
    # vmap collects in chunks, the loop one by one: momentum must see one stream in both.
    for engine in ("vmap", "loop"):
        history = gl.collect(
            small_problem, 40, 4, seed=3, engine=engine, transforms=(gl.ClipByNorm(0.5), gl.Momentum(0.9))
        )
        assert history.settings["transforms"] == ["clip-norm=0.5,norm_type=2.0", "momentum=0.9,dampening=0.0"]
        assert "momentum=0.9" in history.notices[-1]
        velocity = torch.zeros(small_problem.dimensions)
        for t in range(40):
            clipped = plain[t] * min(1.0, 0.5 / (float(plain[t].norm()) + 1e-6))
            velocity = 0.9 * velocity + clipped
            torch.testing.assert_close(history[t], velocity, rtol=1e-4, atol=1e-6)
    with pytest.raises(gl.InputError):
        gl.collect(small_problem, 40, 4, transforms=(gl.Momentum(), gl.ClipByNorm(1.0)))


def test_rounding_is_measured_from_the_order_of_summation(small_problem):
    history = gl.collect(small_problem, 4, 64)
    eps = float(np.finfo(np.float32).eps)
    assert eps <= history.rounding < 1e-4
    assert gl.collect(small_problem, 4, 1, engine="loop").rounding == eps
