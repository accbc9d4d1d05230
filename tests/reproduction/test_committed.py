"""The committed pages are made of the committed results, all of them; and the committed networks are in the package."""

import re
import tomllib
from collections import Counter
from fnmatch import fnmatch
from pathlib import Path

import pytest

import gradlaw
from gradlaw.cli.main import main
from gradlaw.reproduction.evidence import Evidence
from gradlaw.reproduction.formats import comma_separated
from gradlaw.reproduction.measurement import Resolver
from gradlaw.reproduction.output import Report, report
from gradlaw.reproduction.page import page
from gradlaw.reproduction.selection import select
from gradlaw.reproduction.store import RECORD, Store
from gradlaw.reproduction.trained_models import PACKAGED, TrainedModels
from gradlaw.reproduction.xie2023.paper import PAPER

ROOT = Path(__file__).parents[2]
STORE, PAGE, TABLES = (Path("docs/reproduction") / name for name in ("store", "../reproduction.md", "tables"))
SEEDS = (0, 1, 2)


@pytest.fixture(scope="module")
def found() -> Report:
    """What ``gradlaw reproduce all --from-store`` finds in the committed store."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        store, profile, selection = (
            Store(STORE),
            PAPER.profiles["paper"].with_hessian_samples(2000),
            select(PAPER, ["all"]),
        )
        resolver = Resolver(profile, TrainedModels(store.checkpoints))
        measurements = {
            (experiment, seed): resolver.resolve(experiment, seed)
            for experiment in selection.experiments
            for seed in SEEDS
        }
        return report(profile, SEEDS, selection, Evidence(store, SEEDS, measurements, {}))


def test_every_committed_result_is_shown(found: Report) -> None:
    committed = {path.parent.name for path in (ROOT / STORE).glob(f"*/{RECORD}")}
    shown = {m.key for (experiment, seed), m in found.evidence.measurements.items() if m.key in committed}
    assert shown == committed
    assert f"- {len(committed)} measurements" in (ROOT / PAGE).read_text()


def _comparable(text: str) -> list[str]:
    """Without the reasons why something was not run, which depend on the data at hand."""
    return [line for line in text.partition("## Not run")[0].splitlines() if " not run: " not in line]


def test_the_page_says_what_the_results_say(found: Report, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    made, committed = page(found), (ROOT / PAGE).read_text()
    assert _comparable(made) == _comparable(committed)
    assert "seeds 0, 1, 2" in committed


def test_the_tables_say_what_the_results_say(found: Report) -> None:
    for table in found.tables:
        rows = [(*row, claims, "paper") for row, claims in zip(table.rows, table.claims, strict=True)]
        text = comma_separated((*table.header, "claims", "profile"), rows)
        assert (ROOT / TABLES / f"table{table.table.number:02}.csv").read_text() == text


def test_the_findings_say_the_number_of_seeds(found: Report) -> None:
    seeds = Counter(len(found.evidence.results(experiment)) for experiment in found.selection.experiments)
    measured = seeds[1] + seeds[3]
    assert set(seeds) <= {0, 1, 3}
    text = " ".join((ROOT / "docs/findings.md").read_text().split())
    assert f"One seed of most rows, three of the central ones ({seeds[3]} of {measured} studies)" in text
    assert not re.search(r"\bone seed,", text)


def test_the_trained_networks_are_part_of_the_package() -> None:
    assert PACKAGED.is_relative_to(Path(gradlaw.__file__).parent)
    files = [path.relative_to(PACKAGED.parent) for path in PACKAGED.iterdir()]
    assert len(files) == 2 * len(list(PACKAGED.glob("*.safetensors"))) > 40
    patterns = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]["gradlaw"]
    assert [str(file) for file in files if not any(fnmatch(str(file), pattern) for pattern in patterns)] == []


def test_a_folder_without_trained_networks_is_not_taken_in_silence(tmp_path: Path, capsys) -> None:
    arguments = ["reproduce", "table1", "--offline", "--store", str(tmp_path / "store"), "--checkpoints"]
    assert main([*arguments, str(tmp_path / "nowhere")]) == 2
    assert "no trained networks at" in capsys.readouterr().err
