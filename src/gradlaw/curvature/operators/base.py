"""What the eigensolvers ask of a symmetric matrix that is never formed: its product with vectors."""

import zlib
from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import torch
from scipy.sparse.linalg import LinearOperator, aslinearoperator
from torch import Tensor

from gradlaw.errors import InputError
from gradlaw.ranks import ALONE, RankGroup


class CurvatureOperator(ABC):
    """A symmetric n x n matrix known by its products: ``operator @ vectors``.

    Attributes:
        name: what it is, in words ("Hessian", "generalised Gauss-Newton").
        dimensions: n.
        dtype: of the products, and of the vectors that they are taken of.
        device: where the products are computed.
        notices: what a reader of results has to know (a fallback that was taken, say).
        ranks: that form each product together; all of them multiply the same vectors, and all have the product.
    """

    name: str
    dimensions: int
    dtype: torch.dtype
    device: torch.device
    notices: tuple[str, ...] = ()
    ranks: RankGroup = ALONE

    @property
    def shape(self) -> tuple[int, int]:
        """(n, n)."""
        return (self.dimensions, self.dimensions)

    def __matmul__(self, vectors: Tensor) -> Tensor:
        """Product with one vector (n,) or with the columns of a block (n, m), in the same shape.

        Raises:
            InputError: vectors of another length, complex ones, or others than those of another rank.
        """
        if self.ranks.size == 1:
            return self.multiply(vectors)
        with self.ranks.alive():
            self.ranks.refuse_differences({"vectors": zlib.crc32(vectors.detach().cpu().contiguous().numpy().data)})
            return self.multiply(vectors)

    def multiply(self, vectors: Tensor) -> Tensor:
        """The same of vectors that are known to be those of every rank."""
        if vectors.is_complex():
            raise InputError(f"the {self.name} is real and multiplies real vectors, got {vectors.dtype}")
        if vectors.ndim not in (1, 2) or vectors.shape[0] != self.dimensions:
            raise InputError(
                f"the {self.name} of {self.dimensions:,} dimensions multiplies vectors of shape (n,) or (n, m), "
                f"got {tuple(vectors.shape)}"
            )
        block = vectors.to(self.device, self.dtype).reshape(self.dimensions, -1)
        return self._product(block).reshape(vectors.shape)

    @abstractmethod
    def _product(self, block: Tensor) -> Tensor:
        """The product with the columns of a block (n, m), of this dtype and on this device."""

    def __sub__(self, other: "CurvatureOperator") -> "CurvatureOperator":
        """The difference of two operators of one size: ``hessian - gauss_newton`` is the residual of the split."""
        return _Difference(self, other)

    def describe(self) -> dict[str, Any]:
        """What a result has to record of the operator."""
        return {
            "operator": self.name,
            "dimensions": self.dimensions,
            "dtype": str(self.dtype).removeprefix("torch."),
            "notices": list(self.notices),
        }

    def to_scipy(self) -> LinearOperator:
        """The same as a SciPy ``LinearOperator``, for ``scipy.sparse.linalg.eigsh`` and its kin; arrays on the CPU."""
        return _SciPyOperator(self)


class _SciPyOperator(LinearOperator):
    def __init__(self, operator: CurvatureOperator):
        self.operator = operator
        super().__init__(dtype=np.dtype(str(operator.dtype).removeprefix("torch.")), shape=operator.shape)

    def _matmat(self, vectors: np.ndarray) -> np.ndarray:
        return (self.operator @ torch.from_numpy(np.ascontiguousarray(vectors))).cpu().numpy()

    def _matvec(self, vector: np.ndarray) -> np.ndarray:
        return self._matmat(vector.reshape(-1))

    def _adjoint(self) -> LinearOperator:
        return self


class _Difference(CurvatureOperator):
    def __init__(self, first: CurvatureOperator, second: CurvatureOperator):
        if first.shape != second.shape:
            raise InputError(f"the {first.name} and the {second.name} have shapes {first.shape} and {second.shape}")
        if first.ranks is not second.ranks:
            raise InputError(f"the {first.name} is shared by {first.ranks.size} ranks, the {second.name} by "
                             f"{second.ranks.size}; make both with the same ranks")  # fmt: skip
        self.first, self.second, self.ranks = first, second, first.ranks
        self.name = f"{first.name} - {second.name}"
        self.dimensions, self.dtype, self.device = first.dimensions, first.dtype, first.device
        self.notices = tuple(dict.fromkeys(first.notices + second.notices))

    def _product(self, block: Tensor) -> Tensor:
        return self.first.multiply(block) - self.second.multiply(block).to(self.device, self.dtype)

    def describe(self) -> dict[str, Any]:
        return super().describe() | {"first": self.first.describe(), "second": self.second.describe()}


class _Wrapped(CurvatureOperator):
    """A matrix or an operator of another library, taken to be symmetric."""

    def __init__(self, wrapped: Any, dtype: torch.dtype, device: torch.device):
        self.wrapped, self.dtype, self.device = wrapped, dtype, device
        self.name = type(wrapped).__name__
        self.dimensions = int(wrapped.shape[0])

    def _product(self, block: Tensor) -> Tensor:
        if isinstance(self.wrapped, LinearOperator):
            return torch.from_numpy(np.asarray(self.wrapped @ block.cpu().numpy())).to(self.device, self.dtype)
        return (self.wrapped @ block).to(self.device, self.dtype)


def as_operator(matrix: Any) -> CurvatureOperator:
    """A ``CurvatureOperator`` out of anything symmetric that has a shape (n, n) and ``@``.

    Args:
        matrix: a ``CurvatureOperator``, a tensor or an array (n, n), a sparse matrix or ``LinearOperator`` of SciPy, or
            an operator that multiplies tensors, as those of curvlinops do. Symmetry is the caller's word.

    Raises:
        InputError: no square shape, no ``@``, or complex entries.
    """
    if isinstance(matrix, CurvatureOperator):
        return matrix
    shape = tuple(getattr(matrix, "shape", ()))
    if len(shape) != 2 or shape[0] != shape[1] or not hasattr(matrix, "__matmul__"):
        raise InputError(
            f"an operator must have a shape (n, n) and multiply vectors with @, got {type(matrix).__name__} of shape "
            f"{shape}"
        )
    if "complex" in str(getattr(matrix, "dtype", "")):
        raise InputError(
            f"a complex matrix ({matrix.dtype}) is not symmetric; give the real one of twice the size, "
            "[[Re, -Im], [Im, Re]], which has every eigenvalue of a Hermitian matrix twice"
        )
    if isinstance(matrix, np.ndarray):
        matrix = torch.from_numpy(matrix)
    if hasattr(matrix, "tocsr"):
        matrix = aslinearoperator(matrix)
    if isinstance(matrix, LinearOperator):
        dtype = torch.float32 if matrix.dtype == np.float32 else torch.float64
        return _Wrapped(matrix, dtype, torch.device("cpu"))
    dtype, device = getattr(matrix, "dtype", torch.float32), getattr(matrix, "device", torch.device("cpu"))
    return _Wrapped(matrix, dtype, torch.device(device))


def dense(operator: CurvatureOperator) -> Tensor:
    """The matrix (n, n) itself, by n products: for tests and small models.

    Args:
        operator: of n dimensions; the matrix takes n^2 numbers.
    """
    return operator @ torch.eye(operator.dimensions, dtype=operator.dtype, device=operator.device)
