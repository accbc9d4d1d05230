"""A subspace of parameter space: shares of vectors in it, and gradients projected into it or out of it."""

from collections.abc import Iterable
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from gradlaw.curvature.eigensolver.eigenpairs import Eigenpairs
from gradlaw.errors import InputError, choice
from gradlaw.spectra.eigenvectors import Eigenvectors
from gradlaw.spectra.subspaces import orthonormal_rows
from gradlaw.stats.arrays import as_matrix

Keep = Literal["dominant", "bulk"]


class Subspace:
    """The span of k orthonormal vectors in n dimensions, as that of the leading eigenvectors of H or of the covariance.

    Args:
        vectors: ``Eigenpairs`` (of :func:`gradlaw.eigenpairs`, :func:`gradlaw.hessian_spectrum`) or ``Eigenvectors``
            (of :func:`gradlaw.spectra.gradient_eigenvectors`), or an array of shape (k, n) of orthonormal rows.
        k: take the first k of them. Default: all.

    Raises:
        InputError: eigenpairs without vectors, k below 1 or above their number, or rows that are not orthonormal.

    Example:
        >>> import numpy as np
        >>> Subspace(np.eye(3)[:2]).shares([[3.0, 0.0, 4.0]])
        array([0.36])
    """

    def __init__(self, vectors: Any, k: int | None = None):
        rows = vectors_of(vectors)
        if k is not None and not 1 <= k <= len(rows):
            raise InputError(f"k={k} vectors of {len(rows)} were asked for; give 1 to {len(rows)}")
        self.vectors = orthonormal_rows(rows if k is None else rows[:k]).double()

    @property
    def dimensions(self) -> int:
        """Of the parameter space, n."""
        return self.vectors.shape[1]

    def __len__(self) -> int:
        return len(self.vectors)

    def project(self, vectors: Tensor) -> Tensor:
        """P v of vectors (n,) or of the rows of (m, n), in their type.

        Raises:
            InputError: vectors of another length.
        """
        if vectors.shape[-1] != self.dimensions:
            raise InputError(f"the subspace has {self.dimensions:,} dimensions, the vectors {vectors.shape[-1]:,}")
        basis = self.vectors.to(vectors.device)
        return (vectors.double() @ basis.T @ basis).to(vectors.dtype)

    def shares(self, vectors: Any) -> np.ndarray:
        """||P v||^2 / ||v||^2 of each row of (m, n), from 0 to 1; its mean over random vectors is k / n.

        Some papers show the root, ||P v|| / ||v||.

        Raises:
            InputError: vectors of another length, or one that is zero.
        """
        rows = as_matrix(vectors, "vectors").double()
        norms = rows.square().sum(dim=1)
        if not bool((norms > 0).all()):
            raise InputError(f"vector {int(torch.argmin(norms))} is zero, and has no share in any subspace")
        return (self.project(rows).square().sum(dim=1) / norms).clamp(max=1.0).cpu().numpy()

    @torch.no_grad()
    def project_gradients(self, parameters: Iterable[nn.Parameter], keep: Keep) -> float:
        """Project ``.grad`` of parameters in place, between ``loss.backward()`` and ``optimizer.step()``.

        With plain SGD this makes Dom-SGD and Bulk-SGD of Song, Ahn and Yun 2025. Of momentum or Adam the step is not
        the gradient, and is not in the subspace because its gradients were.

        Args:
            parameters: those of ``Problem.parameters()``, in that order.
            keep: ``"dominant"`` keeps P g, ``"bulk"`` keeps g - P g.

        Returns:
            The share of the squared gradient in the subspace, before the projection; 0 for a zero gradient.

        Raises:
            InputError: parameters of another number of dimensions, one without a gradient, or another ``keep``.
        """
        choice(keep, "keep", ("dominant", "bulk"))
        tensors = list(parameters)
        missing = sum(p.grad is None for p in tensors)
        if missing:
            raise InputError(f"{missing} of {len(tensors)} parameters have no gradient: call loss.backward() before")
        gradients = [p.grad for p in tensors if p.grad is not None]
        whole = torch.cat([g.flatten().double() for g in gradients])
        within = self.project(whole)
        pieces = (within if keep == "dominant" else whole - within).split([g.numel() for g in gradients])
        for gradient, piece in zip(gradients, pieces, strict=True):
            gradient.copy_(piece.view_as(gradient))
        norm = float(whole.square().sum())
        return float(within.square().sum()) / norm if norm > 0 else 0.0


def vectors_of(source: Any) -> Tensor:
    """The rows of eigenpairs, eigenvectors or an array.

    Raises:
        InputError: eigenpairs whose vectors were not kept, or no matrix.
    """
    if isinstance(source, Eigenpairs):
        if source.vectors is None:
            raise InputError("these eigenpairs have no vectors: compute them with keep_vectors=True")
        return source.vectors
    return source.vectors if isinstance(source, Eigenvectors) else as_matrix(source, "vectors")
