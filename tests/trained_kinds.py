"""Small models, losses and data of every kind of training, by the headings of docs/kinds.md: what its lines presume."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import lightning
import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence, pad_sequence
from torch.utils.data import DataLoader, TensorDataset
from transformers import GPT2Config, GPT2LMHeadModel

import gradlaw as gl

Names = dict[str, Any]
BATCHES = range(4)


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def labels(classes: int, *shape: int, seed: int = 0) -> Tensor:
    return torch.randint(classes, shape, generator=torch.Generator().manual_seed(seed))


def perceptron(inputs: int, outputs: int) -> nn.Module:
    return nn.Sequential(nn.Linear(inputs, 6), nn.Tanh(), nn.Linear(6, outputs))


def table() -> Names:
    return {"model": nn.Sequential(perceptron(5, 1), nn.Flatten(0)), "features": draw(12, 5), "targets": draw(12)}


class Residual(nn.Module):
    """A residual block with BatchNorm."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.conv, self.norm = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        return self.head(F.relu(x + self.norm(self.conv(x))).mean((2, 3)))


class VisionTransformer(nn.Module):
    """Patches, a class token, positions and one encoder layer."""

    def __init__(self) -> None:
        super().__init__()
        self.patches, self.token = nn.Conv2d(3, 6, 4, 4), nn.Parameter(torch.randn(1, 1, 6))
        self.positions, self.head = nn.Parameter(torch.randn(1, 5, 6)), nn.Linear(6, 3)
        self.block = nn.TransformerEncoderLayer(6, 2, 8, 0.1, "gelu", batch_first=True, norm_first=True)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(len(x), -1, -1), x], 1) + self.positions
        return self.head(self.block(x)[:, 0])


class ConvNeXt(nn.Module):
    """A depthwise convolution, LayerNorm over channels, layer scale and drop path."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.depthwise = nn.Conv2d(3, 4, 4, 4), nn.Conv2d(4, 4, 3, padding=1, groups=4)
        self.norm, self.wide, self.narrow = nn.LayerNorm(4), nn.Linear(4, 8), nn.Linear(8, 4)
        self.scale, self.head = nn.Parameter(torch.full((4,), 0.5)), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        h = self.norm(self.depthwise(x).permute(0, 2, 3, 1))
        h = (self.scale * self.narrow(F.gelu(self.wide(h)))).permute(0, 3, 1, 2)
        if self.training:  # drop path
            h = h * (torch.rand(len(h), 1, 1, 1) > 0.1)
        return self.head((x + h).mean((2, 3)))


def pictures(model: Callable[[], nn.Module]) -> Callable[[], Names]:
    return lambda: {"model": model(), "images": draw(12, 3, 8, 8), "labels": labels(3, 12)}


class UNet(nn.Module):
    """One level down and up."""

    def __init__(self) -> None:
        super().__init__()
        self.down, self.norm = nn.Conv2d(1, 4, 3, 2, 1), nn.BatchNorm2d(4)
        self.up, self.head = nn.ConvTranspose2d(4, 4, 2, 2), nn.Conv2d(5, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.cat([self.up(F.relu(self.norm(self.down(x)))), x], 1))


def segmentation() -> Names:
    masks = labels(3, 12, 8, 8)
    masks[:, 0] = 255
    weights = torch.tensor([0.2, 1.0, 5.0], dtype=torch.float64)
    return {"model": UNet(), "images": draw(12, 1, 8, 8), "masks": masks, "weights": weights}


class TwoHeads(nn.Module):
    """Outputs by name."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.classes, self.depth = nn.Linear(5, 6), nn.Linear(6, 3), nn.Linear(6, 1)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        h = torch.tanh(self.body(x))
        return {"class": self.classes(h), "depth": self.depth(h).squeeze(1)}


def tasks() -> Names:
    return {"model": TwoHeads(), "inputs": draw(12, 5), "classes": labels(3, 12), "depths": draw(12)}


def contrast() -> Names:
    return {"model": perceptron(5, 4), "views": draw(12, 5), "embeddings": draw(12, 4, seed=1)}


