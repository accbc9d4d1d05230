"""Watch a Trainer of transformers, here on a tiny GPT-2 and random tokens: one callback.

python examples/watch_hf_trainer.py [FOLDER]
"""

import sys
import tempfile

import torch
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments

import gradlaw as gl
from gradlaw.integrations.transformers import WatchCallback


def main(folder: str) -> None:
    """20 steps of two accumulated minibatches each, clipped by norm to 1 as a Trainer does by default."""
    tokens = torch.randint(100, (160, 32), generator=torch.Generator().manual_seed(0))
    arguments = TrainingArguments(
        output_dir=folder, max_steps=20, per_device_train_batch_size=4, gradient_accumulation_steps=2, report_to=[],
        use_cpu=True, disable_tqdm=True, save_strategy="no", logging_strategy="no",
    )  # fmt: skip
    trainer = Trainer(
        GPT2LMHeadModel(GPT2Config(vocab_size=100, n_positions=32, n_embd=64, n_layer=2, n_head=4)),
        arguments,
        train_dataset=[{"input_ids": row, "labels": row} for row in tokens],
        callbacks=[WatchCallback(f"{folder}/watch.jsonl", every=5)],
    )
    trainer.train()
    log = gl.read_watch(f"{folder}/watch.jsonl")
    print(log)
    print(log.to_frame()[["step", "layer", "norm", "s", "d_ks", "update_ratio"]].to_string(index=False))
    print(log.gradients()[["step", "change", "factor", "delivered_norm", "accumulated"]].to_string(index=False))


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp())
