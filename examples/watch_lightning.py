"""Watch a Trainer of Lightning: one callback.

python examples/watch_lightning.py [FOLDER]
"""

import sys
import tempfile
from typing import Any

import lightning
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

import gradlaw as gl
from gradlaw.integrations.lightning import WatchCallback


class Classifier(lightning.LightningModule):
    """A small network."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(20, 60), nn.Tanh(), nn.Linear(60, 4))

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """The loss of a minibatch."""
        return F.cross_entropy(self.layers(batch[0]), batch[1])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam."""
        return torch.optim.Adam(self.parameters(), lr=1e-2)


def main(folder: str) -> None:
    """20 steps, clipped by value."""
    data = TensorDataset(torch.randn(640, 20), torch.randint(4, (640,)))
    trainer = lightning.Trainer(
        max_steps=20, accelerator="cpu", gradient_clip_val=0.01, gradient_clip_algorithm="value", logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        callbacks=[WatchCallback(f"{folder}/watch.jsonl", every=5)],
    )  # fmt: skip
    trainer.fit(Classifier(), DataLoader(data, 32))
    log = gl.read_watch(f"{folder}/watch.jsonl")
    print(log)
    print(log.to_frame()[["step", "layer", "norm", "largest", "update_ratio"]].to_string(index=False))
    print(log.gradients()[["step", "change", "delivered_norm", "accumulated"]].to_string(index=False))


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp())
