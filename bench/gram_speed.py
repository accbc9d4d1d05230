"""The Gram matrix in float64: gradlaw against the plain product and BLAS, beside its eigenvalues.

Each run is a process of its own, contenders taking turns. The upper rows multiply a float32 history that is in memory
already (T x n x 4 bytes, not counted in the memory, which is resident memory above the start); those marked "from the
network" start from the network and images, forward and backward passes included. eigvalsh is
torch.linalg.eigvalsh of the same matrix. The last column is the distance from the plain product, relative to its norm.

python bench/gram_speed.py [--quick] [CASE ...]     # prints tables; --quick: a tenth of the iterations, once
"""

import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from cases import Case
from collection_speed import CIFAR, MNIST
from contest import OWN, contest
from contest import table as outcome_table

REPEATS = 1
SAME_HISTORY, SAME_PROBLEM = 1e-12, 1e-7  # allowed differences; float32 gradients round otherwise in another engine
CASES = {
    "lenet-1": Case("LeNet, n = 61,706, B = 1, T = 5000", "lenet", MNIST, 60_000, 1, 5000),
    "lenet-100": Case("LeNet, n = 61,706, B = 100, T = 2000", "lenet", MNIST, 60_000, 100, 2000),
    "fcn-10": Case("FCN 784-70-70-10 with BatchNorm, n = 60,910, B = 10, T = 5000", "fcn", MNIST, 60_000, 10, 5000),
    "resnet18-1": Case("ResNet18, running statistics, n = 11,173,962, B = 1, T = 48", "resnet18", CIFAR, 1000, 1, 48),
}
PLAIN, EIGENVALUES = "plain product, float64", "eigvalsh"
_YARDSTICK = 500  # iterations from which the eigenvalues take long enough to compare with
CONTENDERS = {
    PLAIN: ("plain", SAME_HISTORY),  # first: its result is the reference
    "BLAS dsyrk, float64": ("syrk", SAME_HISTORY),
    "gradlaw, in blocks": ("blocks", SAME_HISTORY),
    "gradlaw, from the network: collect, then in blocks": ("collected", SAME_PROBLEM),
    "gradlaw, from the network: by layers": ("factors", SAME_PROBLEM),
    EIGENVALUES: ("eigenvalues", SAME_HISTORY),
}


def measure(case: Case, repeats: int = REPEATS) -> str:
    """The table of one case."""
    script = Path(__file__).with_name("gram_products.py")
    with tempfile.TemporaryDirectory(prefix="gradlaw-bench-") as folder:
        case.write(Path(folder))
        subprocess.run([OWN, script, folder, "history"], check=True)
        commands = {label: [OWN, script, folder, name] for label, (name, _) in CONTENDERS.items()}
        tolerances = {label: tolerance for label, (_, tolerance) in CONTENDERS.items()}
        unit = PLAIN if case.iterations < _YARDSTICK else EIGENVALUES
        return outcome_table(contest(commands, repeats, tolerances), unit)


def table() -> str:
    """The measurement in Markdown."""
    return "\n\n".join(f"**{case.title}**\n\n{measure(case)}" for case in CASES.values())


if __name__ == "__main__":
    names = [name for name in sys.argv[1:] if name != "--quick"]
    quick = "--quick" in sys.argv
    for chosen in (CASES[name] for name in names or CASES):
        tried = replace(chosen, iterations=max(8, chosen.iterations // 10)) if quick else chosen
        print(f"**{chosen.title}** ({tried.iterations} iterations)\n\n{measure(tried, 1 if quick else REPEATS)}\n")
