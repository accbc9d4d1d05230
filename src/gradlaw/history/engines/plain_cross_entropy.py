"""The commonest loss, for which much is known that has to be shown of others."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def is_plain_cross_entropy(loss: Any) -> bool:
    """Whether a loss is the mean over samples of -log softmax: no weights, no label smoothing, no other reduction."""
    if type(loss) is nn.CrossEntropyLoss:
        plain = loss.weight is None and loss.label_smoothing == 0 and loss.ignore_index < 0
        return plain and loss.reduction == "mean"
    return loss is F.cross_entropy


def cross_entropies(outputs: Any, targets: Any) -> Tensor | None:
    """The losses (C,) of C minibatches at once, of logits (C, B, classes) and labels (C, B); None for anything else.

    ``vmap`` of the loss gives the same; its decomposition of the loss imports a computer algebra system, half a second.
    """
    tensors = isinstance(outputs, Tensor) and isinstance(targets, Tensor)
    if not tensors or outputs.dim() != 3 or targets.shape != outputs.shape[:2] or targets.dtype != torch.int64:
        return None
    if bool((targets < 0).any()):  # labels that are left out of the mean
        return None
    each = F.cross_entropy(outputs.flatten(0, 1), targets.flatten(), reduction="none")
    return each.view(targets.shape).mean(dim=1)
