"""Trainers of other libraries, watched: the numbers are those of the same steps' gradients in a plain loop."""

from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments

import gradlaw as gl
from gradlaw.integrations.lightning import WatchCallback as LightningWatch
from gradlaw.integrations.transformers import WatchCallback as TransformersWatch

QUIET = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
Received = list[tuple[float, float]]


def recorder(optimizer: torch.optim.Optimizer, received: Received) -> None:
    """Keep the norm and the largest magnitude of what the optimiser gets, in float64."""

    def keep(*_: Any) -> None:
        gradients = [p.grad.double() for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        flat = torch.cat([g.reshape(-1) for g in gradients])
        received.append((float(flat.norm()), float(flat.abs().max())))

    # After the step: nothing changes gradients between the optimiser's reading them and this.
    optimizer.register_step_post_hook(keep)


def numbers(log: gl.WatchLog) -> list[tuple[float, float]]:
    return [(record["model"]["norm"], record["model"]["largest"]) for record in log.records]


def language_model() -> GPT2LMHeadModel:
    torch.manual_seed(0)
    return GPT2LMHeadModel(GPT2Config(vocab_size=50, n_positions=16, n_embd=32, n_layer=2, n_head=2))


def hugging_face(tmp_path: Path, received: Received, **arguments: Any) -> tuple[Trainer, TransformersWatch]:
    rng = torch.Generator().manual_seed(0)
    texts = [{"input_ids": t, "labels": t} for t in torch.randint(50, (64, 16), generator=rng)]
    watch = TransformersWatch(tmp_path / "log.jsonl", every=2)
    settings = TrainingArguments(
        output_dir=str(tmp_path / "out"), per_device_train_batch_size=4, use_cpu=True, report_to=[], disable_tqdm=True,
        logging_strategy="no", **{"max_steps": 5, "save_strategy": "no", **arguments},
    )  # fmt: skip
    trainer = Trainer(language_model(), settings, train_dataset=texts, callbacks=[watch])
    trainer.create_optimizer()
    recorder(trainer.optimizer, received)
    return trainer, watch


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("max_norm", [0.0, 0.01, 1e6])
def test_a_trainer_of_transformers(tmp_path, max_norm):
    received: Received = []
    trainer, callback = hugging_face(tmp_path, received, max_grad_norm=max_norm, gradient_accumulation_steps=2)
    trainer.train()
    log = gl.read_watch(tmp_path / "log.jsonl")
    assert log.steps == [0, 2, 4]
    assert numbers(log) == [pytest.approx(received[step], rel=1e-12) for step in log.steps]
    states = log.gradients()
    assert states.accumulated.tolist() == [[2, 2]] * 3
    if max_norm == 0.01:  # the norm that the gradient is clipped to, and the one it had
        assert (states.change == "rescaled").all()
        assert [norm for norm, _ in numbers(log)] == pytest.approx([0.01] * 3, rel=1e-3)
        assert (states.factor * states.delivered_norm).tolist() == pytest.approx([n for n, _ in numbers(log)], rel=1e-5)
    else:
        assert (states.change == "unmodified").all()
    assert callback.watch is not None
    assert "transformer.h.0.attn.c_attn" in log.records[0]["names"]
    assert "lm_head" not in log.records[0]["names"]  # tied to the embedding, which is counted once


@pytest.mark.filterwarnings("ignore")
def test_a_trainer_that_resumes_appends(tmp_path):
    received: Received = []
    trainer, _ = hugging_face(tmp_path, received, save_strategy="steps", save_steps=3, max_steps=3)
    trainer.train()
    trainer, _ = hugging_face(tmp_path, received, save_strategy="steps", save_steps=3, max_steps=6)
    trainer.train(resume_from_checkpoint=str(tmp_path / "out/checkpoint-3"))
    log = gl.read_watch(tmp_path / "log.jsonl")
    assert (log.steps, [run["step"] for run in log.runs]) == ([0, 2, 4], [0, 3])
    assert numbers(log) == [pytest.approx(received[step], rel=1e-12) for step in log.steps]


class Classifier(lightning.LightningModule):
    def __init__(self, received: Received) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers, self.received = nn.Sequential(nn.Linear(6, 40), nn.Tanh(), nn.Linear(40, 3)), received

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return F.cross_entropy(self.layers(batch[0]), batch[1])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        optimizer = torch.optim.Adam(self.parameters(), lr=1e-2)
        recorder(optimizer, self.received)
        return optimizer


class TwoOptimizers(Classifier):
    def __init__(self, received: Received) -> None:
        super().__init__(received)
        self.automatic_optimization = False

    def training_step(self, batch: Any, batch_idx: int) -> None:
        for optimizer in self.optimizers():
            optimizer.zero_grad()
            self.manual_backward(F.cross_entropy(self.layers(batch[0]), batch[1]))
            optimizer.step()

    def configure_optimizers(self) -> Any:
        optimizers = [torch.optim.SGD(self.layers[i].parameters(), lr=0.1) for i in (0, 2)]
        recorder(optimizers[1], self.received)
        return optimizers


def loader() -> DataLoader[Any]:
    rng = torch.Generator().manual_seed(0)
    return DataLoader(TensorDataset(torch.randn(60, 6, generator=rng), torch.arange(60) % 3), 5)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("arguments", "change"),
    [
        ({}, "unmodified"),
        ({"accumulate_grad_batches": 2}, "unmodified"),
        ({"gradient_clip_val": 0.01}, "rescaled"),
        ({"gradient_clip_val": 0.001, "gradient_clip_algorithm": "value"}, "elementwise"),
        ({"precision": "bf16-mixed"}, "unmodified"),
    ],
)
def test_a_trainer_of_lightning(tmp_path, arguments, change):
    received: Received = []
    watch = LightningWatch(tmp_path / "log.jsonl", every=2)
    trainer = lightning.Trainer(max_steps=5, accelerator="cpu", callbacks=[watch], **QUIET, **arguments)
    trainer.fit(Classifier(received), loader())
    log = gl.read_watch(tmp_path / "log.jsonl")
    assert log.steps == [0, 2, 4]
    assert numbers(log) == [pytest.approx(received[step], rel=1e-12) for step in log.steps]
    assert set(log.gradients().change) == {change}
    passes = arguments.get("accumulate_grad_batches", 1)
    assert log.gradients().accumulated.tolist() == [[passes, passes]] * 3
    assert log.records[0]["names"] == ["layers.0", "layers.2"]


