"""Every published row and figure is declared, with the settings that the paper prints."""

import ast
from dataclasses import replace
from pathlib import Path

import pytest

import gradlaw.reproduction
from gradlaw.errors import InputError
from gradlaw.reproduction.evidence import Evidence
from gradlaw.reproduction.experiment import NetworkSpec, history
from gradlaw.reproduction.output import report
from gradlaw.reproduction.paper import SPECTRUM, Row, Table
from gradlaw.reproduction.selection import named_by, select
from gradlaw.reproduction.store import Store
from gradlaw.reproduction.xie2023.claims import CLAIMS
from gradlaw.reproduction.xie2023.figures import FIGURES
from gradlaw.reproduction.xie2023.paper import PAPER
from gradlaw.reproduction.xie2023.tables import TABLES

DATA = {"MNIST": "mnist", "CIFAR-10": "cifar10", "CIFAR-100": "cifar100"}
MODELS = {"LeNet": ("lenet",), "FCN": ("fcn", "fcn-relu-bn"), "2Layer-FCN": ("fcn", "fcn-relu-bn"),
          "1Layer-FCN": ("fcn", "fcn-relu-bn"), "4Layer-LNN": ("lnn", "lnn-bn", "lnn-relu")}  # fmt: skip
TRANSFORMS = {"GradClip=1": ("clip-norm=1",), "GradClip=0.1": ("clip-norm=0.1",)}
NOISE = {"Label Noise 40%": "symmetric=0.4", "Label Noise 80%": "symmetric=0.8", "Random Label": "random"}
SIZES = {"Width=30": {"width": 30}, "Width=10": {"width": 10}}


@pytest.mark.parametrize("number", TABLES)
def test_every_published_row_is_declared_with_its_settings(number: int) -> None:
    declared: dict[int, list[Row]] = {}
    for row in TABLES[number].rows:
        declared.setdefault(row.number, []).append(row)
    published = PAPER.published[number]
    assert sorted(declared) == list(range(1, len(published) + 1))
    for i, line in enumerate(published, 1):
        for row in declared[i]:
            _check(row, line)


def _check(row: Row, line: dict) -> None:
    experiment, network = row.experiment, row.experiment.network
    setting, reading = line.get("setting", "-"), row.reading
    if "dataset" in line and not reading.endswith("MNIST"):
        assert network.data == DATA[line["dataset"]]
    if "model" in line:
        assert network.model in MODELS[line["model"]]
    assert experiment.batch_size == line.get("batch_size", experiment.batch_size)
    assert row.quantity == line.get("axis", row.quantity).lower()
    assert experiment.transforms == TRANSFORMS.get(setting, experiment.transforms if row.table == 10 else ())
    assert network.label_noise == NOISE.get(setting)
    if setting in SIZES:
        assert network.sizes == SIZES[setting]
    if not reading.startswith("gradients after training so"):
        assert (network.training is not None) == (line["training"] == "Pretrain")


def test_both_readings_are_rows_where_the_paper_is_ambiguous() -> None:
    readings = {name: {row.reading for row in select(PAPER, [name]).tables[0].rows} for name in
                ("table8 row 1", "table8 row 10", "table10 row 7")}  # fmt: skip
    assert readings["table8 row 1"] == {"BatchNorm, ReLU", "ReLU, BatchNorm"}
    assert "784-10" in readings["table8 row 10"]
    assert len(readings["table8 row 10"]) == 3
    assert {"updates at fixed parameters", "gradients after training so"} <= readings["table10 row 7"]


def test_all_figures_and_the_theorem_are_declared() -> None:
    assert set(FIGURES) == {f"fig{i}" for i in range(1, 17)} | {"theorem1"}
    assert all(panel.series for figure in FIGURES.values() for panel in figure.panels)
    assert all(figure.described for figure in FIGURES.values())


def test_what_claims_need_is_measured_for_tables_and_figures() -> None:
    measured = set(select(PAPER, ["all"]).experiments)
    for claim in CLAIMS:
        assert set(claim.experiments.values()) <= measured, claim.name
        assert claim.artefacts


def test_names_choose_tables_rows_and_figures() -> None:
    row = select(PAPER, ["Table8 row 3"]).tables[0].rows
    assert [(r.number, r.quantity) for r in row] == [(3, "covariance")] * 2
    assert [f.name for f in select(PAPER, ["figure 8", "fig2"]).figures] == ["fig2", "fig8"]
    assert len(select(PAPER, ["table6", "table6 row 1"]).tables[0].rows) == 12
    assert "table1 row 1" in named_by(PAPER, select(PAPER, ["table4 row 5"]).experiments[0])


@pytest.mark.parametrize("name", ["table12", "fig17", "table8 row 12", "fig8 row 1", "something"])
def test_an_unknown_name_is_refused(name: str) -> None:
    with pytest.raises(InputError, match=r"table1 to table11|rows 1 to 11"):
        select(PAPER, [name])


def test_one_network_is_one_point() -> None:
    assert NetworkSpec("mnist", "fcn", width=70, depth=2) == NetworkSpec("mnist", "fcn")
    assert NetworkSpec("mnist", "fcn-relu-bn", depth=0) == NetworkSpec("mnist", "fcn", depth=0)
    assert NetworkSpec("mnist", "lnn", depth=2) != NetworkSpec("mnist", "lnn")


def test_the_engine_knows_no_paper() -> None:
    engine = Path(gradlaw.reproduction.__file__).parent
    imports = [
        (file.name, node.module or "")
        for file in engine.glob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.ImportFrom)
    ]
    assert ("page.py", "gradlaw.reproduction.claim") in imports
    assert [(file, module) for file, module in imports if module.startswith("gradlaw.reproduction.xie2023")] == []


def test_another_paper_is_another_object() -> None:
    row = Row(7, 1, history(NetworkSpec("mnist", "fcn"), 10), "covariance")
    line = {"d_ks": 0.05, "is_power_law": False, "s": 1.0}
    other = replace(
        PAPER,
        tables={7: Table(7, "Another", SPECTRUM, (row,))},
        claims=(),
        published={7: [line]},
        errata={(7, 1): "odd"},
    )
    selection = select(other, ["table7"])
    found = report(PAPER.profiles["tiny"], (0,), selection, Evidence(Store(Path("nowhere")), (0,), {}, {}))
    (table,) = found.tables
    assert table.table.title == "Another"
    assert table.remarks == ("row 1, published: odd", "row 1 not run: not run yet")
    with pytest.raises(InputError, match="table7 to table7, fig1 to fig16, theorem1"):
        select(other, ["table1"])
