import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import gradlaw as gl
from gradlaw import spectra
from gradlaw.history.stores import placement, zarr_store
from gradlaw.history.stores.precision import DTYPES
from gradlaw.spectra.controls import CONTROLS

SMALL_BANDS = 4 * 99 * 7  # so that 40 iterations of 99 dimensions make several chunks in each direction


@pytest.fixture
def pair(small_problem, tmp_path) -> tuple[gl.GradientHistory, gl.GradientHistory]:
    """The same history in memory and on disk."""
    settings = {"iterations": 40, "batch_size": 4, "seed": 1, "transforms": (gl.Momentum(0.5),)}
    return gl.collect(small_problem, **settings), gl.collect(
        small_problem, **settings, store=tmp_path / "store", band_bytes=SMALL_BANDS
    )


def test_what_is_read_is_what_was_collected(pair):
    memory, stored = pair
    assert stored.gradients.chunks == (7, 17)
    assert stored.shape == memory.shape == (40, 99)
    assert np.array_equal(np.asarray(stored), np.asarray(memory))
    assert torch.equal(stored[5], memory[5])
    assert torch.equal(stored[3:30], memory[3:30])
    assert torch.equal(stored.dimension(80), memory.dimension(80))
    assert torch.equal(stored.losses, memory.losses)
    for axis in ("dimension", "iteration"):
        blocks = list(stored.blocks(axis))
        assert len(blocks) > 5
        joined = torch.cat([block for _, block in blocks])
        assert torch.equal(joined, memory.gradients if axis == "dimension" else memory.gradients.T)
        assert [first for first, _ in blocks] == list(np.cumsum([0] + [len(block) for _, block in blocks[:-1]]))


def test_tests_and_spectra_read_both_kinds_alike(pair):
    memory, stored = pair
    for axis in ("dimension", "iteration"):
        one, other = (gl.gradient_tests(h, axis, k=20, gaussian_k=20).to_frame() for h in pair)
        pd.testing.assert_frame_equal(one, other, rtol=1e-12, atol=1e-15)
    for center in (False, True):
        one, other = gl.gradient_spectrum(memory, center), gl.gradient_spectrum(stored, center)
        np.testing.assert_allclose(one.eigenvalues, other.eigenvalues, rtol=1e-12, atol=1e-12 * one.eigenvalues[0])


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_everything_in_spectra_reads_both_kinds_alike(small_problem, tmp_path, dtype):
    memory, stored = (
        gl.collect(small_problem, 40, 4, dtype=dtype, store=store, band_bytes=SMALL_BANDS)
        for store in ("memory", tmp_path / "store")
    )
    # The same values in float64.
    wide = dataclasses.replace(memory, gradients=memory.gradients.double())
    for measure, tolerance in (
        (lambda h: spectra.davis_kahan(h, k=3).to_frame(), 1e-12),
        (lambda h: spectra.davis_kahan(h, wide, k=3, center=False).to_frame(), 1e-7),  # sines of nearly equal vectors
        (lambda h: spectra.gradient_noise_by_layer(h, 4, 64), 1e-12),
        (lambda h: pd.DataFrame({n: [s.trace, s.rank] for n, s in spectra.layer_spectra(h).items()}), 1e-12),
        (lambda h: spectra.spectrum_over_iterations(h, [10, 20], k=5).to_frame(5), 1e-12),
        (lambda h: pd.DataFrame({name: spectra.control_spectrum(h, name, 1).eigenvalues for name in CONTROLS}), 1e-12),
        (lambda h: pd.DataFrame(spectra.permuted_within_dimensions(h, 1).double()), 0),
        (lambda h: pd.DataFrame(spectra.gradient_eigenvectors(h, 3).vectors.abs().double()), 1e-6),  # kept in float32
    ):
        expected = measure(wide)
        for history in (memory, stored):
            pd.testing.assert_frame_equal(measure(history), expected, rtol=tolerance, atol=tolerance)


def test_a_stored_history_is_opened_again(pair, tmp_path):
    memory, _ = pair
    opened = gl.GradientHistory.open(tmp_path / "store")
    assert np.array_equal(np.asarray(opened), np.asarray(memory))
    assert torch.equal(opened.losses, memory.losses)
    assert opened.record() == memory.record()