@pytest.mark.filterwarnings("ignore")
def test_lightning_with_two_optimisers_has_two_logs(tmp_path):
    received: Received = []
    watch = LightningWatch(tmp_path / "log.jsonl", every=1)
    trainer = lightning.Trainer(max_steps=6, accelerator="cpu", callbacks=[watch], **QUIET)
    trainer.fit(TwoOptimizers(received), loader())
    logs = [gl.read_watch(tmp_path / f"log-{number}.jsonl") for number in (0, 1)]
    assert [log.records[0]["names"] for log in logs] == [["layers.0"], ["layers.2"]]
    assert numbers(logs[1]) == [pytest.approx(received[step], rel=1e-12) for step in logs[1].steps]
    assert {state for log in logs for state in log.gradients().change} == {"unmodified"}


@pytest.mark.filterwarnings("ignore")
def test_lightning_resumes_from_its_checkpoint(tmp_path):
    received: Received = []
    once = {"accelerator": "cpu", **QUIET}
    trainer = lightning.Trainer(max_steps=3, callbacks=[LightningWatch(tmp_path / "log.jsonl", every=1)], **once)
    trainer.fit(Classifier(received), loader())
    trainer.save_checkpoint(tmp_path / "three.ckpt")
    trainer = lightning.Trainer(max_steps=5, callbacks=[LightningWatch(tmp_path / "log.jsonl", every=1)], **once)
    trainer.fit(Classifier(received), loader(), ckpt_path=tmp_path / "three.ckpt")
    log = gl.read_watch(tmp_path / "log.jsonl")
    assert (log.steps, [run["step"] for run in log.runs]) == ([0, 1, 2, 3, 4], [0, 3])
    assert numbers(log) == [pytest.approx(norms, rel=1e-12) for norms in received]
    assert log.records[3]["model"]["gradient_cosine"] is not None  # remembered by the checkpoint
