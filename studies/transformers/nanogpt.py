"""nanoGPT's training on characters of Shakespeare, as its configurations have it, with the sums for a noise scale.

A step's minibatch goes through the model in pieces, as gradient accumulation does it. The squared norms of the pieces'
gradients and of their mean are logged: both parts of the noise scale follow from them (McCandlish et al. 2018,
appendix A.1). A run is resumed from its last whole checkpoint, bit for bit: the windows of a step and its dropout are
functions of the seed and the step alone.
"""

import json
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gradlaw.atomic import write_whole
from gradlaw.zoo.gpt import GPT, next_token_loss

_MODEL, _WINDOWS, _DROPOUT = range(3)
_STEPS_BETWEEN_SAVES = 5


@dataclass(frozen=True)
class NanoGPT:
    """One configuration of nanoGPT (its ``train.py`` with a file of ``config/``).

    Attributes:
        name: of its folder.
        context: characters in a window.
        batch_size: windows in a minibatch.
        piece: windows that go through the model at once.
        decay_steps: at which the learning rate has fallen to a tenth along a cosine.
        autocast: whether matrix products are in bfloat16, as nanoGPT has them where the device can.
        steps: how many are made.
        kept: steps after which the weights are kept.
    """

    name: str
    depth: int
    heads: int
    width: int
    context: int
    batch_size: int
    piece: int
    dropout: float
    decay_steps: int
    autocast: bool
    steps: int
    kept: tuple[int, ...]
    learning_rate: float = 1e-3
    warm_up: int = 100
    betas: tuple[float, float] = (0.9, 0.99)
    weight_decay: float = 0.1
    clip_norm: float = 1.0
    seed: int = 0

    @property
    def folder(self) -> str:
        """Where its run is kept, under the folder of runs."""
        return f"{self.name}-seed{self.seed}" if self.seed else self.name

    def learning_rate_at(self, step: int) -> float:
        """Linear warm-up, then a cosine to a tenth; steps are counted from 0."""
        if step < self.warm_up:
            return self.learning_rate * (step + 1) / (self.warm_up + 1)
        part = min(1.0, (step - self.warm_up) / (self.decay_steps - self.warm_up))
        return self.learning_rate * (0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * part)))

    def build(self, vocabulary: int) -> GPT:
        """The model at GPT-2's initialisation, seeded."""
        with torch.random.fork_rng([]):
            torch.manual_seed(_word(_MODEL, self.seed))
            model = GPT(vocabulary, self.context, self.width, self.depth, self.heads, bias=False, dropout=self.dropout)
            initialise_as_gpt2(model)
        return model


CHARACTERS = NanoGPT("nanogpt", 6, 6, 384, 256, 64, 8, 0.2, 5000, True, 240, (0, 60, 120, 240))
SMALL = NanoGPT("nanogpt-cpu", 4, 4, 128, 64, 12, 1, 0.0, 2000, False, 240, (0, 60, 120, 240))
# The same with the minibatch that the examples of nanoGNS have (Gray et al. 2023), which track this noise scale.
GNS = replace(SMALL, name="nanogpt-cpu-32", batch_size=32)


def initialise_as_gpt2(model: GPT) -> None:
    """Normal weights of deviation 0.02, those that add to the residual stream smaller by sqrt(2 depth)."""
    for name, parameter in model.named_parameters():
        if parameter.ndim == 2:
            adds = name.endswith(("attention.projection.weight", "mlp.2.weight"))
            nn.init.normal_(parameter, std=0.02 / math.sqrt(2 * len(model.blocks)) if adds else 0.02)
        elif name.endswith("bias"):
            nn.init.zeros_(parameter)


