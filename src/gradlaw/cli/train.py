"""gradlaw train: parses, calls, prints."""

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import Any

from gradlaw.cli.inputs import (
    load_named_data,
    model_name,
    model_settings,
    name_of_inputs,
    with_label_noise,
)
from gradlaw.cli.say import say, say_json
from gradlaw.data import LabelledTensors
from gradlaw.data.location import locate
from gradlaw.data.text import SPLITS
from gradlaw.json_text import json_text
from gradlaw.progress import Progress
from gradlaw.training import Recipe, TrainingRun, default_recipe, train
from gradlaw.training.train import score_in_words
from gradlaw.zoo import MODELS, ModelSettings


def run(options: argparse.Namespace) -> None:
    """Train, and say how well it went and where the checkpoint is."""
    options.noise_seed = options.seed
    recipe = _recipe(options)
    out = Path(options.out or f"runs/train-{name_of_inputs(options)}{_changes(options)}-seed{options.seed}")
    with Progress(shown=not options.quiet) as progress:
        data = with_label_noise(options, load_named_data(options, "train", progress))
        settings = model_settings(options, data)
        trained = train(
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
            points=options.points,
            channels_last=options.channels_last,
            device=options.device,
            progress=progress,
        )
    if options.json:
        say_json(json_text(_record(settings, data, trained)), options)
        return
    say(f"{settings.name} on {data.source.name}, {recipe.epochs} epochs of {recipe.optimiser}")
    say(f"training: {score_in_words(trained.training)}{_noise(data)}")
    say("test:     " + (score_in_words(trained.test) if trained.test else "no test data"))
    say(f"\ncheckpoint: {trained.checkpoint}")


def _record(settings: ModelSettings, data: LabelledTensors, trained: TrainingRun) -> dict[str, Any]:
    noise = data.source.label_noise
    return {
        "model": settings.to_dict(),
        "data": data.source.name,
        "label_noise": noise and asdict(noise),
        "recipe": asdict(trained.recipe),
        "seed": trained.seed,
        "epochs": trained.history,
        "training": asdict(trained.training),
        "test": trained.test and asdict(trained.test),
        "checkpoint": trained.checkpoint,
    }


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
