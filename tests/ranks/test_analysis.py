"""An analysis that ranks share is that of one process: the same draws and tests, spectra but for rounding."""

import numpy as np
import pandas as pd
import pytest
import torch

import gradlaw as gl
import sharing
from gradlaw.spectra.gram.history_gram import history_gram

# All but the Gaussian p-values, whose last digit depends on how many are computed side by side.
EXACT = ("beta", "s", "lambda_min", "d_ks", "p_value", "is_power_law", "is_power_law_calibrated", "degenerate_series")
ONE_BY_ONE = [name for name, case in sharing.CASES.items() if case["engine"] == "loop"]
SIZES = (2, 4)


@pytest.fixture(scope="module")
def alone() -> dict[str, gl.Analysis]:
    return sharing.all_cases(0)


@pytest.fixture(scope="module", params=SIZES)
def shared(request, tmp_path_factory) -> list[dict[str, gl.Analysis]]:
    return sharing.run(sharing.all_cases, request.param, tmp_path_factory.mktemp("shared"))


def test_every_rank_has_the_whole_result(shared):
    for other in shared[1:]:
        for name, analysis in shared[0].items():
            assert other[name].sections.keys() == analysis.sections.keys()
            pd.testing.assert_frame_equal(other[name].tests["iteration"].to_frame(),
                                          analysis.tests["iteration"].to_frame())  # fmt: skip


def _settings(analysis: gl.Analysis) -> dict[str, object]:
    """But for the measured rounding."""
    settings = {name: value for name, value in analysis.settings.items() if name != "rounding"}
    return settings | {"storage": {key: settings["storage"][key] for key in ("dtype", "underflow")}}


@pytest.mark.parametrize("name", ONE_BY_ONE)
@pytest.mark.parametrize("axis", ["dimension", "iteration"])
def test_series_have_the_same_tests_to_the_bit(alone, shared, name, axis):
    expected, found = alone[name].tests[axis], shared[-1][name].tests[axis]
    for column in EXACT:
        np.testing.assert_array_equal(getattr(found, column), getattr(expected, column), err_msg=column)
    np.testing.assert_allclose(found.gaussian_p_value, expected.gaussian_p_value, rtol=1e-12, atol=1e-300)
    found = shared[-1][name]
    assert _settings(found) == _settings(alone[name])
    for number in ("rounding", "largest_rounding"):  # of norms, which are sums over ranks
        assert found.settings["storage"][number] == pytest.approx(alone[name].settings["storage"][number], rel=1e-12)
    assert alone[name].notices == shared[-1][name].notices


def test_extended_statistics_are_the_same(alone, shared):
    """Of each series to the bit; of spectra, whose last digits differ, to rounding."""
    expected, found = (case["plain autograd"].extended for case in (alone, shared[-1]))
    for table in ("layers", "tail_indices", "gaussianity"):
        pd.testing.assert_frame_equal(getattr(found, table), getattr(expected, table), rtol=1e-12)
    for table in ("exponents", "comparisons"):
        pd.testing.assert_frame_equal(getattr(found, table), getattr(expected, table), rtol=1e-5)


def test_a_kept_history_is_that_of_one_process_and_is_read_by_any_number(tmp_path):
    whole = gl.collect(sharing.problem(), 61, 4, 3, engine="loop", dtype="bfloat16")
    first, *others = sharing.run(sharing.InFolder(sharing.stored, tmp_path), 3, tmp_path)
    kept = gl.GradientHistory.open(tmp_path / "history")
    assert kept.gradients.chunks[0] < 61 / 3  # several writers
    assert torch.equal(torch.as_tensor(kept[:]), torch.as_tensor(whole[:]))
    assert torch.equal(kept.losses, whole.losses)
    assert (kept.record(), kept.layout) == (whole.record(), whole.layout)
    for made, read, analysis in (first, *others):
        assert made == read == kept.settings
        np.testing.assert_array_equal(analysis.tests["dimension"].d_ks, gl.gradient_tests(whole, k=25).d_ks)
    again = gl.analyze(sharing.problem(), 61, 4, k=25, seed=3, engine="loop", dtype="bfloat16",
                       store=tmp_path / "history")  # fmt: skip
    assert again.settings["storage"] == first[2].settings["storage"]
    assert {path.name for path in (tmp_path / "history").iterdir()} == {"gradients", "losses", "zarr.json"}


def test_a_store_whose_writers_died_is_collected_again(tmp_path):
    first, second = sharing.run(sharing.InFolder(sharing.killed_while_keeping, tmp_path), 2, tmp_path)
    assert first.startswith("rank 1 of 2 (process ")
    assert second is None
    with pytest.raises(gl.InputError, match="did not finish"):
        gl.GradientHistory.open(tmp_path / "history")
    settings = {"iterations": 61, "batch_size": 4, "engine": "loop"}
    again = gl.collect(sharing.problem(), store=tmp_path / "history", **settings)
    assert torch.equal(torch.as_tensor(again[:]), gl.collect(sharing.problem(), **settings)[:])


def test_checkpoints_are_analysed_together_and_read_by_all(tmp_path):
    files = sharing.weights(tmp_path)
    plain = gl.analyze_checkpoints(sharing.problem(), files, tmp_path / "alone", **sharing.AT_CHECKPOINTS)
    for measured, read in sharing.run(sharing.InFolder(sharing.checkpoints, tmp_path), 2, tmp_path):
        assert measured.names == plain.names
        for one, other, expected in zip(measured.analyses, read.analyses, plain.analyses, strict=True):
            np.testing.assert_array_equal(one.losses, expected.losses)
            np.testing.assert_array_equal(one.tests["dimension"].d_ks, expected.tests["dimension"].d_ks)
            assert one.provenance == other.provenance
    found = {path.name for path in (tmp_path / "shared").iterdir()}
    assert found == {path.name for path in (tmp_path / "alone").iterdir()}


