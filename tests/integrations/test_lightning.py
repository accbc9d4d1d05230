"""Lightning modules: the gradient is that of their training_step."""

import copy
from typing import Any

import lightning
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

import gradlaw as gl
from gradlaw.integrations.lightning import problem


def loader() -> DataLoader[Any]:
    rng = torch.Generator().manual_seed(0)
    inputs = torch.randn(20, 4, generator=rng, dtype=torch.float64)
    return DataLoader(TensorDataset(inputs, torch.arange(20) % 3), 5, shuffle=True)


class Classifier(lightning.LightningModule):
    def __init__(self, returns: str = "loss") -> None:
        super().__init__()
        self.layers, self.returns = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3)), returns

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        inputs, targets = batch
        loss = F.cross_entropy(self.layers(inputs), targets)
        self.log("train_loss", loss)
        return {"loss": loss, "dict": {"loss": loss}}[self.returns] if self.returns != "none" else None


class Data(lightning.LightningDataModule):
    def setup(self, stage: str) -> None:
        self.loader = loader()

    def train_dataloader(self) -> DataLoader[Any]:
        return self.loader


@pytest.mark.filterwarnings("ignore:You are trying to `self.log")
@pytest.mark.parametrize("returns", ["loss", "dict"])
@pytest.mark.parametrize("data", [loader, Data], ids=["loader", "data module"])
def test_gradients_are_those_of_the_training_step(returns: str, data: Any) -> None:
    torch.manual_seed(0)
    module = Classifier(returns).double()
    found = problem(module, data())
    history = gl.collect(found, iterations=4, batch_size=1)
    twin, minibatches = copy.deepcopy(module), history.settings.minibatches()
    for t in range(4):
        ((inputs, targets),) = found.fetch(minibatches[t])[0]
        loss = F.cross_entropy(twin.layers(inputs), targets)
        expected: list[Tensor] = list(torch.autograd.grad(loss, list(twin.parameters())))
        torch.testing.assert_close(history[t], torch.cat([g.reshape(-1) for g in expected]), rtol=1e-10, atol=1e-12)


@pytest.mark.filterwarnings("ignore:You are trying to `self.log")
def test_what_has_no_one_loss_is_refused() -> None:
    by_hand = Classifier()
    by_hand.automatic_optimization = False
    with pytest.raises(gl.InputError, match="optimises by hand"):
        problem(by_hand, loader())
    with pytest.raises(gl.InputError, match="Linear has no training_step"):
        problem(nn.Linear(2, 2), loader())
    with pytest.raises(gl.InputError, match="returned NoneType instead of a loss"):
        gl.collect(problem(Classifier("none").double(), loader()), 2, 1)

    class Several(Data):
        def train_dataloader(self) -> Any:
            return [loader(), loader()]

    with pytest.raises(gl.InputError, match="several train loaders"):
        problem(Classifier(), Several())


class Scaled(Classifier):
    """Takes no index, and scales its batches once they are where they are used."""

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        return 2 * batch[0], batch[1]

    def training_step(self, batch: Any) -> Tensor:  # type: ignore[override]
        return F.cross_entropy(self.layers(batch[0]), batch[1])


class Shifted(Data):
    """Whose own hook comes before that of the module."""

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        return 1 + batch[0], batch[1]


@pytest.mark.parametrize(("data", "change"), [(Data, lambda x: 2 * x), (Shifted, lambda x: 1 + x)])
def test_hooks_of_the_transfer_are_followed(data: Any, change: Any) -> None:
    module = Scaled().double()
    plain, found = problem(Classifier().double(), Data()), problem(module, data())
    assert all(torch.equal(found.data[i][0], change(plain.data[i][0])) for i in range(4))
    gl.collect(found, 2, 1)


def test_an_iterator_in_place_of_a_batch_is_refused() -> None:
    class Iterates(Classifier):
        def training_step(self, dataloader_iter: Any) -> Any:  # type: ignore[override]
            return next(dataloader_iter)

    with pytest.raises(gl.InputError, match="takes an iterator"):
        gl.collect(problem(Iterates().double(), loader()), 2, 1)
