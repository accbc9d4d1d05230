"""Every public function of the statistics on every kind of array: the right answer, or an InputError."""

import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse

import gradlaw as gl
from gradlaw import stats
from gradlaw.spectra.outliers import count_outliers

PLAIN = np.sort(np.random.default_rng(0).pareto(1.5, 36) + 1)[::-1].astype(np.float32).astype(np.float64).reshape(3, 12)
ONE_DIMENSIONAL = {
    "fit_power_law": lambda x: gl.fit_power_law(x, 8),
    "compare_tails": lambda x: stats.compare_tails(x, 8),
    "exponent_uncertainty": lambda x: stats.exponent_uncertainty(x, 8, samples=5),
    "scan_tail_start": lambda x: stats.scan_tail_start(x, smallest=5).best,
    "bootstrap_p_value": lambda x: stats.bootstrap_p_value(x, smallest=5, points=3, samples=2),
    "hill_curve": lambda x: stats.hill_curve(x, [3, 5]).index,
    "moment_curve": lambda x: stats.moment_curve(x, [3, 5]).index,
    "count_outliers": lambda x: count_outliers(x, k=30, most=3).drops,
}
TWO_DIMENSIONAL = {
    "fit_power_law_rows": lambda x: gl.fit_power_law_rows(x, 8).d_ks,
    "gaussian_test_rows": lambda x: gl.gaussian_test_rows(x, 12),
    "gaussianity_rows": lambda x: stats.gaussianity_rows(x).anderson_darling,
    "hill_rows": lambda x: stats.hill_rows(x, 5).index,
    "moment_rows": lambda x: stats.moment_rows(x, 5).index,
    "stable_index_rows": lambda x: stats.stable_index_rows(x).inverse,
    "gradient_tests": lambda x: gl.gradient_tests(x, k=8, gaussian_k=8).d_ks,
    "gradient_tests of columns": lambda x: gl.gradient_tests(x, "iteration", k=2, gaussian_k=None).d_ks,
    "rates_by_group": lambda x: stats.rates_by_group(x, {"a": [slice(12)]}, k=8, gaussian_k=8).mean_p_value.to_numpy(),
    "gradient_spectrum": lambda x: gl.gradient_spectrum(x).eigenvalues,
}
FUNCTIONS = [*((name, 1, call) for name, call in ONE_DIMENSIONAL.items()),
             *((name, 2, call) for name, call in TWO_DIMENSIONAL.items())]  # fmt: skip


def _table(values: np.ndarray, dtype: str | None = None) -> pd.Series | pd.DataFrame:
    return (pd.Series if values.ndim == 1 else pd.DataFrame)(values, dtype=dtype)


def _with_neg_bit(x: np.ndarray) -> torch.Tensor:
    return torch.complex(torch.zeros(x.shape, dtype=torch.float64), -torch.from_numpy(x.copy())).conj().imag


def _unaligned(x: np.ndarray) -> np.ndarray:
    records = np.zeros(x.shape, dtype=[("flag", "u1"), ("value", "f8")])
    records["value"] = x
    return records["value"]


def _read_only(x: np.ndarray) -> np.ndarray:
    x = x.copy()
    x.flags.writeable = False
    return x


