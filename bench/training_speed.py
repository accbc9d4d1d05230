"""Training: gradlaw against a bare loop of PyTorch over tensors in memory, on images of MNIST's and CIFAR-10's size.

LeNet, SGD, minibatches of 128. The bare loop shuffles, steps and measures nothing. gradlaw also sums loss and
accuracy and looks out for divergence; then, as `gradlaw train` does, it also measures 10,000 test images and writes a
checkpoint after each epoch, and measures the training images once at the end. Contenders take turns; the best time
counts. The last column is the throughput relative to the bare loop.

python bench/training_speed.py [EPOCHS REPEATS]     # default: 3 epochs, 3 repeats
"""

import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

import gradlaw as gl
from gradlaw.training import Recipe, train

EPOCHS, REPEATS = 3, 3
TEST_SAMPLES = 10_000
CASES = {"MNIST": (60_000, (1, 28, 28), False), "CIFAR-10, flips and crops": (50_000, (3, 32, 32), True)}


def bare_loop(inputs: Tensor, targets: Tensor, epochs: int) -> None:
    """What anybody would write."""
    model = gl.build_model("lenet", tuple(inputs.shape[1:]), 10)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, weight_decay=5e-4)
    for _ in range(epochs):
        for batch in torch.randperm(len(inputs)).split(128):
            optimizer.zero_grad()
            cross_entropy(model(inputs[batch]), targets[batch]).backward()
            optimizer.step()


def gradlaw_loop(inputs: Tensor, targets: Tensor, epochs: int, augment: bool = False, all_of_it: bool = False) -> None:
    """The same, augmented if asked for, perhaps with test data and checkpoints."""
    model = gl.build_model("lenet", tuple(inputs.shape[1:]), 10)
    recipe = Recipe(epochs=epochs, augment=augment)
    test = (inputs[:TEST_SAMPLES], targets[:TEST_SAMPLES]) if all_of_it else None
    with tempfile.TemporaryDirectory(prefix="gradlaw-bench-") as folder:
        train(model, cross_entropy, (inputs, targets), test, recipe, checkpoint_dir=folder if all_of_it else None)


def measure(samples: int, shape: tuple[int, ...], augment: bool, epochs: int, repeats: int) -> str:
    """The table of one case."""
    generator = torch.Generator().manual_seed(0)
    data = torch.randn(samples, *shape, generator=generator), torch.randint(10, (samples,), generator=generator)
    contenders: dict[str, Callable[[], None]] = {
        "bare loop of PyTorch": partial(bare_loop, *data, epochs),
        "gradlaw": partial(gradlaw_loop, *data, epochs),
        "gradlaw, test data and checkpoints": partial(gradlaw_loop, *data, epochs, all_of_it=True),
    }
    if augment:
        contenders["gradlaw, test data, checkpoints, augmentation"] = partial(
            gradlaw_loop, *data, epochs, augment=True, all_of_it=True
        )
    best = dict.fromkeys(contenders, float("inf"))
    for _ in range(repeats):
        for name, work in contenders.items():
            start = time.perf_counter()
            work()
            best[name] = min(best[name], time.perf_counter() - start)
    bare = best["bare loop of PyTorch"]
    lines = ["| training | seconds an epoch | samples a second | of the bare loop |", "|---|---:|---:|---:|"]
    lines += [
        f"| {name} | {seconds / epochs:.2f} | {epochs * samples / seconds:,.0f} | {bare / seconds:.0%} |"
        for name, seconds in best.items()
    ]
    return "\n".join(lines)


def table(epochs: int = EPOCHS, repeats: int = REPEATS) -> str:
    """The measurement in Markdown."""
    return "\n\n".join(f"**{name}**\n\n{measure(*case, epochs, repeats)}" for name, case in CASES.items())


if __name__ == "__main__":
    print(table(*map(int, sys.argv[1:])))
