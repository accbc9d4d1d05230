"""The largest eigenpairs of a Hessian: gradlaw against ARPACK on curvlinops' operator and against hessian-eigenthings.

The Hessian of the mean cross entropy of LeNet over 500 images of 28x28, at PyTorch's initialisation, float32, 250
samples at a time; the largest eigenpairs, to residuals of 1e-6 of the norm. Each run is a process of its own and
includes building the operator. gradlaw measures the residual of every pair with a product of its own, or, with
measure=0, states those of the Lanczos relation; the others measure none. ARPACK's tolerance is relative to each
eigenvalue: it is given the one that asks 1e-6 of the norm of the last pair. hessian-eigenthings neither restarts nor
looks for convergence: it is given the number of steps that gradlaw took, and runs with full reorthogonalisation and as
it is by default, without. The last column is the largest residual of 20 pairs, by products in float64, or the largest
difference to gradlaw's eigenvalues, whichever is larger, over lambda_1: ghosts show there.

python bench/hessian_eigenpairs.py [K [SAMPLES [REPEATS]]]     # prints the table; default: 100 500 1
"""

import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from contest import OWN, PEERS, contest
from contest import table as outcome_table
from hessian_products import CASE

CONTENDERS = {
    "gradlaw": (OWN, "gradlaw"),  # first: the others are compared with it
    "gradlaw, measure=0": (OWN, "gradlaw-unmeasured"),
    "scipy eigsh, curvlinops": (PEERS, "arpack"),
    "hessian-eigenthings": (PEERS, "eigenthings"),
    "hessian-eigenthings, default": (PEERS, "eigenthings-default"),
}
TOLERANCE = {"gradlaw": 2e-6, "gradlaw, measure=0": 2e-6, "scipy eigsh, curvlinops": 1e-4, "hessian-eigenthings": 1e-4,
             "hessian-eigenthings, default": float("inf")}  # fmt: skip


def table(k: int = 100, samples: int = 500, repeats: int = 1) -> str:
    """The measurement in Markdown."""
    script = Path(__file__).with_name("eigensolvers.py")
    case = replace(CASE, samples=samples, iterations=samples // CASE.batch_size)
    with tempfile.TemporaryDirectory(prefix="gradlaw-bench-") as folder:
        case.write(Path(folder))
        commands = {label: [python, script, folder, name, k] for label, (python, name) in CONTENDERS.items()}
        return outcome_table(contest(commands, repeats, TOLERANCE), unit="gradlaw")


if __name__ == "__main__":
    print(table(*(int(argument) for argument in sys.argv[1:])))
