"""The text: windows of characters, with a vocabulary that can be made smaller."""

import torch

import gradlaw as gl
from gradlaw.data import LabelledTensors
from studies.transformers.design import CONTEXT, VOCABULARY


def windows(folder: str, vocabulary: int, split: str = "train") -> LabelledTensors:
    """Windows of a text and the characters that follow, with so many different ones.

    The ``vocabulary - 1`` most frequent characters of the training split keep to themselves, in the order of their
    frequency, and all others are one; with the whole vocabulary nothing is changed.
    """
    data = gl.load_text(folder, CONTEXT, split)
    if vocabulary == VOCABULARY:
        return data
    counts = torch.bincount(gl.load_text(folder, CONTEXT).inputs.flatten(), minlength=len(data.source.classes))
    rank = torch.empty_like(counts)
    rank[counts.argsort(descending=True, stable=True)] = torch.arange(len(counts))
    fold = rank.clamp(max=vocabulary - 1)
    return LabelledTensors(fold[data.inputs], fold[data.targets], data.source)
