"""What collecting the gradients of a U-Net takes beside a plain loop over minibatches, as images grow.

A U-Net of 3 levels, segmentation into two classes with class weights, B = 4, T = 60. Each measurement is a process of
its own, one thread, the two in turns: processor seconds, the least of three turns, and the highest resident memory of
the process, PyTorch itself included. "plain loop" fills the same matrix by ``torch.autograd.grad``. `gl.collect` looks
at the first minibatch from all sides beside, whatever T is: two passes over the minibatch, of which one is iteration 0,
a forward pass that sees the loss to be no mean of samples, and passes over half of it in float32, float64, another
order and at the end. *fixed* is what it took longer, *passes* the same in iterations of the plain loop.

python bench/unet_memory.py     # prints the table
"""

import resource
import subprocess
import sys
import time
from statistics import median

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, interpolate

SIZES, SAMPLES, ITERATIONS, BATCH, REPEATS = (32, 64, 128, 256), 48, 60, 4, 3
WEIGHTS = torch.tensor([0.3, 0.7])


class UNet(nn.Module):
    """Three levels down and up, with skips."""

    def __init__(self, width: int = 8):
        super().__init__()
        w = width
        self.down = nn.ModuleList([_block(1, w), _block(w, 2 * w), _block(2 * w, 4 * w)])
        self.up = nn.ModuleList([_block(6 * w, 2 * w), _block(3 * w, w)])
        self.out = nn.Conv2d(w, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        skips = []
        for level, block in enumerate(self.down):
            x = block(x if level == 0 else nn.functional.max_pool2d(x, 2))
            skips.append(x)
        for block, skip in zip(self.up, (skips[1], skips[0]), strict=True):
            x = block(torch.cat([interpolate(x, scale_factor=2), skip], dim=1))
        return self.out(x)


def _block(before: int, after: int) -> nn.Module:
    layers = [nn.Conv2d(before, after, 3, padding=1), nn.ReLU(), nn.Conv2d(after, after, 3, padding=1), nn.ReLU()]
    return nn.Sequential(*layers)


def loss(outputs: Tensor, targets: Tensor) -> Tensor:
    """Weighted cross-entropy over pixels."""
    return cross_entropy(outputs, targets, weight=WEIGHTS)


def measure(how: str, size: int) -> tuple[float, float, str]:
    """Processor seconds, MB at the most, and the engine."""
    import gradlaw as gl
    from gradlaw.minibatches import Minibatches

    torch.set_num_threads(1)
    torch.manual_seed(0)
    problem = gl.Problem(UNet(), loss, (torch.randn(SAMPLES, 1, size, size), torch.randint(2, (SAMPLES, size, size))))
    loss(problem.model(torch.zeros(1, 1, size, size)), torch.zeros(1, size, size, dtype=torch.int64)).backward()
    engine, start = "plain", time.process_time()
    if how == "loop":
        gradients, (inputs, targets) = torch.empty(ITERATIONS, problem.dimensions), problem.data
        for row, batch in zip(gradients, Minibatches(SAMPLES, BATCH, ITERATIONS), strict=True):
            indices = torch.from_numpy(batch)
            of_batch = loss(problem.model(inputs[indices]), targets[indices])
            pieces = torch.autograd.grad(of_batch, problem.parameters())
            torch.cat([piece.flatten() for piece in pieces], out=row)
    else:
        engine = gl.collect(problem, ITERATIONS, BATCH, engine=how).settings.engine
    return time.process_time() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3, engine


def table() -> str:
    """The measurement in Markdown, a size a line."""
    lines = [
        "| size | plain loop | `collect` | engine | time | memory | fixed | passes |",
        "|---|---|---|---|---:|---:|---:|---:|",
    ]
    for size in SIZES:
        rows: dict[str, list[list[str]]] = {"loop": [], "auto": []}
        for _ in range(REPEATS):
            for how, found in rows.items():
                command = [sys.executable, __file__, how, str(size)]
                found.append(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split())
        (plain_s, plain_mb), (own_s, own_mb) = (
            [least(float(row[i]) for row in found) for i, least in enumerate((min, median))] for found in rows.values()
        )
        lines.append(
            f"| {size} x {size} | {plain_s:.2f} s, {plain_mb:.0f} MB | {own_s:.2f} s, {own_mb:.0f} MB "
            f"| {rows['auto'][0][2]} | {own_s / plain_s:.2f} | {own_mb / plain_mb:.2f} | {own_s - plain_s:.1f} s "
            f"| {(own_s - plain_s) / plain_s * ITERATIONS:.0f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(*measure(sys.argv[1], int(sys.argv[2])))
    else:
        print(table())
