"""Collecting a gradient history: gradlaw's engines against torch.func, opacus, backpack and a loop.

Each run is a process of its own, contenders taking turns, from networks and images in memory to a (T, n) matrix of
float32 in memory. The memory is resident memory above that before the first gradient, the matrix (T x n x 4 bytes)
included. The floor is a batched backward pass over the same samples and writing a matrix of that size; ratios are to
it. Where each sample is in many minibatches, its gradient can be made once, and less than the floor is enough. The last
column is the relative distance of the matrix from the loop's. gradlaw's times include its checks. The versions
of the peers are in bench/peers/requirements.txt; they take up to 128 samples at once (4 iterations at least), with
which they were fastest.

python bench/collection_speed.py [--quick] [CASE ...]     # prints tables; --quick: a tenth of the iterations, once
"""

import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from cases import Case
from contest import OWN, PEERS, contest
from contest import table as outcome_table

REPEATS = 2
TOLERANCE = 2e-3  # a float32 ReLU input that falls on the other side of zero moves a gradient by as much
MNIST, CIFAR = (1, 28, 28), (3, 32, 32)
CASES = {
    "lenet-1": Case("LeNet, B = 1, T = 5000", "lenet", MNIST, 60_000, 1, 5000),
    "lenet-100": Case("LeNet, B = 100, T = 1000", "lenet", MNIST, 60_000, 100, 1000),
    "lenet-300": Case("LeNet, B = 300, T = 1000, of 10,000 samples", "lenet", MNIST, 10_000, 300, 1000),
    "fcn-10": Case("FCN 784-70-70-10 with BatchNorm, B = 10, T = 5000", "fcn", MNIST, 60_000, 10, 5000),
    "fcn-plain-10": Case("The same without BatchNorm", "fcn without BatchNorm", MNIST, 60_000, 10, 5000),
    "resnet18-1": Case("ResNet18, running statistics, B = 1, T = 48", "resnet18", CIFAR, 1000, 1, 48),
}
CONTENDERS = {
    "plain loop": (PEERS, "loop"),  # first: its result is the reference
    "floor": (PEERS, "floor"),
    "torch.func vmap(grad)": (PEERS, "torch.func"),
    "opacus": (PEERS, "opacus"),
    "backpack": (PEERS, "backpack"),
    "gradlaw, auto": (OWN, "gradlaw-auto"),
    "gradlaw, layerwise": (OWN, "gradlaw-layerwise"),
    "gradlaw, vmap": (OWN, "gradlaw-vmap"),
    "gradlaw, loop": (OWN, "gradlaw-loop"),
}


def measure(case: Case, repeats: int = REPEATS) -> str:
    """The table of one case."""
    script = Path(__file__).with_name("collectors.py")
    with tempfile.TemporaryDirectory(prefix="gradlaw-bench-") as folder:
        case.write(Path(folder))
        commands = {label: [python, script, folder, name] for label, (python, name) in CONTENDERS.items()}
        return outcome_table(contest(commands, repeats, TOLERANCE), unit="floor")


def table() -> str:
    """The measurement in Markdown."""
    return "\n\n".join(f"**{case.title}**\n\n{measure(case)}" for case in CASES.values())


if __name__ == "__main__":
    names = [name for name in sys.argv[1:] if name != "--quick"]
    quick = "--quick" in sys.argv
    for chosen in (CASES[name] for name in names or CASES):
        tried = replace(chosen, iterations=max(8, chosen.iterations // 10)) if quick else chosen
        print(f"**{chosen.title}** ({tried.iterations} iterations)\n\n{measure(tried, 1 if quick else REPEATS)}\n")
