"""Train the networks that the paper's tables start from; writes src/gradlaw/checkpoints/NAME.safetensors and NAME.json.

Each is made once: a checkpoint that is there is left alone, and a training that was interrupted goes on where it was.
The recipes are those of the paper's appendix A; what a network is for stands beside it below.

    python tools/make_checkpoints.py FOLDER [NAME ...]    # FOLDER holds mnist, cifar10 and avila; default: all names
    python tools/make_checkpoints.py FOLDER --estimate    # only say how long it would take
"""

import argparse
import time
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

from torch.nn.functional import cross_entropy

import gradlaw as gl
from gradlaw.data import LabelledTensors
from gradlaw.training import Recipe, default_recipe, load_checkpoint, train
from gradlaw.training.checkpoint import OPTIMISER_FILE, write_weights
from gradlaw.zoo import ModelSettings

CHECKPOINTS = Path(__file__).parents[1] / "src/gradlaw/checkpoints"
UNFINISHED = Path(__file__).parents[1] / "runs/checkpoints"
SEED = 0
TIMED_STEPS = 20


@dataclass(frozen=True)
class Job:
    """One network: on which data, of which sizes, and what differs from the default recipe."""

    data: str
    model: str
    sizes: dict[str, int] = field(default_factory=dict)
    recipe: dict[str, Any] = field(default_factory=dict)
    noise: tuple[str, float] | None = None
    logits: int | None = None

    def settings(self, data: LabelledTensors) -> ModelSettings:
        return ModelSettings(self.model, data.sample_shape, self.logits or data.classes, SEED, self.sizes)

    def full_recipe(self) -> Recipe:
        return default_recipe(self.data, self.model, **self.recipe)


NOISY = {"optimiser": "momentum"}  # A.5: label noise is learnt by SGD with momentum
JOBS = {
    # Tables 1 to 3, 6 and 7
    "lenet-mnist": Job("mnist", "lenet"),
    "lenet-mnist-symmetric0.4": Job("mnist", "lenet", recipe=NOISY, noise=("symmetric", 0.4)),
    "lenet-mnist-symmetric0.8": Job("mnist", "lenet", recipe=NOISY, noise=("symmetric", 0.8)),
    "lenet-mnist-random": Job("mnist", "lenet", recipe=NOISY, noise=("random", 1.0)),
    # Table 8, with both orders of BatchNorm and ReLU and both readings of one layer
    "fcn-mnist": Job("mnist", "fcn"),
    "fcn-relu-bn-mnist": Job("mnist", "fcn-relu-bn"),
    "fcn-width30-mnist": Job("mnist", "fcn", {"width": 30}),
    "fcn-width10-mnist": Job("mnist", "fcn", {"width": 10}),
    "fcn-depth1-mnist": Job("mnist", "fcn", {"depth": 1}),
    "fcn-depth0-mnist": Job("mnist", "fcn", {"depth": 0}),
    # Table 9
    "lnn-mnist": Job("mnist", "lnn"),
    "lnn-bn-mnist": Job("mnist", "lnn-bn"),
    "lnn-relu-mnist": Job("mnist", "lnn-relu"),
    # Figure 15
    "fcn-avila": Job("avila", "fcn"),
    # Table 10's optimisers, read as those of the training, on MNIST; "lenet-mnist" is the one with weight decay
    "lenet-mnist-no-decay": Job("mnist", "lenet", recipe={"weight_decay": 0.0}),
    "lenet-mnist-momentum": Job("mnist", "lenet", recipe={"optimiser": "momentum"}),
    "lenet-mnist-adam": Job("mnist", "lenet", recipe={"optimiser": "adam"}),
    # Tables 1, 2 and 10, CIFAR-10* of figure 12, and Table 10's optimisers where the table has them
    "lenet-cifar10": Job("cifar10", "lenet"),
    "lenet-cifar10-logits100": Job("cifar10", "lenet", logits=100),
    # The same by a deviation that learns
    "lenet-cifar10-logits100-rate0.01": Job(
        "cifar10", "lenet", logits=100, recipe={"learning_rate": 0.01, "epochs": 20}
    ),
    "lenet-cifar10-sgd-no-decay": Job("cifar10", "lenet", recipe={"optimiser": "sgd", "weight_decay": 0.0}),
    "lenet-cifar10-sgd": Job("cifar10", "lenet", recipe={"optimiser": "sgd"}),
    "lenet-cifar10-adam": Job("cifar10", "lenet", recipe={"optimiser": "adam"}),
}


def main() -> None:
    """Make what is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(JOBS))
    parser.add_argument("--estimate", action="store_true")
    options = parser.parse_args()
    unknown = [name for name in options.names if name not in JOBS]
    if unknown:
        parser.error(f"no network {', '.join(unknown)}; there are {', '.join(JOBS)}")
    missing = [name for name in options.names or JOBS if not (CHECKPOINTS / f"{name}.json").exists()]
    estimates = {name: estimate(JOBS[name], options.folder) for name in missing}
    for name, seconds in estimates.items():
        print(f"{name:<28} about {seconds / 60:5.1f} minutes")
    print(f"{len(missing)} to make, about {sum(estimates.values()) / 3600:.1f} hours in all", flush=True)
    for name in [] if options.estimate else missing:
        make(name, JOBS[name], options.folder)


@cache
def load(folder: Path, name: str, split: str) -> LabelledTensors:
    """A split under its public name: where it lies here is of no use elsewhere."""
    data = gl.load_data(str(folder / name), split)
    return LabelledTensors(data.inputs, data.targets, replace(data.source, name=name))


def estimate(job: Job, folder: Path) -> float:
    """Seconds for the whole training, from a few steps of it."""
    data, recipe = load(folder, job.data, "train"), job.full_recipe()
    some = data.inputs[: TIMED_STEPS * recipe.batch_size], data.targets[: TIMED_STEPS * recipe.batch_size]
    times = []
    for _ in range(2):  # the first time warms up
        model = job.settings(data).build()
        start = time.perf_counter()
        train(model, cross_entropy, some, recipe=replace(recipe, epochs=1))
        times.append(time.perf_counter() - start)
    return min(times) * len(data) / len(some[0]) * recipe.epochs


def make(name: str, job: Job, folder: Path) -> None:
    """Train one network and put its checkpoint into place."""
    data, test = (load(folder, job.data, split) for split in ("train", "test"))
    if job.noise is not None:
        data = gl.corrupt_labels(data, *job.noise, seed=SEED)
    model = job.settings(data)
    with gl.Progress() as progress:
        progress.say(name)
        run = train(
            model.build(),
            cross_entropy,
            data,
            test,
            job.full_recipe(),
            SEED,
            UNFINISHED / name,
            settings=model,
            resume=True,
            progress=progress,
        )
    assert run.checkpoint is not None
    trained = load_checkpoint(run.checkpoint)
    CHECKPOINTS.mkdir(exist_ok=True)
    settings = {key: value for key, value in trained.settings.items() if key != OPTIMISER_FILE}  # it stays behind
    write_weights(CHECKPOINTS / f"{name}.safetensors", trained.weights, settings)
    print(f"{name}: {run}; {trained.settings['time']['seconds']:.0f} s", flush=True)


if __name__ == "__main__":
    main()