class Denoiser(nn.Module):
    """Predicts noise, given the time."""

    def __init__(self) -> None:
        super().__init__()
        self.times, self.first, self.second = nn.Embedding(10, 6), nn.Linear(4, 6), nn.Linear(6, 4)

    def forward(self, x: Tensor, times: Tensor) -> Tensor:
        return self.second(F.silu(self.first(x) + self.times(times)))


def diffusion() -> Names:
    kept = torch.linspace(0.99, 0.1, 10, dtype=torch.float64)
    given = {"images": draw(12, 4), "noise": draw(12, 4, seed=1), "times": labels(10, 12)}
    return given | {"model": Denoiser(), "signal": kept.sqrt(), "noise_level": (1 - kept).sqrt()}


def collated() -> Names:
    samples = [(draw(5, seed=i), i % 3) for i in range(12)]

    def by_name(chosen: list[tuple[Tensor, int]]) -> dict[str, Tensor]:
        return {"x": torch.stack([x for x, _ in chosen]), "y": torch.tensor([y for _, y in chosen])}

    loader: DataLoader[Any] = DataLoader(samples, 3, shuffle=True, collate_fn=by_name)  # type: ignore[arg-type]
    return {"model": perceptron(5, 3), "loader": loader}


class Language(nn.Module):
    """An LSTM over packed sequences."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.lstm = nn.Embedding(9, 5, padding_idx=0), nn.LSTM(5, 6, 2, batch_first=True)
        self.head = nn.Linear(6, 9)

    def forward(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        packed = pack_padded_sequence(self.embed(tokens), lengths, batch_first=True, enforce_sorted=False)
        return self.head(pad_packed_sequence(self.lstm(packed)[0], batch_first=True)[0])


def packed() -> Names:
    def padded(chosen: list[Tensor]) -> dict[str, Tensor]:
        return {"tokens": pad_sequence(chosen, batch_first=True), "lengths": torch.tensor([len(x) for x in chosen])}

    texts = [1 + labels(8, 3 + i % 5, seed=i) for i in range(12)]
    loader: DataLoader[Any] = DataLoader(texts, 3, shuffle=True, collate_fn=padded)  # type: ignore[arg-type]
    return {"model": Language(), "loader": loader}


class Graphs:
    """Several graphs as one, which keeps its tensors in a store of its own, as torch_geometric does."""

    def __init__(self, **tensors: Tensor) -> None:
        self.store = tensors

    def __getattr__(self, name: str) -> Tensor:
        if name == "store" or name not in self.store:
            raise AttributeError(name)
        return self.store[name]

    def clone(self) -> "Graphs":
        return Graphs(**{name: tensor.clone() for name, tensor in self.store.items()})


class GraphNetwork(nn.Module):
    """Two sums over neighbours, and a mean over the nodes of each graph."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Linear(3, 6), nn.Linear(6, 6), nn.Linear(6, 2)

    def forward(self, x: Tensor, edges: Tensor, batch: Tensor) -> Tensor:
        for layer in (self.first, self.second):
            h = layer(x)
            x = torch.relu(h.index_add(0, edges[1], h[edges[0]]))
        sums = x.new_zeros(int(batch.max()) + 1, 6).index_add(0, batch, x)
        return self.head(sums / batch.bincount()[:, None])


def graphs() -> Names:
    def one(seed: int) -> Graphs:
        sizes = torch.arange(3, 6)
        batch = torch.arange(3).repeat_interleave(sizes)
        edges = labels(int(sizes.sum()), 2, 20, seed=seed)
        return Graphs(x=draw(len(batch), 3, seed=seed), edge_index=edges, batch=batch, y=labels(2, 3, seed=seed))

    return {"model": GraphNetwork(), "loader": [one(seed) for seed in BATCHES]}


