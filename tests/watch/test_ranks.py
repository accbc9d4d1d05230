"""Norms of ranks, in two real processes, against the same gradients without them."""

import numpy as np
import pytest
import torch
from torch import nn

from data_parallel import CASES, RANKS, layers, loss, model, rows, work
from gradlaw.errors import InputError
from gradlaw.watch.ranks import RankNorms


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """By case and rank, what was found in each step."""
    folder = tmp_path_factory.mktemp("ranks")
    torch.multiprocessing.spawn(work, (folder,), nprocs=RANKS)
    ranks = [torch.load(folder / f"rank{rank}.pt", weights_only=False) for rank in range(RANKS)]
    return {name: [rank[name] for rank in ranks] for name in CASES}


def gradients(x):
    net = model()
    loss(net, x).backward()
    return [torch.cat([p.grad.flatten() for p in layer]).double() for layer in layers(net).values()]


def squares(layers_of_part):
    return [float(g @ g) for g in layers_of_part]


@pytest.mark.parametrize("name", ["equal sizes", "accumulated", "equal weights", "weights by samples"])
def test_norms_are_those_of_the_parts_and_of_the_batch(found, name):
    case = CASES[name]
    for step in (0, 2):
        parts = [gradients(rows(rank, step, size)) for rank, size in enumerate(case["sizes"])]
        w = np.array(case["sizes"]) / 8 if case.get("weights") == "samples" else np.full(2, 0.5)
        whole = [w[0] * a + w[1] * b for a, b in zip(*parts, strict=True)]
        for steps in found[name]:
            norms = steps[step]
            np.testing.assert_allclose(norms.small_squared_norms, [squares(part) for part in parts], rtol=1e-5)
            np.testing.assert_allclose(norms.big_squared_norm, squares(whole), rtol=1e-5)
            np.testing.assert_allclose(norms.weights, w)
            assert (norms.big_batch, tuple(norms.small_batch)) == (sum(case["sizes"]), case["sizes"])


def test_a_step_that_was_not_watched_is_refused(found):
    assert all("not every rank had each watched parameter reduced" in steps[1] for steps in found["equal sizes"])


@pytest.mark.parametrize("name", ["summed", "projected", "half"])
def test_what_is_no_mean_is_refused_on_all_ranks(found, name):
    assert all("not the mean of the ranks' gradients" in steps[0] for steps in found[name])


def test_half_precision_is_a_mean_within_its_rounding(found):
    whole = [(a + b) / 2 for a, b in zip(*(gradients(rows(rank, 0, 8)) for rank in range(2)), strict=True)]
    for steps in found["half allowed for"]:
        np.testing.assert_allclose(steps[0].big_squared_norm, squares(whole), rtol=2e-3)


def test_sizes_that_differ_need_to_be_weighted(found):
    assert all("pass weights='samples' if" in steps[0] for steps in found["no weights"])


def test_other_models_are_refused():
    with pytest.raises(InputError, match="must be a DistributedDataParallel"):
        RankNorms(nn.Linear(2, 2), {})
