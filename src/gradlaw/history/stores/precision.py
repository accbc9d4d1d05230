"""The type that gradients are stored in, and what rounding to it does to them."""

from dataclasses import dataclass

import torch
from torch import Tensor

from gradlaw.errors import InputError
from gradlaw.problem import ParameterSlice
from gradlaw.ranks import RankGroup

DTYPES = {
    "float64": torch.float64,
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}


def storage_dtype(asked: torch.dtype | str | None, computed: torch.dtype) -> torch.dtype:
    """The type to store gradients in: the one they are computed in unless another is asked for.

    Raises:
        InputError: no such type.
    """
    name = dtype_name(computed if asked is None else asked)
    if name not in DTYPES:
        raise InputError(f"dtype must be one of {', '.join(DTYPES)}, got {asked!r}")
    return DTYPES[name]


def dtype_name(dtype: torch.dtype | str) -> str:
    """``float32`` for ``torch.float32``."""
    return str(dtype).removeprefix("torch.")


@dataclass(frozen=True)
class StoredPrecision:
    """The type that gradients are stored in, and what rounding to it did to them.

    Attributes:
        dtype: such as ``"float32"``.
        rounding: relative error, root mean square over iterations (see :attr:`Storage.rounding`).
        largest_rounding: of one iteration.
        underflow: share of the nonzero values that became zero.
    """

    dtype: str
    rounding: float = 0.0
    largest_rounding: float = 0.0
    underflow: float = 0.0


class Storage:
    """Rounds gradients to the type they are stored in and measures the error of it.

    Of a gradient g and what is stored of it, g~, the relative error is ||g~ - g|| / ||g||.

    Args:
        dtype: of what is stored.
        layout: names the parameter of a value that does not fit.
    """

    def __init__(self, dtype: torch.dtype, layout: list[ParameterSlice]):
        self.dtype, self._layout = dtype, layout
        self._error_power, self._power, self._largest = 0.0, 0.0, 0.0
        self._nonzero, self._underflown = 0, 0

    @property
    def rounding(self) -> float:
        """sqrt(sum ||g~ - g||^2 / sum ||g||^2) over all iterations.

        Times the root of the spectrum's trace, it is the most that the root of any eigenvalue moves (Weyl).
        """
        return (self._error_power / self._power) ** 0.5 if self._power else 0.0

    def store(self, rows: Tensor, out: Tensor, first: int) -> None:
        """Round gradients (C, n) of the iterations ``first`` onwards into ``out``.

        Raises:
            InputError: a value beyond the range of the type; names its iteration and parameter.
        """
        out.copy_(rows)
        errors, norms = _distances(rows, out)
        if not torch.isfinite(errors).all():
            self._refuse(rows, out, first)
        self._note(errors, norms, torch.stack([torch.count_nonzero(rows), torch.count_nonzero(out)]))

    def store_columns(self, rows: Tensor, out: Tensor, columns: range, ranks: RankGroup) -> None:
        """Round some columns of all gradients, (T, columns), of which other ranks round the others, into ``out``.

        Raises:
            InputError: as :meth:`store`.
        """
        with ranks.together():
            out.copy_(rows)
            errors, norms = _distances(rows, out)
            if not torch.isfinite(errors).all():
                self._refuse(rows, out, 0, columns.start)
        errors, norms = ranks.sum(torch.stack([errors, norms]).square()).sqrt()
        counts = ranks.sum(torch.stack([torch.count_nonzero(rows), torch.count_nonzero(out)]))
        self._note(errors, norms, counts)

    def join(self, ranks: RankGroup) -> None:
        """Have what all ranks have measured, each of its own rows."""
        powers, others, largest, nonzero, underflown = zip(*ranks.gather(self.state()), strict=True)
        self.restore([sum(powers), sum(others), max(largest), sum(nonzero), sum(underflown)])

    def _note(self, errors: Tensor, norms: Tensor, nonzero: Tensor) -> None:
        """Of rows: ||g~ - g|| and ||g||, and how many of their values are not zero, before and after."""
        self._error_power += float(errors.square().sum())
        self._power += float(norms.square().sum())
        self._largest = max(self._largest, float((errors / norms.where(norms > 0, 1)).max()))
        before, after = map(int, nonzero)
        self._nonzero += before
        self._underflown += before - after

    def state(self) -> list[float]:
        """What has been measured so far, for :meth:`restore`."""
        return [self._error_power, self._power, self._largest, self._nonzero, self._underflown]

    def restore(self, state: list[float]) -> None:
        """Go on from a state."""
        self._error_power, self._power, self._largest = state[:3]
        self._nonzero, self._underflown = map(int, state[3:])

    def measured(self) -> StoredPrecision:
        """Type and errors of what has been stored."""
        underflow = self._underflown / max(1, self._nonzero)
        return StoredPrecision(dtype_name(self.dtype), self.rounding, self._largest, underflow)

    def notices(self) -> list[str]:
        """What the rounding does to results, in words; nothing if there was none."""
        if not self._largest:
            return []
        measured = self.measured()
        return [
            f"gradients are stored as {measured.dtype}: their relative rounding error is {self.rounding:.2g} (root "
            f"mean square over iterations; at most {self._largest:.2g}) and {measured.underflow:.2%} of the nonzero "
            "values became zero. Values that became equal move a KS distance by up to about (beta - 1) x "
            f"{torch.finfo(self.dtype).eps:.2g}"
        ]

    def _refuse(self, rows: Tensor, out: Tensor, first: int, left: int = 0) -> None:
        """Of rows ``first`` onwards and columns ``left`` onwards."""
        row, column = (~torch.isfinite(out)).nonzero()[0].tolist()
        value = float(rows[row, column])
        column += left
        part = next(p for p in self._layout if column < p.stop)
        wider = "bfloat16" if abs(value) < torch.finfo(torch.bfloat16).max else dtype_name(rows.dtype)
        raise InputError(
            f"the gradient of iteration {first + row} is {value:.6g} at parameter {part.name!r} "
            f"(element {column - part.start} of {part.stop - part.start}), beyond the range of "
            f"{dtype_name(self.dtype)}, {torch.finfo(self.dtype).max:.6g}; store it with dtype={wider!r}"
        )


def _distances(rows: Tensor, out: Tensor) -> tuple[Tensor, Tensor]:
    """||g~ - g|| and ||g|| of each row, in float64."""
    errors, norms = [], []
    for row, kept in zip(rows, out, strict=True):  # one at a time, to stay in the cache
        wide = row.to(torch.float64, copy=True)
        norms.append(torch.linalg.vector_norm(wide))
        errors.append(torch.linalg.vector_norm(wide.sub_(kept)))
    return torch.stack(errors), torch.stack(norms)
