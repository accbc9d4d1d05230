"""The networks at every point of the design: built, trained, or read from what was trained before."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import gradlaw as gl
from gradlaw.zoo.gpt import MLP, CausalSelfAttention, next_token_loss
from studies.transformers.design import CONTEXT, EPOCHS, LENET, RECIPES, SMALL, VOCABULARY, Measurement
from studies.transformers.nanogpt import CHARACTERS
from studies.transformers.text import windows

KINDS = {"attention": CausalSelfAttention, "MLP": MLP, "embedding": nn.Embedding, "LayerNorm": nn.LayerNorm}


class NotThere(Exception):
    """The weights or the data that a measurement needs are not there."""


@dataclass(frozen=True)
class Folders:
    """Where things lie.

    Attributes:
        text: the folder of tiny Shakespeare.
        mnist: that of MNIST, for the control; None if there is none.
        runs: where trainings and results are kept.
    """

    text: str
    mnist: str | None
    runs: Path


def last_prediction_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy of the last prediction of each window, in nats."""
    return cross_entropy(logits[:, -1], targets[:, -1])


def problem_of(measurement: Measurement, folders: Folders) -> tuple[gl.Problem, dict[str, float]]:
    """The problem of a measurement, and the losses of its network on training and test windows where it is trained."""
    if measurement.network == LENET:
        return _lenet(measurement, folders), {}
    data = windows(folders.text, measurement.vocabulary)
    pair = data.inputs, data.targets
    if measurement.network == SMALL:
        model, losses = _small(measurement, folders.text, folders.runs)
    else:
        model, losses = _large(measurement, folders.runs), {}
    loss = last_prediction_loss if measurement.single else next_token_loss
    return gl.Problem(model, loss, pair, name=f"GPT ({measurement.network})"), losses


def _lenet(measurement: Measurement, folders: Folders) -> gl.Problem:
    if folders.mnist is None:
        raise NotThere("no folder of MNIST was given")
    data = gl.load_data(folders.mnist)
    model = gl.build_model("lenet", tuple(data.inputs.shape[1:]), measurement.vocabulary, seed=measurement.seed)
    return gl.Problem(model, cross_entropy, (data.inputs, data.targets))


def _small(measurement: Measurement, text: str, runs: Path) -> tuple[nn.Module, dict[str, float]]:
    """The zoo's GPT; a training is made once for all of its points."""
    m = measurement
    model = gl.build_model("gpt", (windows(text, m.vocabulary).inputs.shape[1],), m.vocabulary, seed=m.seed)
    if not m.point:
        return model, {}
    folded = "" if m.vocabulary == VOCABULARY else f"-v{m.vocabulary}"
    folder = runs / f"small-{m.optimiser}{folded}-seed{m.seed}"
    train, test = (windows(text, m.vocabulary, split) for split in ("train", "test"))
    run = gl.train(
        model, next_token_loss, (train.inputs, train.targets), (test.inputs, test.targets), RECIPES[m.optimiser],
        m.seed, folder, resume=True, keep_all=True,
    )  # fmt: skip
    if m.point != EPOCHS:
        gl.load_checkpoint(folder / f"epoch-{m.point:04d}.safetensors").restore(model)
    row = run.history[m.point - 1]
    return model, {"train_loss": row["loss"], "test_loss": row["test_loss"]}


def _large(measurement: Measurement, runs: Path) -> nn.Module:
    """The network of nanoGPT for the study's windows, without dropout; random as the zoo has it, or its weights.

    Positions beyond a window have no gradient: they are left out, as nanoGPT crops a model to a shorter context.
    """
    settings = CHARACTERS
    with torch.random.fork_rng([]):
        torch.manual_seed(measurement.seed)
        model = gl.zoo.GPT(VOCABULARY, CONTEXT, settings.width, settings.depth, settings.heads, bias=False)
    if not measurement.point:
        return model
    file = runs / settings.folder / f"weights-{measurement.point:05d}.pt"
    if not file.is_file():
        raise NotThere(f"{file} is not there yet")
    weights = torch.load(file, weights_only=True)
    weights["positions.weight"] = weights["positions.weight"][:CONTEXT]
    model.load_state_dict(weights)
    return model