SAME_VALUES = {
    "list": lambda x: x.tolist(),
    "parameter": lambda x: torch.nn.Parameter(torch.from_numpy(x.copy())),
    "result of a graph": lambda x: torch.from_numpy(x.copy()).requires_grad_() * 1,
    "neg bit": _with_neg_bit,
    "big endian": lambda x: x.astype(">f8"),
    "little endian": lambda x: x.astype("<f8"),
    "extended precision": lambda x: x.astype(np.longdouble),
    "negative strides": lambda x: np.flip(np.flip(x).copy()),
    "column-major": np.asfortranarray,
    "unaligned": _unaligned,
    "read-only": _read_only,
    "float32": lambda x: x.astype(np.float32),
    "mask without a masked value": lambda x: np.ma.masked_array(x, mask=False),
    "pandas": _table,
    "nullable pandas": lambda x: _table(x, "Float64"),
    "list of tensors": lambda x: list(torch.from_numpy(x.copy())),
}
ROUNDED = {  # equal to the same values in float64
    "float16": lambda x: x.astype(np.float16),
    "bfloat16": lambda x: torch.from_numpy(x.copy()).bfloat16(),
    "float8": lambda x: torch.from_numpy(x.copy()).to(torch.float8_e5m2),
    "integers": lambda x: (100 * x).astype(np.int32),
    "unsigned": lambda x: torch.from_numpy((100 * x).astype(np.uint16)),
    "big-endian integers": lambda x: (100 * x).astype(">i2"),
    "nullable integers": lambda x: _table((100 * x).astype(np.int64), "Int64"),
}


def _masked(x: np.ndarray) -> torch.Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.masked.masked_tensor(torch.from_numpy(x.copy()), torch.from_numpy(x > 2))


def _quantized(x: np.ndarray) -> torch.Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.quantize_per_tensor(torch.from_numpy(x.copy()).float(), 0.1, 0, torch.quint8)


def _missing(x: np.ndarray) -> pd.Series | pd.DataFrame:
    return _table(np.where(x == x.max(), np.nan, x), "Float64")


REFUSED = {
    "complex": lambda x: x * 1j,
    "complex tensor": lambda x: torch.from_numpy(x * (1 + 1j)).conj(),
    "objects": lambda x: x.astype(object),
    "strings": lambda x: x.astype(str),
    "dates": lambda x: x.astype("M8[s]"),
    "categories": lambda x: _table(x.astype(int)).astype("category"),
    "missing values": _missing,
    "nothing": lambda x: None,
    "a word": lambda x: "gradients",
    "a dictionary": lambda x: {"x": x},
    "ragged lists": lambda x: [[1.0, 2.0], [3.0]],
    "sparse tensor": lambda x: torch.from_numpy(x.copy()).to_sparse(),
    "sparse matrix": lambda x: sparse.csr_matrix(np.atleast_2d(x)),
    "meta tensor": lambda x: torch.empty(x.shape, device="meta"),
    "masked tensor": _masked,
    "quantized tensor": _quantized,
    "nested tensor": lambda x: torch.nested.nested_tensor([torch.ones(2), torch.ones(3)], layout=torch.jagged),
    "list of masked arrays": lambda x: [np.ma.masked_greater(x, 2)],
    "beyond float64": lambda x: x.astype(np.longdouble) * np.longdouble("1e400"),
    "no value": lambda x: x[..., :0],
    "no series": lambda x: x[None, :0, None],
    "another number of dimensions": lambda x: x[None, None],
}


def _input(make, dimensions: int):
    return make(PLAIN.ravel() if dimensions == 1 else PLAIN)


def _numbers(result) -> np.ndarray:
    if isinstance(result, gl.PowerLawFit | stats.ExponentUncertainty):
        return np.array([result.s, result.beta])
    if isinstance(result, stats.TailComparison):
        return np.array([a.ratio for a in result.alternatives])
    return np.asarray(result)


