"""Watch a plain training loop: two lines, and what they recorded.

python examples/watch_plain_loop.py [FOLDER]
"""

import sys
import tempfile

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F

import gradlaw as gl


def main(folder: str) -> None:
    """Digits, 200 steps of AdamW with clipping."""
    images, labels = (torch.tensor(a) for a in load_digits(return_X_y=True))
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    gl.watch(model, optimizer, log=f"{folder}/watch.jsonl", every=50)  # the first line
    for _ in range(200):
        chosen = torch.randint(len(images), (64,))
        optimizer.zero_grad()
        F.cross_entropy(model(images[chosen].float() / 16), labels[chosen]).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.3)
        optimizer.step()
    log = gl.read_watch(f"{folder}/watch.jsonl")  # and the second
    print(log)
    print(log.to_frame()[["step", "layer", "norm", "zero_share", "s", "d_ks", "update_ratio"]].to_string(index=False))
    print(log.gradients()[["step", "change", "factor", "delivered_norm"]].to_string(index=False))


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp())
