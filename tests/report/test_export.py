"""What other tools read of an analysis: tables of pandas, xarray, LaTeX, trackers."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.tensorboard import SummaryWriter

import gradlaw as gl
from hostile import HOSTILE


def test_the_tables_are_those_of_the_run_directory(random_run, tmp_path):
    random_run.save(tmp_path / "run")
    tables = random_run.tables()
    files = {path.stem: pd.read_parquet(path) for path in (tmp_path / "run").glob("*.parquet")}
    assert tables.keys() == files.keys()
    for name, table in tables.items():
        assert list(table) == list(files[name])
        for column in table.select_dtypes("number"):
            np.testing.assert_array_equal(table[column], files[name][column])


def test_one_row_of_statistics(random_run):
    frame = random_run.to_frame()
    assert len(frame) == 1
    assert frame["loss"].item() == pytest.approx(random_run.losses.mean())
    assert frame["iteration_gaussian_rate"].item() == random_run.tests["iteration"].gaussian_rate


def test_a_data_set_of_xarray(random_run, tmp_path):
    data = random_run.to_xarray()
    iterations, dimensions = random_run.settings["iterations"], random_run.provenance["problem"]["dimensions"]
    assert data.sizes["iteration"] == iterations
    assert data.sizes["parameter"] == dimensions
    np.testing.assert_array_equal(data["dimension_wise.d_ks"], random_run.tests["dimension"].d_ks)
    assert json.loads(data.attrs["provenance"]) == random_run.provenance


def test_a_table_for_latex_escapes_names(random_run):
    provenance = json.loads(json.dumps(random_run.provenance))
    for name in HOSTILE:
        provenance["problem"]["model"] = name
        text = replace(random_run, provenance=provenance).to_latex()
        caption = next(line for line in text.splitlines() if line.startswith(r"\caption"))
        assert text.count("\n\n") == 0
        assert all(c.isprintable() or c == "\n" for c in text)
        for special in "$%&#":
            bare = caption.replace("$<$", "").replace("$>$", "").replace(r"$\pm$", "").replace(rf"\{special}", "")
            assert special not in bare
    assert r"\toprule" in text
    assert "iteration gaussian rate" in text


def test_scalars_for_tensorboard(random_run, tmp_path):
    with SummaryWriter(tmp_path) as writer:
        random_run.log(writer, step=7)
    found = EventAccumulator(str(tmp_path)).Reload()
    (event,) = found.Scalars("gradlaw_analysis/iteration_gaussian_rate")
    assert event.step == 7
    assert event.value == pytest.approx(random_run.tests["iteration"].gaussian_rate)
    with pytest.raises(gl.InputError, match="SummaryWriter, a W&B run or a Trackio run, got list"):
        random_run.log([])
