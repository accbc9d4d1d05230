"""Models of transformers and PEFT from tiny configurations: gradients are those of the model's own loss."""

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    T5Config,
    T5ForConditionalGeneration,
    ViTConfig,
    ViTForImageClassification,
    default_data_collator,
)

import gradlaw as gl
from gradlaw.integrations.transformers import problem

Sample = dict[str, Tensor]
VOCABULARY = 40
# PEFT asks a model of transformers for an attribute by its old name.
pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")


def texts(count: int = 12) -> list[Sample]:
    rng = torch.Generator().manual_seed(0)
    lengths = torch.randint(3, 9, (count,), generator=rng)
    return [{"input_ids": torch.randint(1, VOCABULARY, (int(n),), generator=rng)} for n in lengths]


def padded(samples: list[Sample]) -> Sample:
    """Ids and mask, and labels of -100 where there is no token."""
    ids = nn.utils.rnn.pad_sequence([s["input_ids"] for s in samples], batch_first=True)
    mask = (ids > 0).long()
    return {"input_ids": ids, "attention_mask": mask, "labels": ids.masked_fill(mask == 0, -100)}


def masked(samples: list[Sample]) -> Sample:
    """Masked language model with a random mask, drawn when a batch is made."""
    batch = padded(samples)
    chosen = torch.rand(batch["input_ids"].shape) < 0.5
    chosen[:, 0] = True
    batch["labels"] = batch["labels"].masked_fill(~chosen, -100)
    return batch | {"input_ids": batch["input_ids"].masked_fill(chosen, 1)}


def classed(samples: list[Sample]) -> Sample:
    batch = padded(samples)
    return batch | {"labels": batch["input_ids"].sum(1) % 3}


def pictures(count: int = 12) -> list[Sample]:
    rng = torch.Generator().manual_seed(0)
    return [{"pixel_values": torch.randn(3, 8, 8, generator=rng).double(), "labels": torch.tensor(i % 3)}
            for i in range(count)]  # fmt: skip


def gpt2() -> nn.Module:
    return GPT2LMHeadModel(GPT2Config(vocab_size=VOCABULARY, n_positions=16, n_embd=8, n_layer=2, n_head=2))


def llama() -> nn.Module:
    return LlamaForCausalLM(LlamaConfig(vocab_size=VOCABULARY, hidden_size=8, intermediate_size=12,
                                        num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1))  # fmt: skip


def bert(kind: Any, **options: Any) -> nn.Module:
    return kind(BertConfig(vocab_size=VOCABULARY, hidden_size=8, num_hidden_layers=2, num_attention_heads=2,
                           intermediate_size=12, **options))  # fmt: skip


def t5() -> nn.Module:
    return T5ForConditionalGeneration(T5Config(vocab_size=VOCABULARY, d_model=8, d_kv=4, d_ff=12, num_layers=2,
                                               num_heads=2, decoder_start_token_id=0))  # fmt: skip


def vit() -> nn.Module:
    sizes = {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 12}
    return ViTForImageClassification(ViTConfig(image_size=8, patch_size=4, num_labels=3, **sizes))


def lora() -> nn.Module:
    return get_peft_model(gpt2(), LoraConfig(r=2, target_modules=["c_attn"], fan_in_fan_out=True))


CASES: dict[
    str, tuple[Callable[[], nn.Module], Callable[[], list[Sample]], Callable[[list[Sample]], Sample] | None]
] = {
    "gpt2": (gpt2, texts, padded),
    "llama": (llama, texts, padded),
    "bert masked": (lambda: bert(BertForMaskedLM), texts, masked),
    "bert classes": (lambda: bert(BertForSequenceClassification, num_labels=3), texts, classed),
    "t5": (t5, texts, padded),
    "vit, own collator": (vit, pictures, None),
    "lora": (lora, texts, padded),
}


@pytest.mark.parametrize("name", CASES)
def test_gradients_are_those_of_the_models_loss(name: str) -> None:
    make, samples, collator = CASES[name]
    torch.manual_seed(0)
    model = make().double().eval()
    found = problem(model, samples(), collator, batch_size=3)
    history = gl.collect(found, iterations=4, batch_size=1)
    twin, minibatches = copy.deepcopy(model), history.settings.minibatches()
    parameters = [p for p in twin.parameters() if p.requires_grad]
    for t in range(4):
        (batch,) = found.fetch(minibatches[t])[0]
        gradients = torch.autograd.grad(twin(**batch).loss, parameters, materialize_grads=True, allow_unused=True)
        torch.testing.assert_close(history[t], torch.cat([g.reshape(-1) for g in gradients]), rtol=1e-10, atol=1e-12)
    assert found.samples == 4


def test_collators_of_transformers_get_the_columns_of_the_model() -> None:
    torch.manual_seed(0)
    model = lora().eval()  # takes any keyword, and the model in it does not
    rng = torch.Generator().manual_seed(0)
    rows = [{"input_ids": torch.randint(1, VOCABULARY, (6,), generator=rng), "number": i} for i in range(12)]
    rows = [row | {"labels": row["input_ids"], "text": "a b"} for row in rows]
    assert set(problem(model, rows, default_data_collator).data[0]) == {"input_ids", "labels"}
    seen: list[set[str]] = []
    problem(model, rows, lambda samples: seen.append(set(samples[0])) or default_data_collator(samples))
    assert seen[0] == {"input_ids", "labels", "number", "text"}


def test_lora_has_trainable_parameters_alone_and_tied_embeddings_are_one() -> None:
    torch.manual_seed(0)
    assert {"lora" in part.name for part in problem(lora().eval(), texts(), padded).layout} == {True}
    names = [part.name for part in problem(gpt2().eval(), texts(), padded).layout]
    assert [name for name in names if "wte" in name or "lm_head" in name] == ["transformer.wte.weight"]


def test_dropout_is_refused_with_the_way_out() -> None:
    model = gpt2().train()
    with pytest.raises(gl.InputError, match=r"dropout\?\).*model.eval\(\)"):
        gl.collect(problem(model, texts(), padded, 3), 2, 1)


def test_a_batch_without_labels_is_refused() -> None:
    found = problem(gpt2().eval(), texts(), lambda samples: {"input_ids": padded(samples)["input_ids"]}, 3)
    with pytest.raises(gl.InputError, match="GPT2LMHeadModel returned no loss for a batch of input_ids"):
        gl.collect(found, 2, 1)


def test_an_analysis_of_a_language_model() -> None:
    torch.manual_seed(0)
    found = gl.integrations.transformers.problem(gpt2().eval(), texts(120), padded, 4)
    analysis = gl.analyze(found, iterations=30, batch_size=1, k=8, gaussian_k=20)
    assert np.isfinite(analysis.spectra["covariance"].eigenvalues).all()
