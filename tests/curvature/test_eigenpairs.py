import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import diags
from scipy.sparse.linalg import aslinearoperator

from gradlaw.curvature.eigensolver.eigenpairs import Eigenpairs, eigenpairs
from gradlaw.errors import InputError
from gradlaw.progress import Progress
from matrices import power_law, preferred, symmetric

N = 400
UNIFORM = np.random.default_rng(5).uniform(-1, 1, N)
SPECTRA = {
    "power law": power_law(N),
    "uniform": UNIFORM,
    "five-fold at the top": np.append(np.full(5, 10.0), UNIFORM[5:]),
    "all five-fold": np.repeat(np.linspace(-3, 5, N // 5), 5),
    "clusters": np.append(10 + 1e-9 * np.arange(6), UNIFORM[6:]),
    "low rank and noise": np.append(np.arange(1.0, 21.0), 1e-7 * UNIFORM[20:]),
    "low rank": np.append(np.arange(1.0, 21.0), np.zeros(N - 20)),
    "two values": np.repeat([2.0, -1.0], N // 2),
    "identity": np.ones(N),
    "zero": np.zeros(N),
    "negative": -1 - np.abs(UNIFORM),
}


class Recorder(Progress):
    def __init__(self) -> None:
        super().__init__(shown=False)
        self.said: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)


def check(pairs: Eigenpairs, matrix: np.ndarray, k: int, which: str) -> None:
    exact = np.linalg.eigvalsh(matrix)
    norm = np.abs(exact).max()
    assert pairs.vectors is not None
    vectors = pairs.vectors.double().numpy()
    order = np.abs if which == "LM" else np.asarray  # of +x and -x either may be among the k
    assert np.abs(np.sort(order(pairs.eigenvalues)) - np.sort(order(preferred(exact, k, which)))).max() <= 1e-6 * norm
    assert (np.diff(pairs.eigenvalues) <= 0).all()
    assert np.abs(vectors @ vectors.T - np.eye(k)).max() < 1e-9
    residuals = np.linalg.norm(vectors @ matrix - pairs.eigenvalues[:, None] * vectors, axis=1)
    assert np.abs(pairs.residuals - residuals).max() <= 1e-12 * norm
    assert residuals.max() <= 1e-6 * norm
    assert pairs.converged.all()
    assert pairs.measured.all()
    assert pairs.norm == pytest.approx(norm, rel=1e-2 if norm else 0)


@pytest.mark.parametrize("which", ["LA", "SA", "LM"])
@pytest.mark.parametrize("name", SPECTRA)
def test_equals_lapack(name: str, which: str) -> None:
    matrix = symmetric(SPECTRA[name])
    for k in (1, 4, 33):
        check(eigenpairs(matrix, k, which), matrix, k, which)


@pytest.mark.parametrize(("k", "which"), [(120, "LA"), (40, "SA")])
@pytest.mark.parametrize("repeated", [False, True])
def test_a_thousand_parameters(k: int, which: str, repeated: bool) -> None:
    values = power_law(1200)
    if repeated:
        values[:40] = np.repeat(values[:40:5], 5)  # multiplicity 5 at both ends
    matrix = symmetric(values)
    pairs = eigenpairs(matrix, k, which)
    check(pairs, matrix, k, which)
    assert pairs.products < 1200
    assert pairs.restarts == 0


@pytest.mark.parametrize("which", ["LA", "LM"])
@pytest.mark.parametrize("name", ["uniform", "all five-fold"])
def test_restarts_when_memory_is_short(name: str, which: str) -> None:
    matrix, k = symmetric(SPECTRA[name]), 12
    pairs = eigenpairs(matrix, k, which, memory=8 * N * (2 * k + 50))
    assert pairs.restarts > 0
    check(pairs, matrix, k, which)


def test_on_disk_it_is_the_same_bit_for_bit() -> None:
    matrix = symmetric(UNIFORM)
    progress = Recorder()
    in_memory = eigenpairs(matrix, 30, memory=8 * N * 190)
    on_disk = eigenpairs(matrix, 30, memory=0, progress=progress)  # 190 rows as well
    assert on_disk.restarts == in_memory.restarts > 0
    assert np.array_equal(in_memory.eigenvalues, on_disk.eigenvalues)
    assert torch.equal(in_memory.vectors, on_disk.vectors)
    check(on_disk, matrix, 30, "LA")
    assert "on disk" in progress.said[0]
    assert "GB" in progress.said[0]


def test_float32_products_reach_their_rounding_error() -> None:
    matrix = symmetric(SPECTRA["power law"])
    pairs = eigenpairs(matrix.astype(np.float32), 60)
    exact = np.linalg.eigvalsh(matrix)
    assert pairs.vectors is not None
    assert pairs.vectors.dtype == torch.float32
    assert pairs.converged.all()
    assert np.abs(pairs.eigenvalues - preferred(exact, 60, "LA")).max() < 1e-7 * np.abs(exact).max()


def test_a_part_of_the_residuals_measured() -> None:
    matrix = symmetric(UNIFORM)
    every, some, none = (eigenpairs(matrix, 40, measure=m) for m in (None, 7, 0))
    assert some.measured.sum() == 7
    assert some.measured[[0, -1]].all()
    assert none.measured.sum() == 0
    assert (every.products - some.products, every.products - none.products) == (33, 40)
    for pairs in (some, none):  # what the Lanczos relation says is what a product measures
        np.testing.assert_allclose(pairs.residuals, every.residuals, rtol=1e-3, atol=1e-13)


def test_what_did_not_converge_is_said() -> None:
    matrix = symmetric(UNIFORM)
    pairs = eigenpairs(matrix, 40, max_products=170)
    assert pairs.products == 210
    assert 0 < pairs.converged.sum() < 40
    assert pairs.resolution == np.inf
    assert np.array_equal(pairs.converged, pairs.residuals <= pairs.tol * pairs.norm)


def test_all_of_them() -> None:
    matrix = np.diag(np.arange(30.0))
    pairs = eigenpairs(matrix, 1000)
    assert np.allclose(pairs.eigenvalues, np.arange(30.0)[::-1], atol=1e-12)
    assert pairs.resolution == 0
    assert eigenpairs(np.array([[-3.0]]), 5).eigenvalues.tolist() == [-3.0]


def test_takes_matrices_of_all_kinds() -> None:
    values = np.random.default_rng(1).standard_normal(120)
    reference = eigenpairs(np.diag(values), 5)
    sparse = diags(values)
    for other in (torch.diag(torch.from_numpy(values)), sparse, aslinearoperator(sparse)):
        np.testing.assert_allclose(eigenpairs(other, 5).eigenvalues, reference.eigenvalues, atol=1e-12)


def test_one_seed_one_result() -> None:
    matrix = symmetric(SPECTRA["power law"])
    first, second, other = (eigenpairs(matrix, 20, seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(first.eigenvalues, second.eigenvalues)
    assert torch.equal(first.vectors, second.vectors)
    assert not np.array_equal(first.eigenvalues, other.eigenvalues)


@settings(max_examples=40, deadline=None)
@given(
    values=st.lists(
        st.sampled_from([-2.0, -1.0, -1e-9, 0.0, 1e-9, 0.5, 1.0, 1.0 + 1e-9, 3.0]), min_size=1, max_size=90
    ),
    k=st.integers(1, 40),
    which=st.sampled_from(["LA", "SA", "LM"]),
    seed=st.integers(0, 3),
)
def test_any_multiplicity(values: list[float], k: int, which: str, seed: int) -> None:
    matrix = symmetric(np.array(values), seed)
    pairs = eigenpairs(matrix, k, which, seed=seed)
    check(pairs, matrix, min(k, len(values)), which)


def test_bad_input() -> None:
    matrix = np.eye(10)
    for arguments in ({"k": 0}, {"k": 2, "which": "BE"}, {"k": 2, "tol": 1e-17}, {"k": 2, "measure": -1},
                      {"k": 5, "max_products": 4}):  # fmt: skip
        with pytest.raises(InputError):
            eigenpairs(matrix, **arguments)
    with pytest.raises(InputError, match="not finite"):
        eigenpairs(np.full((4, 4), np.nan), 2)
    with pytest.raises(InputError, match="shape"):
        eigenpairs(np.ones((4, 3)), 2)


@pytest.mark.parametrize("scale", [1e-200, 1e-160, 1e200])
def test_scales_whose_squares_no_number_holds_are_refused(scale):
    rotation = np.linalg.qr(np.random.default_rng(0).standard_normal((60, 60)))[0]
    matrix = rotation * np.arange(60) @ rotation.T
    with pytest.raises(InputError, match=r"overflow|whose square is not held"):
        eigenpairs(scale * matrix, k=3)
    np.testing.assert_allclose(eigenpairs(1e-140 * matrix, k=3).eigenvalues, [59e-140, 58e-140, 57e-140], rtol=1e-9)
    np.testing.assert_array_equal(eigenpairs(np.zeros((20, 20)), k=3).eigenvalues, 0)