class Autoencoder(nn.Module):
    """A variational autoencoder whose noise comes from a generator."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = nn.Linear(6, 4), nn.Linear(2, 6)

    def forward(self, x: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        mean, log_variance = self.encoder(x).chunk(2, 1)
        noise = torch.randn(mean.shape, generator=generator, dtype=x.dtype)
        return self.decoder(mean + noise * (log_variance / 2).exp()), mean, log_variance


def autoencoder() -> Names:
    return {"model": Autoencoder(), "batches": [{"x": draw(4, 6, seed=i), "seed": i} for i in BATCHES]}


def equation() -> Names:
    return {"model": perceptron(1, 1), "batches": [draw(6, 1, seed=i) for i in BATCHES]}


def critic() -> Names:
    def one(i: int) -> dict[str, Tensor]:
        return {"real": draw(4, 3, seed=i), "fake": draw(4, 3, seed=i + 9), "share": draw(4, 1, seed=i + 5).sigmoid()}

    return {"critic": perceptron(3, 1), "batches": [one(i) for i in BATCHES]}


def language_model() -> Names:
    def padded(samples: list[Tensor]) -> dict[str, Tensor]:
        ids = pad_sequence(samples, batch_first=True)
        return {"input_ids": ids, "attention_mask": (ids > 0).long(), "labels": ids.masked_fill(ids == 0, -100)}

    model = GPT2LMHeadModel(GPT2Config(vocab_size=20, n_positions=8, n_embd=8, n_layer=1, n_head=2))
    texts = [1 + labels(19, 3 + i % 5, seed=i) for i in range(12)]
    return {"model": model, "dataset": texts, "collator": padded}


def adapters() -> Names:
    names = language_model()
    lora = LoraConfig(r=2, target_modules=["c_attn"], fan_in_fan_out=True, init_lora_weights=False)
    return names | {"model": get_peft_model(names["model"], lora)}


class Module(lightning.LightningModule):
    """A training_step without the index of its batch, on inputs that a hook scales."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = perceptron(5, 3)

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        return 2 * batch[0], batch[1]

    def training_step(self, batch: Any) -> Tensor:
        return F.cross_entropy(self.layers(batch[0]), batch[1])


class Data(lightning.LightningDataModule):
    """Twelve samples."""

    def train_dataloader(self) -> DataLoader[Any]:
        return DataLoader(TensorDataset(draw(12, 5), labels(3, 12)), 3, shuffle=True)


def module() -> Names:
    return {"module": Module(), "datamodule": Data()}


KINDS: dict[str, dict[str, Callable[[], Names]]] = {
    "Regression on a table": {"": table},
    "Images: residual networks, vision transformers, ConvNeXt (timm)": {
        "resnet": pictures(Residual),
        "vit": pictures(VisionTransformer),
        "convnext": pictures(ConvNeXt),
    },
    "Segmentation with class weights": {"": segmentation},
    "Several losses": {"": tasks},
    "A loss of the whole batch: InfoNCE": {"": contrast},
    "Diffusion, with its noise as data": {"": diffusion},
    "A loader with a collate function": {"": collated},
    "Packed sequences": {"": packed},
    "Graphs (torch_geometric)": {"": graphs},
    "An autoencoder with seeded noise": {"": autoencoder},
    "A differential equation": {"": equation},
    "A differential equation by torch.func": {"": equation},
    "A critic with gradient penalty": {"": critic},
    "transformers and PEFT": {"gpt2": language_model, "lora": adapters},
    "Lightning": {"": module},
}


@dataclass
class Kind:
    """A kind of training as the page writes it.

    Attributes:
        heading: on the page.
        variant: of several models that the same lines take.
        code: of the page.
        text: that stands below the code.
    """

    heading: str
    variant: str
    code: str
    text: str

    def problem(self) -> gl.Problem:
        """By the lines of the page, the model in float64."""
        names = KINDS[self.heading][self.variant]()
        for value in names.values():
            if isinstance(value, nn.Module):
                value.double()
        names |= {"torch": torch, "F": F, "gl": gl}
        exec(compile(self.code, f"docs/kinds.md, {self.heading}", "exec"), names)
        problem: gl.Problem = names["problem"]
        return problem


def kinds(page: str) -> Iterator[Kind]:
    """Every kind of a page, with each of its variants."""
    for part in page.split("\n### ")[1:]:
        heading, _, rest = part.partition("\n")
        code, _, text = rest.partition("```python\n")[2].partition("```\n")
        for variant in KINDS[heading]:
            yield Kind(heading, variant, code, text.partition("\n## ")[0])
