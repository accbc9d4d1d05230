"""The commands on real MNIST at the smallest size: from the command line to files, through a kill and back."""

import csv
import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gradlaw.cli.main import main
from gradlaw.reproduction.store import ARRAYS, RECORD


def _arguments(folder: Path, store: Path, *names: str) -> list[str]:
    return ["reproduce", *names, "--profile", "tiny", "--mnist", str(folder), "--offline", "--store", str(store),
            "--out", str(store.parent / "out")]  # fmt: skip


@pytest.fixture(scope="module")
def store(mnist_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store after ``reproduce table3 fig16 theorem1``."""
    store = tmp_path_factory.mktemp("reproduce") / "store"
    page = store.parent / "page.md"
    names = ("table3", "fig16", "theorem1")
    assert main([*_arguments(mnist_folder, store, *names), "--quiet", "--markdown", str(page)]) == 0
    return store


def test_tables_are_written_with_both_values(store: Path) -> None:
    out = store.parent / "out"
    with (out / "table03.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["row"] for row in rows] == ["1", "2", "3", "3", "4", "4"]
    assert [row["d_KS pub."] for row in rows[:2]] == ["0.0205", "0.0221"]
    assert all(float(row["d_KS"]) > 0 and row["profile"] == "tiny" and row["seeds"] == "1" for row in rows)
    assert all(row["verdict"] in ("yes", "no") and row["verdict cal."] in ("yes", "no") for row in rows)
    assert "tiny" in (out / "table03.md").read_text()
    assert r"\toprule" in (out / "table03.tex").read_text()


def test_figures_are_written_in_three_formats(store: Path) -> None:
    starts = {"pdf": b"%PDF", "png": b"\x89PNG", "svg": b"<?xml"}
    for name in ("fig16", "theorem1"):
        for kind, start in starts.items():
            assert (store.parent / "out" / f"{name}.{kind}").read_bytes().startswith(start)


def test_claims_are_decided_by_what_was_measured(store: Path) -> None:
    claims = {c["claim"]: c for c in json.loads((store.parent / "out/claims.json").read_text())["claims"]}
    assert claims["Theorem 1 bounds the angles"]["outcome"] == "holds"  # it is a theorem
    assert claims["eigengaps decay faster"]["measured"] == 6
    assert "not only images" not in claims


def test_the_page_has_every_figure_beside_what_the_paper_says_of_it(store: Path) -> None:
    page = (store.parent / "page.md").read_text()
    part = page[page.index("### Figure 16") : page.index("### Theorem 1.")]
    assert "- the paper: eigengaps are approximately a power law too" in part
    assert '- measured: "The eigengaps of the covariance are a power law as well"' in part
    assert "- not measured" not in part
    picture = re.search(r"!\[.*]\((.*)\)", part)
    assert picture is not None
    assert picture[1] == "page/figures/fig16.png"
    assert (store.parent / picture[1]).read_bytes() == (store.parent / "out/fig16.png").read_bytes()
    with (store.parent / "out/table03.csv").open(newline="") as file:
        fcn = next(row for row in csv.DictReader(file) if row["row"] == "4")
    assert f"| by their own rank | random | 1 | {fcn['s']} | {fcn['d_KS']} | " in part
    assert re.search(r"\| LeNet, random \| LeNet, random \| 1 \| (\d+) of \1 \|", page)  # Theorem 1 is a theorem


def test_the_page_has_every_row_and_the_reasons(store: Path) -> None:
    page = (store.parent / "page.md").read_text()
    for heading in (
        "What was run",
        "The trained networks",
        "The claims",
        "What calibration changes",
        "Every row",
        "Not run",
    ):
        assert f"## {heading}" in page
    assert "6 of 6 rows measured" in page
    assert "mnist, 500 samples" in page
    assert "| lenet on mnist, trained |" in page


def test_nothing_is_measured_twice(store: Path, mnist_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    times = {path: path.stat().st_mtime_ns for path in store.rglob(RECORD)}
    assert len(times) == 6 + 4
    assert main(_arguments(mnist_folder, store, "table3 row 1")) == 0
    assert "1 measurements in the store, 0 tasks to do" in capsys.readouterr().err
    assert {path: path.stat().st_mtime_ns for path in store.rglob(RECORD)} == times


def test_explain_names_settings_files_and_command(
    store: Path, mnist_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*_arguments(mnist_folder, store, "table3 row 4"), "--explain"]) == 0
    text = capsys.readouterr().out
    assert 'gradlaw reproduce "table3 row 4" --profile tiny --seeds 0' in text
    assert "table3 row 4 (ReLU, BatchNorm): eigengaps" in text
    assert ": there\n" in text
    assert all((store / line).is_file() for line in _files(text))


def _files(text: str) -> list[str]:
    lines = [line for line in text.splitlines() if "files:" in line]
    assert lines
    return [part.strip() for line in lines for part in line.split("files:")[1].split(",")]


def test_what_has_no_data_is_listed_with_the_reason(
    tmp_path: Path, mnist_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*_arguments(mnist_folder, tmp_path / "store", "table11"), "--quiet"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "row 1 not run: no folder of cifar100 was given" in text


def test_what_cannot_be_measured_is_listed_with_the_reason(
    tmp_path: Path, mnist_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*_arguments(mnist_folder, tmp_path / "store", "table6 row 12"), "--quiet"]) == 1
    printed = capsys.readouterr()
    assert "batch_size=60000 is larger than the data set (N=500)" in " ".join(printed.out.split())
    assert "1 of the measurements failed" in printed.err


def test_seeds_give_a_mean_and_a_spread(store: Path, mnist_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*_arguments(mnist_folder, store, "table3 row 2"), "--quiet", "--seeds", "0,1"]) == 0
    with (store.parent / "out/table03.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["seeds"] == "2"
    assert " ± " in row["s"]


def test_a_picture_of_an_earlier_run_in_the_folder_is_not_put_beside_a_page_without_it(
    store: Path, mnist_folder: Path, tmp_path: Path
) -> None:
    page, picture = tmp_path / "page.md", store.parent / "out/fig16.png"
    before = picture.read_bytes()
    main(
        [*_arguments(mnist_folder, store, "fig16"), "--quiet", "--seeds", "9", "--from-store", "--markdown", str(page)]
    )
    assert picture.read_bytes() == before
    assert "### Figure 16" in page.read_text()
    assert "](page/" not in page.read_text()
    assert not (tmp_path / "page").exists()


def test_missing_seeds_are_counted(store: Path, mnist_folder: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    seeds = ["--quiet", "--seeds", "0,7", "--from-store", "--markdown", str(page)]
    assert main([*_arguments(mnist_folder, store, "table3 row 2"), *seeds]) == 0
    with (store.parent / "out/table03.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["seeds"] == "1"
    text = page.read_text()
    assert "- of 1 studies that were measured, with 1 seed: 1" in text
    assert "- measured: 6 of 6 studies, 6 results" in text


def test_kept_results_give_the_same_files_without_data(
    store: Path, mnist_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ("table3", "fig16", "theorem1")
    kept, first, second = (tmp_path / name for name in ("kept", "first", "second"))
    options = ["--from-store", "--save-results", str(kept), "--out", str(first), "--markdown", str(first / "page.md")]
    assert main([*_arguments(mnist_folder, store, *names), *options]) == 0
    monkeypatch.setattr("gradlaw.reproduction.inputs.load_data", None)  # nothing is read
    options = ["--from-results", str(kept), "--out", str(second), "--markdown", str(second / "page.md")]
    assert main(["reproduce", *names, *options]) == 0
    assert "of nothing in the paper" not in capsys.readouterr().out
    files = sorted(str(path.relative_to(first)) for path in first.rglob("*") if path.is_file())
    assert files == sorted(str(path.relative_to(second)) for path in second.rglob("*") if path.is_file())
    assert len(files) == 1 + 3 + 2 * 3 + 2 + 1 + 2  # its manifest, and the pictures of the page
    differing = [name for name in files if (first / name).read_bytes() != (second / name).read_bytes()]
    assert differing == ["page.md"]
    lines = zip((first / "page.md").read_text().split("\n"), (second / "page.md").read_text().split("\n"), strict=True)
    assert [a.split(":")[0] for a, b in lines if a != b] == ["- results"]
    assert main(["reproduce", "table3 row 2", "--from-results", str(kept), "--explain"]) == 0
    text = capsys.readouterr().out
    assert f"{kept / 'measurements.csv'} and {kept / 'series.parquet'}, key" in text
    assert '  command: gradlaw reproduce "table3 row 2" --profile tiny --seeds 0\n' in text


def test_kept_results_decide_their_own_sizes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reproduce", "--from-results", str(tmp_path), "--profile", "quick"]) == 2
    assert "--profile does not go with --from-results" in capsys.readouterr().err
    assert main(["reproduce", "--from-results", str(tmp_path)]) == 2
    assert f"no results at {tmp_path}" in capsys.readouterr().err
    assert main(["reproduce"]) == 2
    assert "name what to measure: table1 to table11, fig1 to fig16, theorem1" in capsys.readouterr().err


def test_parallel_processes_find_the_same(store: Path, mnist_folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "store"
    assert main([*_arguments(mnist_folder, other, "table3 row 4"), "--quiet", "--jobs", "2"]) == 0
    keys = {path.parent.name for path in other.rglob(RECORD)}
    assert len(keys) == 2
    assert keys <= {path.parent.name for path in store.rglob(RECORD)}


def test_the_plan_estimates_each_task(tmp_path: Path, mnist_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["plan", "fig6", "--profile", "quick", "--mnist", str(mnist_folder), "--offline",
                 "--checkpoints", str(tmp_path), "--store", str(tmp_path)]  # fmt: skip
    assert main(arguments) == 0
    text = capsys.readouterr().out
    for task in ("history of lenet on mnist, random, B = 1", "train lenet on mnist", "hessian of lenet on mnist"):
        assert task in " ".join(text.split())
    assert "0 measurements in the store, 11 tasks to do: about" in text
    assert not any(tmp_path.iterdir())


def test_a_killed_run_goes_on_where_it_was(tmp_path: Path, mnist_folder: Path) -> None:
    store = tmp_path / "store"
    command = [sys.executable, "-m", "gradlaw", *_arguments(mnist_folder, store, "table3"), "--quiet"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 300
    while len(_finished(store)) < 2:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    finished = _finished(store)
    assert 2 <= len(finished) < 6
    assert all((path.parent / ARRAYS).is_file() for path in finished)
    assert main([*_arguments(mnist_folder, store, "table3"), "--quiet"]) == 0
    after = _finished(store)
    assert len(after) == 6
    assert finished.items() <= after.items()
    assert not list(store.glob("*.partial"))


def _finished(store: Path) -> dict[Path, int]:
    """The whole results, with the times at which they were written."""
    records = [path for path in store.glob(f"*/{RECORD}") if not path.parent.name.endswith(".partial")]
    return {path: path.stat().st_mtime_ns for path in records}