@pytest.mark.parametrize("name", sharing.CASES)
def test_what_is_summed_over_ranks_is_the_same_but_for_rounding(alone, shared, name):
    tolerance = 1e-12 if name in ONE_BY_ONE else 1e-5
    expected, found = alone[name], shared[-1][name]
    np.testing.assert_allclose(found.losses, expected.losses, rtol=tolerance)
    for matrix, spectrum in {**expected.spectra, **expected.controls}.items():
        other = {**found.spectra, **found.controls}[matrix]
        np.testing.assert_allclose(other.eigenvalues, spectrum.eigenvalues, rtol=0,
                                   atol=tolerance * spectrum.eigenvalues[0])  # fmt: skip
    for axis, example in expected.examples.items():
        if name in ONE_BY_ONE:
            assert found.examples[axis] == example
    if expected.noise is not None:
        pd.testing.assert_frame_equal(found.noise, expected.noise, rtol=1e3 * tolerance, atol=1e-12)
    for axis, tests in expected.tests.items():
        np.testing.assert_allclose(found.tests[axis].d_ks, tests.d_ks, atol=20 * tolerance)


def test_the_provenance_says_how_many_ranks(alone, shared):
    name = next(iter(sharing.CASES))
    assert shared[0][name].provenance["machine"]["ranks"] == len(shared)
    assert "ranks" not in alone[name].provenance["machine"]


@pytest.fixture(scope="module")
def told(tmp_path_factory) -> list[dict[str, str]]:
    return sharing.run(sharing.refusals, 4, tmp_path_factory.mktemp("refused"))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("a parameter", "rank 1 of 4 has other parameter first.weight than rank 0"),
        ("a buffer", "rank 1 of 4 has other buffer norm.running_var than rank 0"),
        ("data", "rank 1 of 4 has other data (sha256)"),
        ("a loss", "the gradient of the first minibatch is not the same on every rank: its norms are"),
        ("a setting", "rank 1 of 4 has other k than rank 0"),
        ("iterations", "rank 1 of 4 has other setting iterations than rank 0"),
        ("few iterations", "4 ranks share out 3 iterations and 283 dimensions"),
        ("not finite", "the loss of iteration 12 is nan"),
        ("store", "rank 1 of 4 has other store than rank 0"),
        ("out of range", "beyond the range of float16"),
        ("sketch", "sketch does not go with 4 ranks"),
    ],
)
def test_what_is_refused_is_refused_on_every_rank_and_named(told, wrong, message):
    for rank in told:
        assert message in rank[wrong]


def test_a_wrapped_model_is_the_model_inside_and_one_rank_can_work_alone(tmp_path):
    plain = gl.analyze(sharing.problem(), 20, k=5)
    for rank, found in enumerate(sharing.run(sharing.wrapped, 2, tmp_path)):
        assert [part.name for part in found["parallel"].layout] == [part.name for part in plain.layout]
        np.testing.assert_allclose(found["parallel"].losses, plain.losses, rtol=1e-6)
        assert any("DistributedDataParallel" in notice for notice in found["parallel"].notices)
        assert len(found["alone"].losses) == 20 + rank


def test_a_spread_model_is_gathered_and_stays_spread(tmp_path):
    plain = gl.analyze(sharing.gpt(), 30, 2, k=10, engine="loop")
    curvature = gl.hessian_spectrum(sharing.gpt(), 3, samples=9, dtype=torch.float64)
    for rank in sharing.run(sharing.spread, 2, tmp_path):
        found = rank["analysis"]
        assert found.layout == plain.layout
        np.testing.assert_array_equal(found.losses, plain.losses)
        np.testing.assert_array_equal(found.tests["dimension"].d_ks, plain.tests["dimension"].d_ks)
        assert any("spread over ranks by fully_shard" in notice for notice in found.notices)
        np.testing.assert_allclose(rank["curvature"].eigenvalues, curvature.eigenvalues, rtol=1e-8)
        assert rank["unmoved"]
        assert "MixedPrecisionPolicy" in rank["refused"][0]
        assert "spread over ranks in a way that is not known here" in rank["refused"][1]


def test_ranks_share_out_the_layers_of_the_gram_matrix(tmp_path):
    net = sharing.problem()
    history = gl.collect(net, 40, 1, engine="layerwise")
    expected = history_gram(history, net, least_saved=1.0)
    spectrum = gl.gradient_spectrum(history).eigenvalues
    for by_layers, dense, rounding, eigenvalues in sharing.run(sharing.gram_of_layers, 3, tmp_path):
        assert (by_layers - expected.gram).norm() <= 1e-6 * expected.gram.norm()
        assert (dense - expected.gram).norm() <= 1e-6 * expected.gram.norm()
        assert not torch.equal(by_layers, dense)
        assert history.rounding / 2 <= rounding <= 10 * expected.rounding
        np.testing.assert_allclose(eigenvalues, spectrum, atol=1e-6 * spectrum[0])


def test_a_rank_that_is_killed_is_named_and_ends_the_others(tmp_path):
    first, second, third = sharing.run(sharing.dying, 3, tmp_path)
    assert second is None
    for message in (first, third):
        assert message.startswith("rank 1 of 3 (process ")
        assert "has ended amid the work; start it again, with any number of ranks" in message
