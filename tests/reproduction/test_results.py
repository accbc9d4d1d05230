"""Results that are kept with the source come back as they were, or are refused; the committed ones fit together."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradlaw.analysis.verdicts import COVARIANCE, SECOND_MOMENT
from gradlaw.errors import InputError
from gradlaw.reproduction.evidence import Evidence
from gradlaw.reproduction.experiment import history
from gradlaw.reproduction.measurement import Measurement
from gradlaw.reproduction.results import SERIES, TABLE, ResultTable, _cell, _value, write_results
from gradlaw.reproduction.series import GAPS_BY_EIGENVALUE, GAPS_SORTED, NAMES, WHOLE, drawn_ranks, ranked, thin
from gradlaw.reproduction.store import Result, Store
from gradlaw.reproduction.xie2023.networks import LENET, LENET_TRAINED
from gradlaw.reproduction.xie2023.paper import PAPER
from gradlaw.stats import fit_power_law

COMMITTED = Path(__file__).parents[2] / "docs/reproduction/results"
TINY = PAPER.profiles["tiny"]
MEASURED = Measurement(history(LENET, 1), 0, None, None, 40, 20, 20)
REFUSED = Measurement(history(LENET_TRAINED, 1), 1, LENET_TRAINED.recipe(), None, 40, 20, 20)
GAPLESS, LENGTH, RANK = 9, 5000, 4990


def _spectrum() -> np.ndarray:
    eigenvalues = np.random.default_rng(0).pareto(1.0, LENGTH)
    eigenvalues[::-1].sort()
    eigenvalues[GAPLESS] = eigenvalues[GAPLESS - 1]
    return eigenvalues


def _result() -> Result:
    """Awkward in every way that a record may be."""
    spectra = {name: {"rank": RANK, "k": 20, "leading": _spectrum()[:60].tolist(), "refused": None}
               for name in (SECOND_MOMENT, COVARIANCE)}  # fmt: skip
    record = {"spectra": spectra, "notices": [], "examples": {}, "text": "null", "another": "12e3",
              "third": "a, \"b\"\nc", "empty": "", "values": [1, 0.1 + 0.2, None, "x"], "yes": True,
              "none": None}  # fmt: skip
    arrays = {name: _spectrum() for name in ("second_moment", "covariance")}
    magnitudes = {"dimension_ranks": np.array([1, 2, 4]), "dimension_magnitudes": np.array([3, 2, 0.1], np.float32)}
    return Result(record, arrays | magnitudes)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A table of one result and one refusal."""
    store = Store(tmp_path / "store")
    store.save(MEASURED, _result())
    measurements = {(m.experiment, m.seed): m for m in (MEASURED, REFUSED)}
    evidence = Evidence(store, (0, 1), measurements, {REFUSED: "no data"})
    write_results(tmp_path / "results", TINY, evidence)
    return tmp_path / "results"


def test_results_come_back_as_they_were(folder: Path) -> None:
    results = ResultTable(folder)
    assert (results.profile, results.seeds) == (TINY, (0, 1))
    assert MEASURED in results
    assert REFUSED not in results
    assert results.why_missing([MEASURED, REFUSED]) == {REFUSED: "no data"}
    assert results.unused([REFUSED]) == [MEASURED.key]
    expected = thin(_result())
    found = results.load(MEASURED)
    assert found.record == expected.record | {"measurement": json.loads(json.dumps(MEASURED.settings()))}
    assert found.arrays.keys() == expected.arrays.keys()
    assert all(found.arrays[name].tobytes() == values.tobytes() for name, values in expected.arrays.items())


def test_the_same_results_are_the_same_files(folder: Path, tmp_path: Path) -> None:
    results, measurements = ResultTable(folder), {(m.experiment, m.seed): m for m in (MEASURED, REFUSED)}
    evidence = Evidence(results, (0, 1), measurements, results.why_missing([REFUSED]))
    for path in write_results(tmp_path / "again", TINY, evidence):
        assert path.read_bytes() == (folder / path.name).read_bytes()


def test_what_is_drawn_and_fitted_is_kept_and_nothing_else() -> None:
    full, result = _spectrum(), thin(_result())
    for matrix in (SECOND_MOMENT, COVARIANCE):
        ranks, values = ranked(result, NAMES[matrix])
        assert set(ranks) == set(range(1, WHOLE + 1)) | set(drawn_ranks(RANK))
        np.testing.assert_array_equal(values, full[ranks - 1])
    gaps = full[: RANK - 1] - full[1:RANK]
    ranks, values = ranked(result, NAMES[GAPS_BY_EIGENVALUE])
    np.testing.assert_array_equal(values, gaps[ranks - 1])
    assert GAPLESS not in ranks
    ranks, values = ranked(result, NAMES[GAPS_SORTED])
    np.testing.assert_array_equal(values, np.sort(gaps[gaps > 0])[::-1][ranks - 1])
    assert "leading" not in result.record["spectra"][COVARIANCE]
    assert thin(result) == result