@pytest.mark.parametrize(("name", "dimensions", "call"), FUNCTIONS, ids=[f[0] for f in FUNCTIONS])
@pytest.mark.parametrize("kind", SAME_VALUES)
def test_arrays_of_any_kind_are_read_by_their_values(name, dimensions, call, kind):
    expected, result = call(_input(np.copy, dimensions)), call(_input(SAME_VALUES[kind], dimensions))
    # Computed in the same way but for the type: spectra of float32 are summed from float32 products.
    np.testing.assert_allclose(_numbers(result), _numbers(expected), rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize(("name", "dimensions", "call"), FUNCTIONS, ids=[f[0] for f in FUNCTIONS])
@pytest.mark.parametrize("kind", ROUNDED)
def test_narrow_types_are_computed_on_in_wide_ones(name, dimensions, call, kind):
    narrow = _input(ROUNDED[kind], dimensions)
    wide = narrow.double().numpy() if isinstance(narrow, torch.Tensor) else np.asarray(narrow).astype(np.float64)
    np.testing.assert_allclose(_numbers(call(narrow)), _numbers(call(wide)), rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize(("name", "dimensions", "call"), FUNCTIONS, ids=[f[0] for f in FUNCTIONS])
@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_no_array_of_real_numbers_is_refused(name, dimensions, call, kind):
    with pytest.raises(gl.InputError):
        call(_input(REFUSED[kind], dimensions))


@pytest.mark.parametrize("name", ONE_DIMENSIONAL)
def test_masked_values_take_no_part(name):
    values = np.ma.masked_array(np.r_[PLAIN.ravel(), 1e6, np.nan], mask=np.arange(38) >= 36)
    expected = ONE_DIMENSIONAL[name](PLAIN.ravel())
    np.testing.assert_array_equal(_numbers(ONE_DIMENSIONAL[name](values)), _numbers(expected))


@pytest.mark.parametrize("name", TWO_DIMENSIONAL)
def test_matrices_with_masked_values_are_refused_with_the_place(name):
    with pytest.raises(gl.InputError, match=r"1 masked values, the first at position \(1, 2\)"):
        TWO_DIMENSIONAL[name](np.ma.masked_equal(PLAIN, PLAIN[1, 2]))


def test_arrays_on_disk_are_no_histories(tmp_path):
    import zarr

    array = zarr.create_array(tmp_path / "a", data=PLAIN)
    np.testing.assert_array_equal(gl.gradient_tests(array, k=8, gaussian_k=8).d_ks,
                                  gl.gradient_tests(PLAIN, k=8, gaussian_k=8).d_ks)  # fmt: skip


def test_a_bad_value_is_named_by_its_place_in_what_was_passed():
    matrix = np.random.default_rng(1).standard_normal((5000, 40))
    matrix[4321, 17] = np.nan
    calls = [
        lambda: gl.gaussian_test_rows(matrix, 39),
        lambda: stats.gaussianity_rows(matrix),
        lambda: gl.gradient_tests(matrix, "iteration", k=20),
        lambda: gl.gradient_tests(matrix, k=20, gaussian_k=20),
        lambda: stats.rates_by_group(matrix, {"late": [slice(10, 30)]}, k=10, gaussian_k=8),
        lambda: stats.rates_by_group(matrix, {"late": [slice(10, 30)]}, "iteration", k=10, gaussian_k=8),
        lambda: stats.compare_tails_rows(matrix, 20),
        lambda: stats.stable_index_rows(matrix, shuffle_seed=3),
    ]
    for call in calls:
        with pytest.raises(gl.InputError, match="row 4321, column 17 is nan"):
            call()


BAD_ARGUMENTS = [
    (lambda k: gl.fit_power_law(PLAIN[0], k), (1, 13, 3.0, "3", None, True, -1)),
    (lambda k: gl.fit_power_law_rows(PLAIN, k), (1, 13, 3.0, None)),
    (lambda k: gl.gradient_tests(PLAIN, k=k, gaussian_k=8), (1, 13, 3.0)),
    (lambda k: gl.gradient_tests(PLAIN, k=8, gaussian_k=k), (7, 13, 8.0, "8")),
    (lambda k: gl.gaussian_test_rows(PLAIN, k), (7, 13, 8.0, None)),
    (lambda k: stats.compare_tails(PLAIN[0], k), (1, 13, 3.0)),
    (lambda k: stats.hill_rows(PLAIN, k), (0, 12, 3.0)),
    (lambda k: stats.moment_rows(PLAIN, k), (1, 12, 3.0)),
    (lambda k: stats.hill_curve(PLAIN[0], k), ([0], [12], [3.0], [], ["3"], [[3]], [True], [3j])),
    (lambda k: stats.stable_index_rows(PLAIN, k), (1, 13, 3.0)),
    (lambda k: stats.scan_tail_start(PLAIN[0], smallest=k), (1, 13, 3.0)),
    (lambda k: stats.scan_tail_start(PLAIN[0], smallest=3, largest=k), (2, 13, 5.0)),
    (lambda k: stats.scan_tail_start(PLAIN[0], smallest=3, points=k), (1, 5.0, "all")),
    (lambda n: stats.bootstrap_p_value(PLAIN[0], smallest=3, samples=n), (0, 5.0)),
    (lambda n: stats.exponent_uncertainty(PLAIN[0], 5, samples=n), (0, 5.0)),
    (lambda n: stats.exponent_uncertainty(PLAIN[0], 5, level=n), (0, 1, np.nan, "0.9")),
    (lambda n: stats.passing_ceiling("dagostino", n), (7, 8.0)),
    (lambda n: stats.passing_ceiling(n, 20), ("shapiro", None)),
    (lambda axis: gl.gradient_tests(PLAIN, axis, k=8), ("rows", 0, None)),
    *((lambda s, f=f: f(s), (-1, 1.0, "0", None, True)) for f in (
        lambda s: gl.gaussian_test_rows(PLAIN, 8, seed=s),
        lambda s: gl.gradient_tests(PLAIN, k=8, gaussian_k=8, seed=s),
        lambda s: stats.bootstrap_p_value(PLAIN[0], smallest=3, samples=1, seed=s),
        lambda s: stats.exponent_uncertainty(PLAIN[0], 5, samples=1, seed=s),
        lambda s: stats.passing_ceiling("dagostino", 8, samples=1, seed=s))),
    (lambda s: stats.stable_index_rows(PLAIN, shuffle_seed=s), (-1, 1.0, "0", True)),
    *((lambda a, f=f: f(a), (0, 1, -0.1, 1.5, np.nan, "0.05", None)) for f in (
        lambda a: gl.fit_power_law(PLAIN[0], 8, alpha=a),
        lambda a: gl.gradient_tests(PLAIN, k=8, gaussian_k=8, alpha=a),
        lambda a: stats.rates_by_group(PLAIN, {"all": [slice(0, 12)]}, k=8, alpha=a),
        lambda a: stats.passing_ceiling("dagostino", 8, alpha=a),
        lambda a: count_outliers(PLAIN.ravel(), k=30, most=3, alpha=a))),
    (lambda groups: stats.rates_by_group(PLAIN, groups, k=8), (
        {}, {"a": []}, {"a": slice(0, 3)}, {"a": [slice(0, 6, 2)]}, {"a": [slice(3, 3)]}, {"a": [slice(5, 2)]},
        {"a": [slice(0, 13)]}, {"a": [slice(-3, 12)]}, {"a": [slice(0.0, 3.0)]}, {"a": [3]})),
]  # fmt: skip


@pytest.mark.parametrize(("call", "values"), BAD_ARGUMENTS)
def test_arguments_that_do_not_fit_are_refused(call, values):
    for value in values:
        with pytest.raises(gl.InputError):
            call(value)


def test_counts_of_numpy_are_counts():
    eight = np.int64(8)
    assert type(gl.fit_power_law(PLAIN[0], eight).k) is int
    assert type(stats.compare_tails(PLAIN[0], eight).k) is int
    assert type(stats.exponent_uncertainty(PLAIN[0], eight, samples=np.int32(2), seed=np.uint8(1)).k) is int
    tests = gl.gradient_tests(PLAIN, k=eight, gaussian_k=eight, seed=np.int64(3))
    assert [type(value) for value in (tests.k, tests.gaussian_k, tests.seed)] == [int] * 3
    assert stats.rates_by_group(PLAIN, {"all": [slice(None)]}, k=eight).dimensions.tolist() == [12]
