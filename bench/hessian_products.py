"""Hessian-vector products: gradlaw against curvlinops, hessian-eigenthings, PyHessian and plain torch.

The Hessian of the mean cross entropy of LeNet over 2,000 images of 28x28, at PyTorch's initialisation, float32, times
20 vectors one after the other. Each run is a process of its own, contenders taking turns; the time is that of all 20
products, without that of building the operator (gradlaw linearises the gradient there). Everyone takes 250 samples at a
time. Memory is resident memory above that before the operator is built. The reference is double backward in float64;
the last column is the largest relative distance of a product from it.

python bench/hessian_products.py [--quick]     # prints the table; --quick: 3 products, once
"""

import sys
import tempfile
from pathlib import Path

from cases import Case
from contest import OWN, PEERS, contest
from contest import table as outcome_table

REPEATS, PRODUCTS, TOLERANCE = 3, 20, 1e-4
CASE = Case("LeNet", "lenet", (1, 28, 28), 2000, 250, 8)
CONTENDERS = {
    "double backward, float64": (PEERS, "reference"),  # first: its result is the reference
    "one gradient": (PEERS, "gradient"),
    "double backward": (PEERS, "double-backward"),
    "curvlinops": (PEERS, "curvlinops"),
    "hessian-eigenthings": (PEERS, "eigenthings"),
    "PyHessian": (PEERS, "pyhessian"),
    "gradlaw": (OWN, "gradlaw"),
    "gradlaw, nothing stored": (OWN, "gradlaw-recomputed"),
}


def measure(products: int = PRODUCTS, repeats: int = REPEATS) -> str:
    """The table."""
    script = Path(__file__).with_name("multipliers.py")
    with tempfile.TemporaryDirectory(prefix="gradlaw-bench-") as folder:
        CASE.write(Path(folder))
        commands = {label: [python, script, folder, name, products] for label, (python, name) in CONTENDERS.items()}
        return outcome_table(contest(commands, repeats, TOLERANCE), unit="one gradient")


def table() -> str:
    """The measurement in Markdown."""
    return measure()


if __name__ == "__main__":
    print(measure(3, 1) if "--quick" in sys.argv else measure())
