"""Parts of a gradient spectrum: between and within classes, and the Kronecker form of a linear layer."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gradlaw.by_value import ByValue
from gradlaw.errors import InputError, count
from gradlaw.spectra.eigenvectors import check_gram
from gradlaw.spectra.gram.dense import centre


@dataclass(frozen=True, eq=False)
class ClassParts(ByValue):
    """The covariance of gradients as that of their class means and that around these; the two sum to it.

    Attributes:
        between: eigenvalues of the covariance of class means, weighted by their frequency; c - 1, descending.
        within: eigenvalues around the class means, T of them, descending.
        share: of the trace that is between classes, less what class means of so few gradients show by chance.
        classes: c, those that occur.
    """

    between: np.ndarray
    within: np.ndarray
    share: float
    classes: int


def class_parts(gram: Tensor, labels: Tensor) -> ClassParts:
    """Split the covariance of T gradients of one sample each by the class of the sample.

    Args:
        gram: G G^T of the uncentred gradients, (T, T) float64.
        labels: class of the sample of each, (T,), integers.

    Raises:
        InputError: labels of another number than gradients, one class alone, or no two gradients of any class.
    """
    check_gram(gram, len(labels))
    iterations = len(labels)
    found, member = torch.unique(labels.to(gram.device), return_inverse=True)
    classes = len(found)
    if not 2 <= classes < iterations:
        raise InputError(f"{iterations} gradients of {classes} classes have no part between classes and one within")
    indicator = torch.nn.functional.one_hot(member, classes).to(gram.dtype)
    weighted = indicator / indicator.sum(dim=0).sqrt()  # orthonormal columns
    centred = centre(gram)
    means = weighted.T @ centred @ weighted
    without = centred - weighted @ (weighted.T @ centred)
    without = without - (without @ weighted) @ weighted.T
    within = torch.linalg.eigvalsh(without).flip(0) / iterations
    between = torch.linalg.eigvalsh(means).flip(0)[: classes - 1] / iterations
    by_chance = (classes - 1) * float(within.sum()) / (iterations - classes)
    share = max(0.0, float(between.sum()) - by_chance) / float(centred.diagonal().mean())
    return ClassParts(between.cpu().numpy(), within.cpu().numpy(), share, classes)


def kronecker_eigenvalues(inputs: np.ndarray, errors: np.ndarray, most: int | None = None) -> np.ndarray:
    """Eigenvalues of a linear layer's second moment, were its inputs x and backpropagated errors d independent.

    The gradient of its weight is d x^T. With x and d independent its second moment is the Kronecker product of theirs
    (Martens and Grosse 2015), whose eigenvalues are all products of one of each.

    Args:
        inputs: eigenvalues of E[x x^T], not negative.
        errors: those of E[d d^T].
        most: how many of the largest are wanted. Default: all.

    Returns:
        Descending, float64.

    Raises:
        InputError: negative eigenvalues, or more wanted than there are.
    """
    if not (np.all(np.asarray(inputs) >= 0) and np.all(np.asarray(errors) >= 0)):
        raise InputError("second moments have no negative eigenvalues")
    products = np.multiply.outer(np.asarray(inputs, dtype=float), np.asarray(errors, dtype=float)).ravel()
    most = len(products) if most is None else count(most, "most")
    if most > len(products):
        raise InputError(f"most={most}, while there are {len(products)} products")
    return np.asarray(np.sort(products)[::-1][:most])
