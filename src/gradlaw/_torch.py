"""What gradlaw takes from PyTorch beyond its public names; nothing else in the package names them."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

# Entries of a module's ``__dict__`` that hold its parameters, buffers and submodules.
MODULE_TENSORS = ("_parameters", "_buffers")


class OperationMode(TorchDispatchMode):
    """Sees every operation below autograd. PyTorch wraps such modes against its compiler, which takes a second or more
    to import; nothing that they see here is compiled.
    """

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False


def version(tensor: Tensor) -> int:
    """How often a tensor has been written to in place; -1 for tensors that do not count (inference mode)."""
    return -1 if tensor.is_inference() else tensor._version


def copy_all(targets: Sequence[Tensor], sources: Sequence[Tensor]) -> None:
    """Copy tensors into others of the same shapes and types, in one call."""
    if targets:
        with torch.no_grad():
            torch._foreach_copy_(list(targets), list(sources))