def test_an_analysis_of_a_stored_history_is_the_same(small_problem, tmp_path):
    gl.collect(small_problem, 40, 4, store=tmp_path / "store", band_bytes=SMALL_BANDS)
    one, other = (
        gl.analyze(small_problem, 40, 4, k=20, gaussian_k=20, extended=True, store=store)
        for store in ("memory", tmp_path / "store")
    )
    for axis in ("dimension", "iteration"):
        frames = one.tests[axis].to_frame(), other.tests[axis].to_frame()
        pd.testing.assert_frame_equal(*frames, rtol=1e-12, atol=1e-15)
    pd.testing.assert_frame_equal(one.extended.tail_indices, other.extended.tail_indices, rtol=1e-12)


def test_large_histories_go_to_disk_by_themselves_and_are_announced(small_problem, monkeypatch, capsys):
    monkeypatch.setattr(placement, "free_memory", lambda device: 20_000)
    history = gl.collect(small_problem, 40, 4, progress=gl.Progress())
    said = " ".join(capsys.readouterr().err.split())
    assert "a gradient history of T=40 x n=99 takes 0.00 GB, more than 50% of the 0.00 GB" in said
    folder = Path(history.gradients._array.store.root)
    assert folder.exists()
    del history
    assert not folder.exists()


def test_a_history_leaves_room_for_its_spectra(small_problem, monkeypatch, capsys):
    needed, spectra = 40 * 99 * 4, 2 * 8 * 40**2
    for free, in_memory in ((needed + spectra, True), (needed + spectra - 1, False)):
        monkeypatch.setattr(placement, "free_memory", lambda device, free=free: free)
        history = gl.collect(small_problem, 40, 4, progress=gl.Progress())
        assert isinstance(history.gradients, torch.Tensor) == in_memory
    assert "GB of its spectra more than all of the 0.00 GB of memory" in " ".join(capsys.readouterr().err.split())


def test_half_precision_needs_half_the_memory(small_problem, monkeypatch):
    monkeypatch.setattr(placement, "free_memory", lambda device: 20_000)
    assert isinstance(gl.collect(small_problem, 40, 4, dtype="bfloat16").gradients, torch.Tensor)
    assert isinstance(gl.collect(small_problem, 40, 4).gradients, zarr_store.DiskGradients)


@pytest.mark.parametrize("on_disk", [False, True])
@pytest.mark.parametrize("name", DTYPES)
def test_types_of_storage(small_problem, tmp_path, name, on_disk):
    settings = {"iterations": 40, "batch_size": 4, "transforms": (gl.Momentum(0.5),)}
    computed = gl.collect(small_problem, **settings)
    folder = tmp_path / "store" if on_disk else None
    # Bands without a last one of a single row, whose matrix products some processors round in another way.
    history = gl.collect(small_problem, **settings, dtype=DTYPES[name], store=folder, band_bytes=4 * 99 * 8)
    if on_disk:
        assert history.gradients._array.dtype.itemsize == DTYPES[name].itemsize
    expected = computed.gradients.to(DTYPES[name])
    read = expected if expected.dtype.itemsize >= 4 else expected.float()
    assert history.dtype == history.gradients.dtype == DTYPES[name]
    for found in (history, gl.GradientHistory.open(folder)) if on_disk else (history,):
        assert torch.equal(found[:], read)
        assert torch.equal(found[3], read[3])
        assert torch.equal(found.dimension(80), read[:, 80])
        assert torch.equal(torch.cat([block for _, block in found.blocks("iteration")]), read.T)
        assert np.array_equal(np.asarray(found), read.numpy())
        assert found.settings["storage"]["dtype"] == name
    assert history.losses.dtype == torch.float32
    errors = (expected.double() - computed.gradients).norm(dim=1)
    norms = computed.gradients.double().norm(dim=1)
    storage = history.settings["storage"]
    assert storage["rounding"] == pytest.approx(float((errors.square().sum() / norms.square().sum()).sqrt()), rel=1e-6)
    assert storage["largest_rounding"] == pytest.approx(float((errors / norms).max()), rel=1e-6)
    assert history.rounding == max(computed.rounding, storage["rounding"])
    assert (storage["rounding"] > 0) == (name in ("float16", "bfloat16"))
    said = [notice for notice in history.notices if notice.startswith(f"gradients are stored as {name}")]
    assert len(said) == (storage["rounding"] > 0)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_statistics_of_half_precision_are_computed_in_float32(small_problem, dtype):
    settings = {"iterations": 40, "batch_size": 4, "k": 20, "gaussian_k": 20}
    half = gl.collect(small_problem, 40, 4, dtype=dtype)
    for axis in ("dimension", "iteration"):
        one, other = (gl.gradient_tests(h, axis, k=20, gaussian_k=20).to_frame() for h in (half, np.asarray(half)))
        pd.testing.assert_frame_equal(one, other)
    analysis = gl.analyze(small_problem, **settings, dtype=dtype, extended=True)
    assert analysis.settings["storage"]["dtype"] == dtype
    column = half.dimension(80)
    centred = column.double() - column.double().mean()
    skewness = float((centred**3).mean() / (centred**2).mean() ** 1.5)
    assert analysis.extended.gaussianity["skewness"][80] == pytest.approx(skewness, rel=1e-4)


