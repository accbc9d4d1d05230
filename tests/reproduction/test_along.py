"""The study along training: one training for all of its epochs, and a table, figure and page that say the same."""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch.nn.functional import cross_entropy

import gradlaw as gl
from gradlaw.errors import InputError
from gradlaw.report.figure import encode_figure
from gradlaw.report.formatting import number
from gradlaw.reproduction.along.draw import OPTIMISERS, STATISTICS, draw_along
from gradlaw.reproduction.along.page import FIGURE, RESULTS, page
from gradlaw.reproduction.along.rows import COLUMNS, gather_rows, read_rows, with_kept, write_rows
from gradlaw.reproduction.along.study import ALONG, Study
from gradlaw.reproduction.experiment import NetworkSpec, Training, history
from gradlaw.reproduction.inputs import DataSets
from gradlaw.reproduction.measure import Context, TrainingTask, model_settings
from gradlaw.reproduction.measurement import Resolver
from gradlaw.reproduction.profiles import Profile
from gradlaw.reproduction.runner import Runner
from gradlaw.reproduction.store import Store
from gradlaw.reproduction.tasks import WorkList, list_work
from gradlaw.reproduction.trained_models import TrainedModels
from gradlaw.reproduction.xie2023.networks import LENET, LENET_TRAINED
from gradlaw.training import load_checkpoint

SIZES = Profile("tiny", "", 40, 8, None, 20, 10, 2, 5, 300, 8, samples=300)  # 3 steps an epoch, 2 epochs
NETWORK = NetworkSpec("mnist", "fcn-relu", width=12)
STUDY = Study({"FCN": NETWORK}, frozenset(), ("sgd", "adam"), (0, 1 / 3, 1, 2), 10, (0,), SIZES)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, mnist_folder: Path) -> tuple[Context, Store, Resolver]:
    store = Store(tmp_path_factory.mktemp("along"))
    models = TrainedModels(store.checkpoints, ())
    return Context(DataSets.find(None, {"mnist": mnist_folder}, hub=False), models), store, Resolver(SIZES, models)


def _work(place: tuple[Context, Store, Resolver]) -> WorkList:
    context, store, resolver = place
    subjects = list(STUDY.subjects())
    wanted = dict.fromkeys([s.history for s in subjects] + [s.hessian for s in subjects])
    return list_work(wanted, STUDY.seeds, resolver, store, context)


@pytest.fixture(scope="module")
def rows(place: tuple[Context, Store, Resolver]) -> pd.DataFrame:
    context, store, resolver = place
    work = _work(place)
    trainings = [task for task in work.todo if isinstance(task, TrainingTask)]
    assert [(t.until, t.points) for t in trainings] == [(1, (1 / 3, 1, 2)), (2, (1 / 3, 1, 2))] * 2
    assert len({t.key for t in trainings}) == 2
    assert Runner(context, store).run(work, {}, 1e9) == {}
    assert _work(place).todo == ()
    return gather_rows(STUDY, store, STUDY.seeds, resolver)


