"""Watch a GAN: two losses, two optimisers, one watch each.

python examples/watch_gan.py [FOLDER]
"""

import sys
import tempfile

import torch
from torch import nn
from torch.nn import functional as F

import gradlaw as gl


def main(folder: str) -> None:
    """A generator of points on a ring, and its critic; the generator's pass leaves gradients in the critic too."""
    torch.manual_seed(0)
    parts = {
        "generator": nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 2)),
        "critic": nn.Sequential(nn.Linear(2, 64), nn.ReLU(), nn.Linear(64, 1)),
    }
    optimizers = {name: torch.optim.Adam(part.parameters(), lr=1e-3) for name, part in parts.items()}
    for name, part in parts.items():
        gl.watch(part, optimizers[name], log=f"{folder}/{name}.jsonl", every=10)
    generator, critic = parts.values()
    one, zero = torch.ones(64, 1), torch.zeros(64, 1)
    for _ in range(40):
        angle = 6.283 * torch.rand(64, 1)
        real, fake = torch.cat([angle.cos(), angle.sin()], dim=1), generator(torch.randn(64, 8))
        optimizers["critic"].zero_grad()
        F.binary_cross_entropy_with_logits(critic(real), one).backward()  # two passes that add up
        F.binary_cross_entropy_with_logits(critic(fake.detach()), zero).backward()
        optimizers["critic"].step()
        optimizers["generator"].zero_grad()
        F.binary_cross_entropy_with_logits(critic(fake), one).backward()
        optimizers["generator"].step()
    for name in parts:
        log = gl.read_watch(f"{folder}/{name}.jsonl")
        print(f"{name}: {log}")
        print(log.to_frame()[["step", "layer", "norm", "update_ratio", "gradient_cosine"]].to_string(index=False))
        print(log.gradients()[["step", "change", "accumulated", "leftover"]].to_string(index=False))


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp())