def _scaled(problem: gl.Problem, factor: float) -> gl.Problem:
    return gl.Problem(problem.model, lambda output, targets: factor * problem.loss(output, targets), problem.data)


def test_what_float16_cannot_hold(small_problem):
    with pytest.raises(
        gl.InputError,
        match=r"the gradient of iteration 0 is -?\d\S+ at parameter '0.weight' \(element \d+ of 64\), beyond the range "
        "of float16, 65504; store it with dtype='bfloat16'",
    ):
        gl.collect(_scaled(small_problem, 1e8), 10, 4, dtype="float16")
    assert gl.collect(_scaled(small_problem, 1e8), 10, 4, dtype="bfloat16").settings["storage"]["underflow"] == 0
    tiny = _scaled(small_problem, 1e-6)
    history, computed = gl.collect(tiny, 10, 4, dtype="float16"), gl.collect(tiny, 10, 4)
    lost = float(((history.gradients == 0) & (computed.gradients != 0)).sum() / (computed.gradients != 0).sum())
    assert 0.01 < lost < 1
    assert history.settings["storage"]["underflow"] == pytest.approx(lost)
    assert f"{lost:.2%} of the nonzero values became zero" in history.notices[-1]


def test_float64_gradients_that_do_not_fit_float32(small_problem):
    inputs, targets = small_problem.data
    problem = gl.Problem(small_problem.model.double(), small_problem.loss, (inputs.double(), targets))
    with pytest.raises(gl.InputError, match=r"beyond the range of float32, .* store it with dtype='float64'"):
        gl.collect(_scaled(problem, 1e40), 10, 4, dtype="float32")


def test_gradients_of_zero_have_no_rounding_error(small_problem):
    history = gl.collect(_scaled(small_problem, 0.0), 4, 4, dtype="bfloat16")
    assert history.settings["storage"] == {"dtype": "bfloat16", "rounding": 0, "largest_rounding": 0, "underflow": 0}


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("tail", [0.7, 2.0, 5.0])
def test_ties_move_ks_distances_no_more_than_is_said(dtype, tail):
    values = torch.from_numpy(1 + np.random.default_rng(0).pareto(tail, (50, 3000)).clip(max=60_000))
    exact, rounded = (gl.fit_power_law_rows(v, 1000) for v in (values, values.to(dtype)))
    moved = (rounded.d_ks - exact.d_ks).abs()
    assert (moved <= (exact.beta - 1) * torch.finfo(dtype).eps).all()
    assert float(moved.max()) > 0


def test_the_floor_of_a_spectrum_follows_the_storage(small_problem):
    single, half = (gl.collect(small_problem, 60, 4, dtype=dtype) for dtype in (None, "bfloat16"))
    exact, rounded = (gl.gradient_spectrum(h, center=False) for h in (single, half))
    assert exact.rank > rounded.rank
    # What rounding can do to an eigenvalue, by Weyl.
    roots = (np.sqrt(s.eigenvalues.clip(min=0)) for s in (exact, rounded))
    assert np.abs(np.subtract(*roots)).max() <= np.sqrt(rounded.floor)
    assert half.rounding < torch.finfo(torch.bfloat16).eps
    array = gl.gradient_spectrum(half.gradients, center=False)
    np.testing.assert_array_equal(array.eigenvalues, rounded.eigenvalues)
    assert array.floor > rounded.floor


def test_stores_that_cannot_be_used(small_problem, tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(gl.InputError, match="is not empty"):
        gl.collect(small_problem, 4, 4, store=tmp_path)
    with pytest.raises(gl.InputError, match="holds no gradient history"):
        gl.GradientHistory.open(tmp_path)
    zarr_store.create(tmp_path / "begun", (4, 5), torch.float32)
    with pytest.raises(gl.InputError, match="did not finish"):
        gl.GradientHistory.open(tmp_path / "begun")
    with pytest.raises(gl.InputError, match=r"dtype must be one of float64, .* got 'int8'"):
        gl.collect(small_problem, 4, 4, dtype="int8")
