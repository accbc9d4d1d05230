"""The memory of the T x T matrices, asked for before anything is computed."""

import torch
from torch import Tensor

from gradlaw.errors import InputError
from gradlaw.resources import free_memory

_MATRICES = 2  # at once, in float64: the Gram matrix, and the centred one or the work space of its eigenvalues


def refuse_large_gram(iterations: int, device: torch.device) -> None:
    """Refuse so many iterations that the matrices of their spectra do not fit into memory.

    Raises:
        InputError: they do not; the message says how many iterations would.
    """
    needed, free = _MATRICES * 8 * iterations**2, free_memory(device)
    if needed > free:
        raise InputError(
            f"spectra of T={iterations:,} iterations take {needed / 1e9:.2f} GB (two T x T matrices in float64) and "
            f"{free / 1e9:.2f} GB of memory are free, which fits T={int((free / _MATRICES / 8) ** 0.5):,}; lower T, "
            "or keep sketches of the gradients (gradlaw.analyze(sketch=...), --sketch)"
        )


def zero_gram(iterations: int, device: torch.device) -> Tensor:
    """Zeros of shape (T, T) in float64 to add to.

    Raises:
        InputError: see :func:`refuse_large_gram`.
    """
    refuse_large_gram(iterations, device)
    return torch.zeros(iterations, iterations, dtype=torch.float64, device=device)