def test_rows_are_what_the_measurements_say(rows: pd.DataFrame, place: tuple[Context, Store, Resolver]) -> None:
    context, _, resolver = place
    assert len(rows) == 8
    assert rows.groupby("epoch").size().to_dict() == {0: 2, 1 / 3: 2, 1: 2, 2: 2}
    start = rows[rows["epoch"] == 0]
    assert start["accuracy"].isna().all()
    assert (start.drop(columns="optimiser").nunique(dropna=False) == 1).all()  # one measurement for both
    end = rows[(rows["epoch"] == 2) & (rows["optimiser"] == "adam")].iloc[0]
    subject = next(s for s in STUDY.subjects(epochs=[2]) if s.optimiser == "adam")
    task = TrainingTask.of(resolver.resolve(subject.history, 0))
    assert task is not None
    data = context.data.load(NETWORK, SIZES.samples, 0)
    model = model_settings(NETWORK, data.sample_shape, 0).build()
    trained = gl.train(model, cross_entropy, data, recipe=task.recipe, seed=0)
    assert end["accuracy"] == trained.training.accuracy
    analysis = gl.analyze(gl.Problem(model, cross_entropy, data), 40, 10, 8, 20)
    covariance = next(v for v in analysis.spectral_verdicts() if v.matrix == "covariance")
    assert covariance.fit is not None
    assert (end["s"], end["d_ks"]) == (covariance.fit.s, covariance.fit.d_ks)
    assert end["iteration_gaussian_rate"] == analysis.tests["iteration"].gaussian_rate
    assert end["hessian_1"] == pytest.approx(_largest(model, data, SIZES.hessian_samples or 0), rel=1e-4)
    point = load_checkpoint(context.trained_models.at(task.key, 1 / 3))
    assert point.settings["steps"] == 1


