"""Errors of the user's model, loss or step stay what they are, with a note that says what went in."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor

from gradlaw._torch import pytree
from gradlaw.errors import InputError

_MOST = 6  # tensors that are described


@contextmanager
def noting(where: str, **given: Any) -> Iterator[None]:
    """Add to an error of the block, but for refusals of ours, where it was raised and what was given.

    Args:
        where: such as ``"the model and loss of LeNet"``.
        **given: trees of tensors, by what they are.
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        what = "; ".join(f"{name} {described(value)}" for name, value in given.items() if value is not None)
        error.add_note(f"gradlaw: raised in {where}, called with {what}")
        raise


def described(value: Any) -> str:
    """Types and shapes of the tensors in a tree, and the range of whole numbers: class indices may be out of it."""
    leaves = pytree.tree_leaves(value)
    more = f" and {len(leaves) - _MOST} more" if len(leaves) > _MOST else ""
    return ", ".join(map(_one, leaves[:_MOST])) + more


def _one(leaf: Any) -> str:
    if not isinstance(leaf, Tensor):
        return type(leaf).__name__
    text = f"{str(leaf.dtype).removeprefix('torch.')} {tuple(leaf.shape)}"
    whole = not (leaf.is_floating_point() or leaf.is_complex()) and leaf.device.type == "cpu" and leaf.numel() > 0
    if not whole:
        return text
    values = leaf.numpy()  # PyTorch has no minimum of some types
    return f"{text} from {int(values.min())} to {int(values.max())}"
