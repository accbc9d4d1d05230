"""Curvature that ranks share is that of one process and of a dense matrix, and is resumed by any number of them."""

from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
import torch

import curvature_sharing as cases
import sharing

# More processes than processors wait for one another most of the time: four have what differs for four.
NAMES = {2: cases.EVERY, 4: ("in memory", "an MLP", "fewer samples than ranks")}
SHARED = [(size, name) for size, names in NAMES.items() for name in names]
of_networks = pytest.mark.parametrize(
    ("shared", "name"), [s for s in SHARED if s[1] in cases.CASES], indirect=["shared"]
)
of_searches = pytest.mark.parametrize(
    ("shared", "name"), [s for s in SHARED if s[1] in cases.SEARCHES], indirect=["shared"]
)


@pytest.fixture(scope="module")
def exact() -> dict[str, np.ndarray]:
    """Eigenvalues in float64 of the dense matrix by plain autograd, descending, by case."""
    return {name: np.linalg.eigvalsh(cases.dense_by_autograd(name))[::-1] for name in cases.CASES}


@pytest.fixture(scope="module")
def alone() -> dict[str, cases.Found]:
    return cases.Run(cases.EVERY)(0)


@pytest.fixture(scope="module")
def of_ranks(tmp_path_factory) -> Callable[[int], list[dict[str, cases.Found]]]:
    """What each of so many ranks found."""
    return cache(lambda size: sharing.run(cases.Run(NAMES[size]), size, tmp_path_factory.mktemp("shared")))


@pytest.fixture
def shared(request, of_ranks) -> list[dict[str, cases.Found]]:
    return of_ranks(request.param)


@of_networks
def test_eigenvalues_are_those_of_the_dense_matrix(exact, alone, shared, name):
    largest = np.abs(exact[name]).max()
    for found in (alone, *shared):
        values = found[name].pairs.eigenvalues
        np.testing.assert_allclose(values, exact[name][: len(values)], rtol=0, atol=1e-11 * largest)
        assert found[name].pairs.converged.all()


@of_networks
def test_every_rank_has_the_same_bits(shared, name):
    for other in shared[1:]:
        for field in ("eigenvalues", "residuals", "products", "restarts", "norm"):
            np.testing.assert_array_equal(getattr(other[name].pairs, field), getattr(shared[0][name].pairs, field))
        assert other[name].density == shared[0][name].density
        assert torch.equal(other[name].product, shared[0][name].product)
        assert other[name].notices == shared[0][name].notices


@of_networks
def test_products_and_random_vectors_do_not_depend_on_the_number_of_ranks(alone, shared, name):
    one, several = alone[name], shared[0][name]
    torch.testing.assert_close(several.product, one.product, rtol=0, atol=1e-13 * float(one.product.norm()))
    assert several.pairs.products == one.pairs.products
    assert several.density.trace.value == pytest.approx(one.density.trace.value, rel=1e-10)
    np.testing.assert_allclose(several.density.nodes, one.density.nodes, rtol=0, atol=1e-9 * one.pairs.norm)
    alignment = np.abs((several.vectors * one.vectors).sum(dim=1).numpy())
    np.testing.assert_allclose(alignment, 1, atol=1e-6)


@pytest.mark.parametrize("shared", [2], indirect=True)
def test_what_is_no_mean_over_samples_is_taken_at_once_by_the_first(alone, shared):
    assert any("taken at once, by the first rank alone" in notice for notice in shared[0]["ignored labels"].notices)
    assert alone["ignored labels"].notices == ()  # one chunk holds them all


@of_searches
def test_a_basis_is_shared_with_its_restarts_and_multiple_eigenvalues(alone, shared, name):
    expected, found = alone[name], shared[-1][name]
    exact = np.sort(cases.Dense().eigenvalues)[::-1][:6]
    np.testing.assert_allclose(found.eigenvalues, exact, rtol=0, atol=1e-12)
    assert (found.products, found.restarts) == (expected.products, expected.restarts)
    assert found.restarts > 0
    assert found.converged.all()
    for other in shared:
        assert torch.equal(other[name].vectors, found.vectors)
    torch.testing.assert_close(found.vectors @ found.vectors.T, torch.eye(6, dtype=torch.float64), rtol=0, atol=1e-12)


@pytest.fixture(scope="module")
def left(tmp_path_factory):
    """The folder in which two ranks left a search unfinished."""
    folder = tmp_path_factory.mktemp("saved")
    assert sharing.run(sharing.InFolder(cases.stopped, folder), 2, folder) == ["stopped", "stopped"]
    return folder


@pytest.mark.parametrize("size", [2, 1, 3])
def test_a_search_goes_on_with_any_number_of_ranks(left, alone, size, tmp_path):
    expected = alone["on disk"]
    for found, files in cases.resumed_by(size, left, tmp_path):
        np.testing.assert_allclose(found.eigenvalues, expected.eigenvalues, rtol=0, atol=1e-12)
        assert found.products == expected.products
        assert files == []


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    folder = tmp_path_factory.mktemp("refused")
    return sharing.run(sharing.InFolder(cases.refusals, folder), 3, folder)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("a parameter", "rank 1 of 3 has other parameter 1.weight than rank 0"),
        ("another matrix", "rank 1 of 3 has other setting matrix than rank 0"),
        ("vectors", "rank 1 of 3 has other vectors than rank 0"),
        ("k", "rank 1 of 3 has other k than rank 0"),
        ("few dimensions", "3 ranks share out 2 dimensions, and each needs at least one"),
        ("not finite", "not finite"),
        ("a product", "it fails here"),
        ("a damaged file", "is damaged or missing"),
    ],
)
def test_what_is_refused_is_refused_on_every_rank_and_named(told, wrong, message):
    for rank in told:
        assert message in rank[wrong]


def test_a_rank_that_is_killed_is_named_and_ends_the_others(tmp_path):
    first, second, third = sharing.run(cases.dying, 3, tmp_path)
    assert second is None
    for message in (first, third):
        assert message.startswith("rank 1 of 3 (process ")
        assert "has ended amid the work; start it again, with any number of ranks" in message