def _largest(model: torch.nn.Module, data: gl.data.LabelledTensors, samples: int) -> float:
    """Of the Hessian of the mean loss over the first samples, in float64, by plain autograd."""
    model = model.double()
    inputs, targets = data.inputs[:samples].double(), data.targets[:samples]
    names, values = zip(*model.named_parameters(), strict=True)
    sizes = [v.numel() for v in values]

    def loss(flat: torch.Tensor) -> torch.Tensor:
        parts = [part.view_as(v) for part, v in zip(flat.split(sizes), values, strict=True)]
        return cross_entropy(torch.func.functional_call(model, dict(zip(names, parts, strict=True)), inputs), targets)

    flat = torch.cat([v.detach().flatten() for v in values])
    vector = torch.randn(len(flat), dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for _ in range(300):
        vector = torch.autograd.functional.vhp(loss, flat, vector / vector.norm())[1]
    return float(vector.norm())


def test_the_table_comes_back(rows: pd.DataFrame, tmp_path: Path) -> None:
    write_rows(rows, tmp_path / "deep/rows.csv")
    again = read_rows(tmp_path / "deep/rows.csv")
    assert list(again.columns) == list(rows.columns)
    for column in COLUMNS:
        np.testing.assert_allclose(again[column].astype(float), rows[column].astype(float), rtol=1e-5)
    (tmp_path / "other.csv").write_text("network,s\nFCN,1\n")
    with pytest.raises(InputError, match="it lacks the columns optimiser, seed"):
        read_rows(tmp_path / "other.csv")
    with pytest.raises(InputError, match="no results at"):
        read_rows(tmp_path / "none.csv")
    with pytest.raises(InputError, match="none of the study was measured"):
        write_rows(rows.iloc[:0], tmp_path / "empty.csv")


def test_a_file_keeps_what_it_holds_and_gets_what_it_lacks(rows: pd.DataFrame, tmp_path: Path) -> None:
    file, hessians = tmp_path / "rows.csv", ["hessian_1", "hessian_5"]
    kept = rows[(rows["optimiser"] == "adam") & (rows["epoch"] < 2)].copy()
    kept.loc[kept["epoch"] == 1, hessians] = np.nan
    kept.loc[kept["epoch"] == 0, "s"] = 7.0
    refused = rows[(rows["optimiser"] == "sgd") & (rows["epoch"] == 2)].copy()
    refused[["s", *hessians]], refused["reason"] = np.nan, "out of memory"
    write_rows(pd.concat([kept, refused]), file)
    joined = with_kept(rows, file)
    assert len(joined) == len(rows)
    assert list(joined["optimiser"]) == ["adam"] * 4 + ["sgd"] * 4
    assert list(joined["epoch"]) == [0, 0.333333, 1, 2] * 2
    found = joined.set_index(["optimiser", "epoch"])
    expected = rows.set_index(["optimiser", "epoch"])
    assert found.loc[("adam", 0), "s"] == 7
    assert found.loc[("adam", 1), "hessian_1"] == expected.loc[("adam", 1), "hessian_1"]
    assert found.loc[("sgd", 2), "s"] == expected.loc[("sgd", 2), "s"]
    assert joined["reason"].isna().all()
    assert joined["parameters"].notna().all()
    changed = rows.assign(key=[f"{key}x" for key in rows["key"]])
    with pytest.raises(InputError, match="holds results of other settings for"):
        with_kept(changed, file)
    assert with_kept(rows, tmp_path / "none.csv") is rows


def test_rows_of_two_trainings_are_not_mixed(rows: pd.DataFrame, tmp_path: Path) -> None:
    file, hessians = tmp_path / "rows.csv", ["hessian_1", "hessian_5"]
    kept = rows.assign(parameters="elsewhere", s=7.0)
    kept.loc[kept["epoch"] == 1, hessians] = np.nan
    write_rows(kept, file)
    joined = with_kept(rows, file)
    of = {epoch: joined[joined["epoch"] == epoch] for epoch in (1, 2)}
    assert (of[2]["s"] == 7).all()
    assert of[2]["parameters"].isin(["elsewhere"]).all()
    here = rows[rows["epoch"] == 1]
    assert list(of[1]["s"]) == [pytest.approx(s, rel=1e-5) for s in here.sort_values("optimiser", ascending=False)["s"]]
    assert of[1]["parameters"].isin(here["parameters"]).all()
    assert of[1][hessians].notna().all().all()


def test_the_figure_has_a_line_for_every_optimiser(rows: pd.DataFrame) -> None:
    figure = draw_along(rows, list(STUDY.networks))
    assert len(figure.axes) == len(STATISTICS)
    for statistic, axes in zip(STATISTICS, figure.axes, strict=True):
        colours = {line.get_color() for line in axes.lines} & {colour for _, colour, *_ in OPTIMISERS.values()}
        measured = rows.loc[rows[statistic.column].notna(), "optimiser"].unique()
        assert colours == {OPTIMISERS[name][1] for name in measured}


def test_epochs_of_a_network_have_keys_of_their_own_and_zero_is_random() -> None:
    at = [replace(LENET_TRAINED, epoch=epoch) for epoch in (0.1, 1)]
    assert replace(LENET_TRAINED, epoch=0) == LENET
    assert replace(at[0], training=None) == LENET
    models = TrainedModels(Path("nowhere"), ())
    keys = {Resolver(ALONG.profile, models).resolve(history(n, 1), 0).key for n in (LENET, LENET_TRAINED, *at)}
    assert len(keys) == 4
    one = replace(LENET_TRAINED, epoch=1.0)
    assert Resolver(ALONG.profile, models).resolve(history(one, 1), 0).key in keys
    assert "for 0.1 epochs" in str(at[0])


def test_the_study_is_what_it_says() -> None:
    subjects = list(ALONG.subjects())
    assert len(subjects) == len(ALONG.networks) * len(ALONG.optimisers) * len(ALONG.epochs) == 108
    assert {s.network.training for s in subjects} == {None}
    assert {s.at.training for s in subjects} == {None, *map(Training, ALONG.optimisers)}
    assert [s.hessian.batch_size for s in ALONG.subjects(["FCN, MNIST"], [1])] == [10, 10, 10]


def test_the_page_says_what_was_measured(rows: pd.DataFrame) -> None:
    text = page(rows, STUDY)
    assert "| FCN | adam | 2 | 0, 0.333333, 1, 2 |" in text
    one = rows[rows["epoch"] == 1].set_index("optimiser")
    accuracy = " / ".join(f"{100 * one.loc[name, 'accuracy']:.1f}%" for name in STUDY.optimisers)
    assert f"| training accuracy | - | {accuracy} | - |" in text
    assert f"| covariance, s | {number(rows['s'].iloc[0])} | {number(one.loc['sgd', 's'])} / " in text


def test_what_was_refused_has_a_row_with_the_reason(
    rows: pd.DataFrame, place: tuple[Context, Store, Resolver], tmp_path: Path
) -> None:
    _, store, resolver = place
    subject = next(s for s in STUDY.subjects(epochs=[2]))
    reasons = {resolver.resolve(subject.history, 5): "the training diverged"}
    found = gather_rows(STUDY, store, (0, 5), resolver, reasons)
    assert found["reason"].notna().sum() == 1
    assert "- FCN, sgd, seed 5: the training diverged\n" in page(found, replace(STUDY, seeds=(0, 5)))
    assert "| FCN | sgd | 2 | - |" in page(found, replace(STUDY, seeds=(0, 5)))
    write_rows(found, tmp_path / "rows.csv")
    assert page(read_rows(tmp_path / "rows.csv"), STUDY).count("the training diverged") == 1
    assert len(draw_along(found, list(STUDY.networks)).axes) == len(STATISTICS)


DOCS = Path(__file__).parents[2] / "docs"


def test_the_committed_page_and_figure_say_what_the_results_say() -> None:
    rows = read_rows(DOCS / RESULTS)
    assert page(rows, ALONG) == (DOCS / "along_training.md").read_text()
    made = Image.open(io.BytesIO(encode_figure(draw_along(rows, list(ALONG.networks)), "png", "")))
    with Image.open(DOCS / FIGURE) as committed:
        if made.size != committed.size:
            pytest.skip("the figure was drawn by another version of matplotlib, whose letters are of another size")
        grey = [np.asarray(picture.convert("L"), float) for picture in (made, committed)]
    assert np.abs(grey[0] - grey[1]).mean() < 1


def test_the_committed_results_are_those_of_the_study() -> None:
    rows = read_rows(DOCS / RESULTS)
    resolver = Resolver(ALONG.profile, TrainedModels(Path("nowhere"), ()))
    keys = {(s.name, s.optimiser, float(s.epoch), seed): resolver.resolve(s.history, seed).key
            for s in ALONG.subjects() for seed in ALONG.seeds}  # fmt: skip
    assert not rows.duplicated(["network", "optimiser", "seed", "epoch"]).any()
    assert set(map(type, rows["key"])) == {str}
    measured = rows[rows["reason"].isna()]
    assert len(measured) >= 166
    assert not measured["commit"].str.contains("dirty").any()
    assert {keys[row.network, row.optimiser, row.epoch, row.seed] for row in rows.itertuples()} >= set(
        rows.loc[rows["epoch"].isin([0, 0.1, 0.5]), "key"]
    )


def test_the_words_about_the_committed_results_are_true() -> None:
    rows = read_rows(DOCS / RESULTS)
    found = rows[rows["reason"].isna()]
    lenet = found[found["network"].str.startswith("LeNet")]
    assert set(lenet.loc[lenet["epoch"] == 0, "outliers"]) == {9}
    left = lenet[(lenet["epoch"] > 0) & (lenet["outliers"] > 0)]
    assert left["accuracy"].between(0.0975, 0.1).all()  # the shares of single classes: 9.75% of MNIST are eights
    assert not left.empty
    assert set(found.loc[~found["network"].str.startswith("LeNet"), "outliers"]) == {0}
    assert (found["gap_s"] > found["s"])[found["s"].notna()].all()
    cifar = found[(found["network"] == "LeNet, CIFAR-10") & (found["epoch"] == 10)]
    assert (
        cifar.loc[cifar["d_ks"].idxmax(), "optimiser"] == cifar.loc[cifar["accuracy"].idxmax(), "optimiser"] == "adam"
    )
    for _, run in found[found["network"] != "LNN, MNIST"].groupby(["network", "optimiser", "seed"]):
        rates = run.set_index("epoch")["iteration_gaussian_rate"]
        assert rates.get(1, 0) < rates[0]  # but for those that diverged before
