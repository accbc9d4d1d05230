"""Keys of measurements: stable, shared by rows that need the same, different for whatever numbers depend on."""

from dataclasses import asdict, replace
from pathlib import Path

import pytest

from gradlaw.reproduction.experiment import HESSIAN, Experiment, history, normalised_recipe
from gradlaw.reproduction.measure import TrainingTask
from gradlaw.reproduction.measurement import Measurement, Resolver
from gradlaw.reproduction.selection import select
from gradlaw.reproduction.trained_models import TrainedModels
from gradlaw.reproduction.xie2023.networks import LENET, LENET_TRAINED, noisy
from gradlaw.reproduction.xie2023.paper import PAPER
from gradlaw.training.checkpoint import write_weights
from gradlaw.zoo import build_model

LENET_MODEL = build_model("lenet", (1, 28, 28), 10)


@pytest.fixture
def resolver(tmp_path: Path) -> Resolver:
    """The paper's profile without any checkpoint."""
    return Resolver(PAPER.profiles["paper"], TrainedModels(tmp_path, ()))


def test_keys_are_stable(resolver: Resolver) -> None:
    assert resolver.resolve(history(LENET, 1), 0).key == "47866714cda606f8"
    assert resolver.resolve(history(LENET_TRAINED, 1, "clip-norm=0.1"), 3).key == "3e89369a07d1c119"
    assert resolver.resolve(Experiment(HESSIAN, LENET, None), 0).key == "cd47cf3ebd789181"


def test_rows_of_several_tables_share_a_measurement(resolver: Resolver) -> None:
    names = ("table1 row 1", "table4 row 5", "table6 row 9", "table7 row 3", "fig1")
    first = [resolver.resolve(select(PAPER, [name]).experiments[0], 0).key for name in names]
    assert len(set(first)) == 1


def test_every_setting_is_in_the_key(resolver: Resolver) -> None:
    m = resolver.resolve(history(LENET_TRAINED, 1), 0)
    assert m.recipe is not None
    others = [
        replace(m, seed=1), replace(m, samples=100), replace(m, iterations=10), replace(m, k=9),
        replace(m, recipe=None),
        replace(m, gaussian_k=9), replace(m, loss_samples=9), replace(m, recipe=replace(m.recipe, epochs=1)),
        replace(m, experiment=history(LENET_TRAINED, 2)), replace(m, experiment=history(LENET_TRAINED, 1, "adam")),
    ]  # fmt: skip
    assert len({m.key, *(other.key for other in others)}) == len(others) + 1


def test_measurements_from_one_training_share_it(resolver: Resolver) -> None:
    tasks = {TrainingTask.of(resolver.resolve(history(LENET_TRAINED, b), 0)) for b in (1, 10)}
    assert len(tasks) == 1
    assert TrainingTask.of(resolver.resolve(history(LENET, 1), 0)) is None


def test_keys_of_trainings_are_stable() -> None:
    noisy_lenet = noisy(LENET, "symmetric=0.4")
    whole, noisy_whole = LENET_TRAINED.recipe(), noisy_lenet.recipe()
    assert whole is not None
    assert noisy_whole is not None
    assert TrainingTask(LENET_TRAINED, whole, 0, None).key == "01e6024ebe72741e"
    assert TrainingTask(noisy_lenet, noisy_whole, 2, None).key == "3afb7351224190f8"


def test_the_profile_decides_the_sizes(tmp_path: Path) -> None:
    quick = Resolver(PAPER.profiles["quick"], TrainedModels(tmp_path, ()))
    m = quick.resolve(history(LENET_TRAINED, 1), 0)
    assert (m.iterations, m.k, m.samples) == (600, 120, None)
    assert m.recipe is not None
    assert m.recipe.epochs == 1
    resnet = quick.resolve(select(PAPER, ["table5 row 1"]).experiments[0], 0)
    assert (resnet.iterations, resnet.k, resnet.experiment.network.width) == (20, 20, 8)


def test_a_packaged_network_is_found_by_what_it_is(tmp_path: Path) -> None:
    recipe = LENET_TRAINED.recipe()
    assert recipe is not None
    record = {
        "data": {"name": "mnist", "normalisation": {"per": "channel"}},
        "recipe": asdict(recipe) | {"milestones": list(recipe.milestones)}, "seed": 0,
        "epoch": recipe.epochs, "model": {"name": "lenet", "sizes": {}, "classes": 10, "seed": 0, "sample_shape": []},
    }  # fmt: skip
    others = ("start_sha256", "loss", "test_data", "history", "training", "test", "machine", "time")
    record |= {name: {} for name in others}  # that a checkpoint says too, and nothing here looks at
    assert normalised_recipe(record["recipe"]) == recipe
    write_weights(tmp_path / "any-name.safetensors", LENET_MODEL.state_dict(), record)
    quick = Resolver(PAPER.profiles["quick"], TrainedModels(tmp_path / "store", (tmp_path,)))
    assert _epochs(quick.resolve(history(LENET_TRAINED, 1), 0)) == recipe.epochs
    assert _epochs(quick.resolve(history(LENET_TRAINED, 1), 1)) == 1
    other = replace(LENET_TRAINED, label_noise="random")
    assert _epochs(quick.resolve(history(other, 1), 0)) == 1
    tiny = Resolver(PAPER.profiles["tiny"], quick.trained_models)
    assert _epochs(tiny.resolve(history(LENET_TRAINED, 1), 0)) == 1


def _epochs(measurement: Measurement) -> int:
    assert measurement.recipe is not None
    return measurement.recipe.epochs
