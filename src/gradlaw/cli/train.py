"""gradlaw train: parses, calls, prints."""

import argparse
from pathlib import Path

from gradlaw.cli.inputs import (
    add_data_options,
    add_model_options,
    load_named_data,
    model_name,
    model_settings,
    name_of_inputs,
    with_label_noise,
)
from gradlaw.data import LabelledTensors
from gradlaw.data.location import locate
from gradlaw.data.text import SPLITS
from gradlaw.progress import Progress
from gradlaw.training import OPTIMISERS, Recipe, default_recipe, train
from gradlaw.training.train import score_in_words
from gradlaw.zoo import MODELS


def add_train(commands: argparse._SubParsersAction) -> None:
    """Add the command and its options."""
    parser = commands.add_parser(
        "train",
        help="train a model by the paper's recipe, with a checkpoint after every epoch",
        description="Trains a model and writes a checkpoint after every epoch: the weights as safetensors, and every\n"
        "setting as JSON beside them. A training that was killed goes on with --resume and ends with\n"
        "the same bits. Defaults are the recipes of the paper; without arguments its fully connected\n"
        "network on scikit-learn's handwritten digits.",
        epilog="examples:\n"
        "  gradlaw train\n"
        "  gradlaw train --data mnist --model lenet\n"
        "  gradlaw train --data mnist --model lenet --optimiser momentum --label-noise symmetric=0.4\n"
        "  gradlaw train --data mnist --model lenet --resume\n"
        "  gradlaw analyze --checkpoint runs/train-lenet-mnist-seed0",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    what = parser.add_argument_group("what to train")
    add_data_options(what)
    what.add_argument("--test-split", metavar="SPLIT", help="split to measure the accuracy on after every epoch, or "
                      "none (default: test, if there is one)")  # fmt: skip
    add_model_options(what, "randomly initialised")
    _add_recipe(parser.add_argument_group("recipe"))
    output = parser.add_argument_group("output")
    output.add_argument("--out", metavar="DIR", help="folder for the checkpoints (default: runs/train- and a name made "
                        "of the settings)")  # fmt: skip
    output.add_argument("--resume", action="store_true", help="go on from the last checkpoint in the folder, if any")
    output.add_argument("--force", action="store_true", help="overwrite the training that the folder holds")
    output.add_argument("--keep-all", action="store_true", help="keep the weights of every epoch, not only of the last")
    output.add_argument("--quiet", action="store_true", help="no progress bars")
    parser.set_defaults(command=_train)


def _add_recipe(how: argparse._ArgumentGroup) -> None:
    how.add_argument("--optimiser", choices=OPTIMISERS, help="default: sgd; momentum on CIFAR, adam for gpt")
    how.add_argument("--learning-rate", type=float, help="default: 0.1, adam 0.001, sgd on CIFAR 1")
    how.add_argument("--epochs", type=int, help="default: 50; 200 on CIFAR")
    how.add_argument("--milestones", type=_epochs, metavar="E,E,...", help="epochs after which the learning rate is "
                     "divided by 10 (default: at 40%% and 80%% of them; CIFAR-100 at 50%% and 75%%)")  # fmt: skip
    how.add_argument("--batch-size", "-B", type=int, help="samples in a minibatch (default: 128)")
    how.add_argument("--weight-decay", type=float, help="default: 0.0005")
    how.add_argument("--momentum", type=float, help="of --optimiser momentum (default: 0.9)")
    how.add_argument("--clip-norm", type=float, help="longest gradient (default: no limit)")
    how.add_argument("--augment", action=argparse.BooleanOptionalAction,
                     help="flip and crop images at random (default: on CIFAR)")  # fmt: skip
    how.add_argument("--seed", type=int, default=0, help="seed of everything (default: 0)")
    how.add_argument("--device", help="cpu, cuda, cuda:1, ... (default: cpu)")


def _epochs(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(",") if part)


def _train(options: argparse.Namespace) -> None:
    options.noise_seed = options.seed
    recipe = _recipe(options)
    out = Path(options.out or f"runs/train-{name_of_inputs(options)}{_changes(options)}-seed{options.seed}")
    with Progress(shown=not options.quiet) as progress:
        data = with_label_noise(options, load_named_data(options, "train", progress))
        settings = model_settings(options, data)
        run = train(
            settings.build(),
            MODELS[settings.name].loss,
            data,
            _test_data(options, progress),
            recipe,
            options.seed,
            out,
            settings=settings,
            resume=options.resume,
            overwrite=options.force,
            keep_all=options.keep_all,
            device=options.device,
            progress=progress,
        )
    print(f"{settings.name} on {data.source.name}, {recipe.epochs} epochs of {recipe.optimiser}")
    print(f"training: {score_in_words(run.training)}{_noise(data)}")
    print("test:     " + (score_in_words(run.test) if run.test else "no test data"))
    print(f"\ncheckpoint: {run.checkpoint}")


def _recipe(options: argparse.Namespace) -> Recipe:
    names = ("learning_rate", "milestones", "batch_size", "weight_decay", "momentum", "clip_norm", "augment")
    changes = {name: getattr(options, name) for name in names}
    return default_recipe(options.data or "digits", model_name(options), options.optimiser, options.epochs, **changes)


def _changes(options: argparse.Namespace) -> str:
    """What differs from the default recipe, as a part of a directory's name."""
    numbers = {"lr": options.learning_rate, "epochs": options.epochs, "B": options.batch_size,
               "wd": options.weight_decay, "beta": options.momentum, "clip": options.clip_norm}  # fmt: skip
    chosen = [options.optimiser] if options.optimiser else []
    chosen += [f"{name}{value:g}" for name, value in numbers.items() if value is not None]
    chosen += ["at" + "+".join(map(str, options.milestones))] if options.milestones is not None else []
    if options.augment is not None:
        chosen.append("augment" if options.augment else "no-augment")
    return "".join(f"-{part}" for part in chosen)


def _test_data(options: argparse.Namespace, progress: Progress) -> LabelledTensors | None:
    if options.test_split == "none":
        return None
    if options.test_split is not None:
        return load_named_data(options, options.test_split, progress)
    location = locate(options.data or "digits")
    splits = SPLITS if location.kind == "text" else ("test",) if location.kind == "hub" else location.files
    return load_named_data(options, "test", progress) if "test" in splits else None


def _noise(data: LabelledTensors) -> str:
    noise = data.source.label_noise
    return f" ({noise.kind} label noise, {noise.realised_rate:.1%} of the labels changed)" if noise else ""
