"""Problems of Hugging Face transformers, whose models compute their own loss, and ``WatchCallback`` for its Trainer."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from gradlaw.choices import Randomness
from gradlaw.errors import InputError, count
from gradlaw.extras import extra
from gradlaw.problem import Problem

_LABELS = ("label", "labels", "label_ids")


def problem(
    model: nn.Module,
    dataset: Any,
    collator: Callable[[Any], Any] | None = None,
    batch_size: int = 8,
    *,
    batches: int | None = None,
    parameters: str | Sequence[str] | None = None,
    device: torch.device | str | None = None,
    seed: int = 0,
    randomness: Randomness = "refuse",
) -> Problem:
    """The loss that a model of transformers (or PEFT) returns for batches with labels.

    The loss is the model's own, a mean over tokens whose label is not -100, so that batches with few labels count as
    much as others, as they do in training. Of a PEFT model the trainable parameters alone are analysed, and tied
    embeddings once.

    Args:
        model: returns an object with ``loss`` for ``model(**batch)``. It is used in the mode it is in:
            ``from_pretrained`` gives evaluation mode, a model made of a configuration is in training mode with dropout.
        dataset: whatever a ``DataLoader`` takes.
        collator: from samples to a batch, for example ``DataCollatorForLanguageModeling``; default: transformers'
            ``default_data_collator``. Collators of transformers get those columns that the model takes, and labels, as
            its Trainer gives them; one of your own gets samples as they are.
        batch_size: samples in a batch.
        batches: how many of the shuffled batches to take, all of which are kept in memory; default: one epoch.
        parameters: names or patterns, see :class:`gradlaw.Problem`.
        device: where to compute.
        seed: of the shuffle and of random collators (masking), which draw once.
        randomness: see :class:`gradlaw.Problem`.

    Returns:
        A problem whose samples are batches: ``batch_size`` of :func:`gradlaw.collect` counts them.

    Raises:
        InputError: transformers is not installed and no collator was given; a batch for which the model returns no
            loss; what :class:`gradlaw.Problem` refuses.
    """
    if collator is None:
        with extra("transformers", "a collator for samples"):
            from transformers import default_data_collator
        collator = default_data_collator
    loader: DataLoader[Any] = DataLoader(
        dataset, count(batch_size, "batch_size"), shuffle=hasattr(dataset, "__len__"),
        collate_fn=_of_columns(model, collator), drop_last=True,
    )  # fmt: skip
    return Problem.from_step(
        model, loss_of_outputs, loader, parameters, device, batches=batches, seed=seed, randomness=randomness
    )


def _of_columns(model: Any, collator: Callable[[Any], Any]) -> Callable[[Any], Any]:
    if not str(getattr(collator, "__module__", "")).startswith("transformers."):
        return collator
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model  # of PEFT, which takes anything
    taken = {*inspect.signature(inner.forward).parameters, *_LABELS}

    def of_columns(samples: Sequence[Any]) -> Any:
        return collator(
            [
                {name: value for name, value in sample.items() if name in taken}
                if isinstance(sample, Mapping)
                else sample
                for sample in samples
            ]
        )

    return of_columns


def loss_of_outputs(model: nn.Module, batch: Any) -> Tensor:
    """The step: the loss in what the model makes of a batch.

    Raises:
        InputError: it holds none.
    """
    outputs = model(**batch)
    loss = outputs.get("loss") if isinstance(outputs, dict) else getattr(outputs, "loss", None)
    if not isinstance(loss, Tensor):
        raise InputError(
            f"{type(model).__name__} returned no loss for a batch of {', '.join(batch)}: a collator has to make labels"
        )
    return loss


def __getattr__(name: str) -> Any:
    if name != "WatchCallback":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from gradlaw.integrations.transformers_watch import WatchCallback  # a subclass of transformers' own, which loads it

    return WatchCallback
