"""Watch a variational autoencoder, and ask what each of its two losses contributes to the gradient.

python examples/watch_vae.py [FOLDER]
"""

import sys
import tempfile

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional as F

import gradlaw as gl


class Autoencoder(nn.Module):
    """Digits to four numbers with noise, and back."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 8))
        self.decoder = nn.Sequential(nn.Linear(4, 64), nn.ReLU(), nn.Linear(64, 64))

    def losses(self, images: Tensor) -> dict[str, Tensor]:
        """What is lost on the way, and the distance of the code from a normal one, both per image."""
        mean, log_variance = self.encoder(images).chunk(2, dim=1)
        code = mean + torch.randn_like(mean) * (log_variance / 2).exp()
        distance = 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).sum(1).mean()
        return {"recovered": F.mse_loss(self.decoder(code), images, reduction="sum") / len(images), "code": distance}


def main(folder: str) -> None:
    """200 steps of Adam with a backward pass for each loss; then the gradients of each at the end."""
    torch.manual_seed(0)
    images = torch.tensor(load_digits().data).float() / 16
    model = Autoencoder()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    gl.watch(model, optimizer, log=f"{folder}/watch.jsonl", every=50)
    for _ in range(200):
        optimizer.zero_grad()
        losses = model.losses(images[torch.randint(len(images), (64,))])
        losses["recovered"].backward(retain_graph=True)
        losses["code"].backward()
        optimizer.step()
    log = gl.read_watch(f"{folder}/watch.jsonl")
    print(log)
    print(log.to_frame()[["step", "layer", "norm", "s", "update_ratio"]].to_string(index=False))
    print(log.gradients()[["step", "change", "accumulated"]].to_string(index=False))
    batches = list(images[:1792].split(64))
    for name in ("recovered", "code"):
        problem = gl.Problem.from_step(
            model, lambda model, batch, name=name: model.losses(batch)[name], batches, randomness="seeded"
        )
        history = gl.collect(problem, iterations=len(batches), batch_size=1)
        scale = gl.gradient_noise(history).noise_scale_unbiased
        norm = float(history.gradients.mean(dim=0).norm())
        print(f"{name}: mean gradient {norm:.2g}, noise scale {scale.value:.2g} +- {scale.standard_error:.2g} batches")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp())