def windows(tokens: Tensor, context: int, count: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Windows at random places of a text, and the characters that follow: two tensors (count, context)."""
    starts = torch.from_numpy(rng.integers(0, len(tokens) - context, count))
    places = starts[:, None] + torch.arange(context)
    return tokens[places], tokens[places + 1]


def train(settings: NanoGPT, tokens: Tensor, vocabulary: int, folder: Path, deadline: float = math.inf) -> int:
    """Train, or go on, until all steps are made or the clock (``time.time()``) says stop; returns the steps made.

    Args:
        settings: model and training.
        tokens: of the training text, int64.
        vocabulary: number of different characters.
        folder: of ``weights-STEP.pt``, ``last.pt`` and ``steps.jsonl``.
        deadline: no step is begun after it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    model = settings.build(vocabulary)
    optimizer = _optimizer(model, settings)
    step, log = _resume(folder, model, optimizer)
    model.train()
    while True:
        done = step >= settings.steps or time.time() > deadline
        if step in settings.kept:
            _save(folder / f"weights-{step:05d}.pt", model.state_dict())
        if done or step % _STEPS_BETWEEN_SAVES == 0:
            _save(folder / "last.pt", {"step": step, "model": model.state_dict(), "optimizer": optimizer.state_dict()})
            write_whole(folder / "steps.jsonl", "".join(json.dumps(row) + "\n" for row in log))
        if done:
            return step
        log.append(_step(settings, model, optimizer, tokens, step))
        step += 1


def _step(
    settings: NanoGPT, model: GPT, optimizer: torch.optim.Optimizer, tokens: Tensor, step: int
) -> dict[str, float]:
    """One step; its loss and the squared norms of the pieces' gradients and of their mean."""
    started = time.time()
    for group in optimizer.param_groups:
        group["lr"] = settings.learning_rate_at(step)
    rng = np.random.default_rng([_WINDOWS, settings.seed, step])
    inputs, targets = windows(tokens, settings.context, settings.batch_size, rng)
    torch.manual_seed(_word(_DROPOUT, settings.seed, step))
    parameters = list(model.parameters())
    pieces = settings.batch_size // settings.piece
    total = [torch.zeros_like(p) for p in parameters]
    squares, losses = [], []
    for x, y in zip(inputs.split(settings.piece), targets.split(settings.piece), strict=True):
        with torch.autocast("cpu", torch.bfloat16, enabled=settings.autocast):
            loss = next_token_loss(model(x), y)
        gradients = torch.autograd.grad(loss, parameters)
        squares.append(squared_norm(gradients))
        losses.append(float(loss.detach()))
        for mean, gradient in zip(total, gradients, strict=True):
            mean += gradient / pieces
    for parameter, mean in zip(parameters, total, strict=True):
        parameter.grad = mean
    of_mean = squared_norm(total)
    nn.utils.clip_grad_norm_(parameters, settings.clip_norm)
    optimizer.step()
    return {
        "step": step,
        "loss": float(np.mean(losses)),
        "pieces": pieces,
        "mean_square_of_pieces": float(np.mean(squares)),
        "square_of_mean": of_mean,
        "seconds": round(time.time() - started, 2),
    }


def squared_norm(tensors: Sequence[Tensor]) -> float:
    """The squared Euclidean norm of several tensors taken as one vector."""
    return float(sum(float(t.double().square().sum()) for t in tensors))


def signal_and_noise(of_pieces: float, of_mean: float, piece: int, pieces: int) -> tuple[float, float]:
    """Unbiased |G|^2 and tr Sigma of one window, from mean squared norms at two batch sizes (appendix A.1)."""
    small, big = piece, piece * pieces
    signal = (big * of_mean - small * of_pieces) / (big - small)
    trace = (of_pieces - of_mean) / (1 / small - 1 / big)
    return signal, trace


def _optimizer(model: GPT, settings: NanoGPT) -> torch.optim.Optimizer:
    """AdamW; matrices decay, vectors do not."""
    matrices = [p for p in model.parameters() if p.ndim >= 2]
    vectors = [p for p in model.parameters() if p.ndim < 2]
    groups = [{"params": matrices, "weight_decay": settings.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=settings.learning_rate, betas=settings.betas)


def _resume(folder: Path, model: GPT, optimizer: torch.optim.Optimizer) -> tuple[int, list[dict[str, Any]]]:
    last = folder / "last.pt"
    if not last.is_file():
        return 0, []
    state = torch.load(last, weights_only=True)
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    rows = [json.loads(line) for line in (folder / "steps.jsonl").read_text(encoding="utf-8").splitlines()]
    return state["step"], [row for row in rows if row["step"] < state["step"]]


def _save(path: Path, state: Any) -> None:
    write_whole(path, lambda temporary: torch.save(state, temporary))


def _word(*key: int) -> int:
    return int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0])
