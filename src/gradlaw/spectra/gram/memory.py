"""The memory of the T x T matrices, asked for before anything is computed."""

import torch
from torch import Tensor

from gradlaw.errors import InputError
from gradlaw.resources import free_memory, gram_bytes


def refuse_large_gram(iterations: int, device: torch.device, row: int = 0) -> None:
    """Refuse so many iterations that the matrices of their spectra do not fit into memory.

    Args:
        iterations: T.
        device: of the matrices.
        row: bytes of each gradient that will be in the same memory.

    Raises:
        InputError: they do not; the message says how many iterations would.
    """
    needed, beside, free = gram_bytes(iterations), row * iterations, free_memory(device)
    if needed + beside > free:
        each = gram_bytes(1)
        fits = int((((row / each) ** 2 + 4 * free / each) ** 0.5 - row / each) / 2)  # each T^2 + row T = free
        gradients = f" beside {beside / 1e9:.2f} GB of gradients" if beside else ""
        raise InputError(
            f"spectra of T={iterations:,} iterations take {needed / 1e9:.2f} GB (two T x T matrices in float64)"
            f"{gradients} and {free / 1e9:.2f} GB of memory are free, which fits T={fits:,}; lower T, or keep sketches "
            "of the gradients (gradlaw.analyze(sketch=...), --sketch)"
        )


def zero_gram(iterations: int, device: torch.device) -> Tensor:
    """Zeros of shape (T, T) in float64 to add to.

    Raises:
        InputError: see :func:`refuse_large_gram`.
    """
    refuse_large_gram(iterations, device)
    return torch.zeros(iterations, iterations, dtype=torch.float64, device=device)
