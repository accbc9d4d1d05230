"""The networks at every point of the design: built, trained, or read from what was trained before."""

from pathlib import Path

import torch
from torch import nn

import gradlaw as gl
from gradlaw.zoo.gpt import MLP, CausalSelfAttention, next_token_loss
from gradlaw.zoo.initialise import initialise
from studies.transformers.design import ADAM, EPOCHS, RECIPES, SMALL, VOCABULARY, Measurement
from studies.transformers.nanogpt import CHARACTERS
from studies.transformers.text import windows

KINDS = {"attention": CausalSelfAttention, "MLP": MLP, "embedding": nn.Embedding, "LayerNorm": nn.LayerNorm}


class NotTrained(Exception):
    """The weights that a measurement needs are not there yet."""


def problem_of(measurement: Measurement, text: str, runs: Path) -> tuple[gl.Problem, dict[str, float]]:
    """The problem of a measurement, and the losses of its network on training and test windows where it is trained."""
    data = windows(text, measurement.vocabulary)
    pair = data.inputs, data.targets
    if measurement.network == SMALL:
        model, losses = _small(measurement, text, runs)
    else:
        model, losses = _large(measurement, runs), {}
    return gl.Problem(model, next_token_loss, pair, name=f"GPT ({measurement.network})"), losses


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
    """The network of nanoGPT, without its dropout; at random the zoo's initialisation, as the small one has it."""
    if measurement.optimiser == ADAM:
        settings = CHARACTERS
        with torch.random.fork_rng([]):
            torch.manual_seed(measurement.seed)
            model = gl.zoo.GPT(VOCABULARY, settings.context, settings.width, settings.depth, settings.heads, bias=False)
            initialise(model, "pytorch")
        return model
    model = CHARACTERS.build(VOCABULARY).eval()
    weights = runs / CHARACTERS.folder / f"weights-{measurement.point:05d}.pt"
    if not weights.is_file():
        raise NotTrained(f"{weights} is not there yet")
    model.load_state_dict(torch.load(weights, weights_only=True))
    return model
