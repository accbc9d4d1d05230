"""Transforms one after the other, in the order of an optimiser."""

from collections.abc import Sequence

from torch import Tensor

from gradlaw.errors import InputError
from gradlaw.history.transform_text import describe
from gradlaw.history.transforms import Adam, Apply, ClipByNorm, ClipByValue, Momentum, Rows, Transform, WeightDecay


def start_transforms(transforms: Sequence[Transform], rows_of: Rows) -> Apply:
    """All transforms as one function of consecutive rows.

    Call it with the rows of the history in the order of iterations, chunk by chunk: tensors (C, n) of the problem's
    type and device, changed in place. Results do not depend on the chunks, to the last bit.

    Args:
        transforms: in the order in which they are applied.
        rows_of: where the rows come from.

    Raises:
        InputError: see :func:`check_order`.
    """
    check_order(transforms)
    steps = [transform.start(rows_of) for transform in transforms]

    def apply(rows: Tensor) -> None:
        for step in steps:
            step(rows)

    return apply


def check_order(transforms: Sequence[Transform]) -> None:
    """Refuse what no optimiser does: any number of clippings come first; then one weight decay, one Momentum or Adam.

    The last two may come in either order: decay before is part of the gradient, decay after is decoupled.

    Raises:
        InputError: another order, two of a kind, or something that is no transform.
    """
    if not isinstance(transforms, Sequence) or not all(isinstance(transform, Transform) for transform in transforms):
        raise InputError(
            "transforms must be a sequence of ClipByNorm, ClipByValue, WeightDecay, Momentum and Adam, "
            f"got {transforms!r}"
        )
    seen: list[Transform] = []
    for transform in transforms:
        _check_next(transform, seen)
        seen.append(transform)


def _check_next(transform: Transform, seen: list[Transform]) -> None:
    if isinstance(transform, ClipByNorm | ClipByValue):
        for earlier in seen:
            if isinstance(earlier, Momentum | Adam):
                raise InputError(
                    f"{describe(transform)} after {describe(earlier)}: optimisers clip the gradient, not the update "
                    "made of it; put the clipping first"
                )
            if isinstance(earlier, WeightDecay):
                raise InputError(
                    f"{describe(transform)} after {describe(earlier)}: optimisers add the decay to the clipped "
                    "gradient; put the clipping first (a penalty that is clipped too belongs in the problem's loss)"
                )
    for kind, rule in ((WeightDecay, "one weight decay"), (Momentum | Adam, "one of momentum and Adam")):
        twice = [describe(t) for t in (*seen, transform) if isinstance(t, kind)]
        if len(twice) > 1:
            raise InputError(f"an optimiser has {rule}, got {' and '.join(twice)}")
