"""Data and model of the command line: by name, or as a checkpoint says."""

import argparse

from torch import nn

from gradlaw.choices import InitialisationName
from gradlaw.data import NORMALISATIONS, LabelledTensors, corrupt_labels, load_data, parse_label_noise
from gradlaw.data.hub import stay_offline
from gradlaw.errors import InputError, unknown
from gradlaw.progress import Progress
from gradlaw.training import Checkpoint, load_checkpoint
from gradlaw.zoo import MODELS, ModelSettings


def take_from_checkpoint(options: argparse.Namespace) -> Checkpoint | None:
    """Read ``options.checkpoint`` and fill the options of data and model that were not given with what it records.

    With a problem of the user's own there is nothing to fill.

    Raises:
        InputError: a file without weights, or weights that do not say which model they are of and no model given.
    """
    options.noise_seed = options.seed
    if options.checkpoint is None:
        return None
    checkpoint = load_checkpoint(options.checkpoint)
    if options.problem is not None:
        return checkpoint
    if options.model is None and checkpoint.model is None:
        raise InputError(f"{options.checkpoint} does not say which model it is of; name it with --model")
    if options.model is None and checkpoint.model is not None:
        model = checkpoint.model
        options.model, options.logits, options.hidden_layers = model.name, model.classes, model.sizes.get("depth")
        options.width, options.heads = model.sizes.get("width"), model.sizes.get("heads")
        options.padding, options.initialisation = model.sizes.get("padding"), model.initialisation
    if options.data is None and checkpoint.settings:
        data = checkpoint.settings["data"]
        options.data, options.label = data["name"], options.label or data["label_column"]
        columns = data["input_columns"]
        options.inputs = options.inputs or (tuple(columns) if len(columns) > 1 else None)
        per = data["normalisation"]["per"]
        options.normalise = options.normalise or (per if per in NORMALISATIONS else NORMALISATIONS[0])
        options.resize = options.resize or (tuple(data["resize"]) if "resize" in data else None)
        noise = data.get("label_noise")
        if noise and options.label_noise is None:
            options.label_noise = noise["kind"] if noise["kind"] == "random" else f"{noise['kind']}={noise['rate']}"
            options.noise_seed = noise["seed"]
    return checkpoint


def load_named_data(options: argparse.Namespace, split: str, progress: Progress) -> LabelledTensors:
    """One split as the options say, without label noise.

    Raises:
        InputError: as ``load_data``.
    """
    normalise = options.normalise or NORMALISATIONS[0]
    if options.offline:
        stay_offline()
    return load_data(
        options.data or "digits",
        split,
        options.label,
        inputs=options.inputs,
        normalise=normalise,
        resize=options.resize,
        progress=progress,
    )


def with_label_noise(options: argparse.Namespace, data: LabelledTensors) -> LabelledTensors:
    """The data with the labels corrupted as the options say.

    Raises:
        InputError: as ``parse_label_noise`` and ``corrupt_labels``.
    """
    if options.label_noise is None:
        return data
    return corrupt_labels(data, *parse_label_noise(options.label_noise), options.noise_seed)


def model_settings(options: argparse.Namespace, data: LabelledTensors) -> ModelSettings:
    """The model that the options name, for the data.

    Raises:
        InputError: unknown model, fewer logits than classes, a model of texts for other data or the other way round.
    """
    name = model_name(options)
    if (data.targets.ndim == 2) != (name == "gpt"):
        raise InputError(f"gpt is for texts, and texts for gpt only; {name} does not fit {data.source.name!r}")
    logits = options.logits or data.classes
    if logits < data.classes:
        raise InputError(f"{data.source.name!r} has {data.classes} classes, more than the {logits} logits of the model")
    sizes = {"width": options.width, "depth": options.hidden_layers, "heads": options.heads,
             "padding": options.padding}  # fmt: skip
    chosen = {key: value for key, value in sizes.items() if value is not None}
    initialisation: InitialisationName = options.initialisation or "pytorch"
    return ModelSettings(name, data.sample_shape, logits, options.seed, chosen, initialisation)


def model_name(options: argparse.Namespace) -> str:
    """The model that was asked for, fcn by default.

    Raises:
        InputError: unknown name.
    """
    name: str = options.model or "fcn"
    if name not in MODELS:
        raise unknown("model", name, MODELS)
    return name


def build(settings: ModelSettings, checkpoint: Checkpoint | None) -> nn.Module:
    """The model, at its initialisation or with the weights of a checkpoint.

    Raises:
        InputError: sizes that it cannot have, or weights that do not fit it.
    """
    model = settings.build()
    return model if checkpoint is None else checkpoint.restore(model)


def name_of_inputs(options: argparse.Namespace, checkpoint: Checkpoint | None = None) -> str:
    """The checkpoint, or model, data and what was done to them, as a part of a directory's name."""
    if checkpoint is not None:
        path = checkpoint.path
        return f"{path.parent.name}-{path.stem}" if path.stem.startswith("epoch-") else path.stem
    data = (options.data or "digits").rstrip("/").rpartition("/")[2]
    sizes = {"width": options.width, "hidden": options.hidden_layers, "heads": options.heads, "logits": options.logits,
             "padding": options.padding}  # fmt: skip
    parts = [options.model or "fcn", data, *(f"{key}{value}" for key, value in sizes.items() if value is not None)]
    parts += [f"resize{'x'.join(map(str, options.resize))}"] if options.resize else []
    return "-".join(
        parts
        + [
            t.replace("=", "")
            for t in (options.normalise, options.initialisation, options.label_noise)
            if t is not None
        ]
    )
