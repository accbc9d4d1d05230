"""What a newcomer tries first, beside plain PyTorch doing the same: seconds of CPU time of a process.

A small network (64-32-10, 2,410 parameters) on the 1,797 digits. Imports are not counted, whatever else a
first call loads is. Plain PyTorch collects gradients by a loop of `torch.autograd.grad` and takes `eigvalsh` of their
Gram matrix, without any test; the Hessian it builds row by row and takes `eigvalsh` of it. One thread, the smallest of
several.

python bench/first_steps.py     # prints the table
"""

import os
import subprocess
import sys

REPEATS = 3
_MODEL = """
import time, torch, gradlaw as gl
from sklearn.datasets import load_digits
images, labels = (torch.tensor(a) for a in load_digits(return_X_y=True))
images = images.float() / 16
torch.manual_seed(0)
model = torch.nn.Sequential(torch.nn.Linear(64, 32), torch.nn.ReLU(), torch.nn.Linear(32, 10))
loss = torch.nn.functional.cross_entropy
problem = gl.Problem(model, loss, (images, labels))
parameters = list(model.parameters())
def gradients(iterations, batch_size):
    rows = []
    for t in range(iterations):
        chosen = torch.randint(len(labels), (batch_size,))
        grads = torch.autograd.grad(loss(model(images[chosen]), labels[chosen]), parameters)
        rows.append(torch.cat([g.reshape(-1) for g in grads]))
    return torch.stack(rows)
def spectrum(iterations, batch_size):
    G = gradients(iterations, batch_size).double()
    G -= G.mean(0)
    return torch.linalg.eigvalsh(G @ G.T / iterations)
def hessian():
    first = torch.autograd.grad(loss(model(images), labels), parameters, create_graph=True)
    flat = torch.cat([g.reshape(-1) for g in first])
    rows = [torch.autograd.grad(g, parameters, retain_graph=True) for g in flat]
    H = torch.stack([torch.cat([r.reshape(-1) for r in row]) for row in rows])
    return torch.linalg.eigvalsh((H + H.T) / 2)
start = time.process_time()
"""
# What is tried: ours, and the same by hand.
STEPS = {
    "`analyze`, T = 2,000, B = 1": ("gl.analyze(problem, 2000, 1)", "spectrum(2000, 1)"),
    "`analyze`, T = 300, B = 10": ("gl.analyze(problem, 300, 10)", "spectrum(300, 10)"),
    "`collect`, T = 2,000, B = 1": ("gl.collect(problem, 2000, 1)", "gradients(2000, 1)"),
    "`hessian_spectrum`, k = 20": ("gl.hessian_spectrum(problem, k=20)", "hessian()"),
    "`spectral_density`": ("gl.spectral_density(gl.hessian(problem))", "hessian()"),
}


def cpu_seconds(code: str) -> float:
    """The least CPU time of the code in a process of its own."""
    program = f"{_MODEL}{code}\nprint(time.process_time() - start)"
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    runs = (subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, env=environment)
            for _ in range(REPEATS))  # fmt: skip
    return min(float(run.stdout.split()[-1]) for run in runs)


def table() -> str:
    """The measurement in Markdown."""
    lines = ["| first step | gradlaw, s | plain PyTorch, s | ratio |", "|---|---:|---:|---:|"]
    for name, (ours, plain) in STEPS.items():
        own, by_hand = cpu_seconds(ours), cpu_seconds(plain)
        lines.append(f"| {name} | {own:.2f} | {by_hand:.2f} | {own / by_hand:.2f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