def test_a_spectrum_of_rounding_alone_keeps_its_leading_values_and_has_no_gaps() -> None:
    raw = _result()
    raw.record["spectra"][COVARIANCE]["rank"] = 0
    result = thin(raw)
    assert len(ranked(result, "covariance")[1]) == 60
    assert len(ranked(result, NAMES[GAPS_SORTED])[1]) == 0


TEXTS = st.text() | st.sampled_from(
    ["null", "NaN", "Infinity", "-1", "1e5", "01", "1.", "[", "{}", '"', " ", "nullable"]
)


@given(st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS
       | st.lists(TEXTS | st.integers(), max_size=3))  # fmt: skip
def test_every_cell_comes_back_with_its_type(value: Any) -> None:
    cell = _cell(value)
    found = _value(cell)
    assert cell != ""
    assert (type(found), found) == (type(value), value)


def _change(folder: Path, column: str, value: str | None) -> None:
    table = pd.read_csv(folder / TABLE, dtype=str, keep_default_na=False)
    if value is None:
        table = table.drop(columns=column)
    else:
        table.loc[0, column] = value
    table.to_csv(folder / TABLE, index=False)


def test_files_that_were_changed_are_refused_by_their_manifest(folder: Path) -> None:
    for name in (TABLE, SERIES):
        whole = (folder / name).read_bytes()
        for damaged in (whole[:-9], whole[:50] + bytes([whole[50] ^ 1]) + whole[51:], None):
            (folder / name).unlink() if damaged is None else (folder / name).write_bytes(damaged)
            with pytest.raises(InputError, match=r"is damaged: .* repeat the command|there is no " + name):
                ResultTable(folder)
            (folder / name).write_bytes(whole)
    assert ResultTable(folder).seeds


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("measurement.seed", "7", "row 1: the key is not that of the settings"),
        ("notices", "[1,", "row 1: a cell is broken JSON"),
        ("key", "0123456789abcdef", "row 1: the key is not that of the settings"),
        ("profile.k", "33", "several profiles"),
        ("profile.k", None, "not those of a profile"),
        ("reason", "lost", "do not have the same results"),
    ],
)
def test_files_that_contradict_themselves_are_refused(folder: Path, column: str, value: str, message: str) -> None:
    _change(folder, column, value)
    (folder / "results.manifest.json").unlink()  # as those of earlier versions
    with pytest.raises(InputError, match=message):
        ResultTable(folder)


def test_no_result_is_no_table(tmp_path: Path) -> None:
    evidence = Evidence(Store(tmp_path), (0,), {(MEASURED.experiment, 0): MEASURED}, {})
    with pytest.raises(InputError, match="none of what was asked for was measured"):
        write_results(tmp_path / "results", TINY, evidence)
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize("name", [TABLE, SERIES])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(InputError, match=f"there is no {name}"):
        ResultTable(folder)


@pytest.fixture(scope="module")
def committed() -> pd.DataFrame:
    return pd.read_csv(COMMITTED / TABLE, dtype={"key": str})


def test_the_committed_series_have_the_fits_of_the_committed_table(committed: pd.DataFrame) -> None:
    series = {key: rows.sort_values("rank") for key, rows in
              pd.read_parquet(COMMITTED / SERIES).groupby(["key", "series"])}  # fmt: skip
    checked = 0
    for matrix in (SECOND_MOMENT, COVARIANCE):
        name = matrix.replace(" ", "_")
        fits = committed.dropna(subset=[f"spectra.{matrix}.fit.s"])
        for row in fits.to_dict("records"):
            k = int(row[f"spectra.{matrix}.fit.k"])
            fit = fit_power_law(series[row["key"], name]["value"].to_numpy()[:k], k)
            assert fit.s == pytest.approx(row[f"spectra.{matrix}.fit.s"], rel=1e-9)
            assert fit.d_ks == pytest.approx(row[f"spectra.{matrix}.fit.d_ks"], rel=1e-9)
            checked += 1
    assert checked > 190


def test_the_committed_results_are_small() -> None:
    assert sum(path.stat().st_size for path in COMMITTED.iterdir()) < 8e6
    assert {path.name for path in COMMITTED.iterdir()} == {TABLE, SERIES, "results.manifest.json"}
