"""Unbiased spectral moments of a population (Kong and Valiant 2017, Algorithm 1)."""

from math import comb
from typing import NamedTuple

import torch
from torch import Tensor

from gradlaw.errors import InputError, count
from gradlaw.spectra.gram.tridiagonal import reflected

_GROUPS = 10  # of iterations, left out in turn


class SpectralMoments(NamedTuple):
    """tr Sigma^k for k = 1, 2, ..., and jackknife standard errors; tensors of shape (orders,), float64."""

    values: Tensor
    standard_errors: Tensor


def spectral_moments(gram: Tensor, orders: int = 4, center: bool = True, groups: int = _GROUPS) -> SpectralMoments:
    """Moments tr Sigma^k of the covariance of one gradient, unbiased for any distribution of independent draws.

    The mean over all k iterations i1 < i2 < ... < ik of K_i1i2 K_i2i3 ... K_iki1, which no iteration enters twice. With
    the mean unknown the T draws are first rotated to T - 1 of mean zero, which are uncorrelated, and independent where
    the draws are Gaussian: else k above 2 has a bias of the order 1 / T. Moments of k above 2 are those of the few
    leading eigenvalues, and say little about how a spectrum goes on below them.

    Args:
        gram: G G^T of uncentred gradients, (T, T) float64.
        orders: how many moments.
        center: of the covariance; False for the second moment.
        groups: of iterations that are left out in turn for the standard errors.

    Raises:
        InputError: fewer than 2 groups, or too few iterations for moments of that order with a group left out.
    """
    orders, groups = count(orders, "orders"), count(groups, "groups", 2)
    draws = reflected(gram.cpu())[1:, 1:] if center else gram
    least = len(draws) - -(-len(draws) // groups)
    if least < orders:
        raise InputError(
            f"moments up to order {orders} need as many iterations beside the {groups} groups: {len(gram)}"
        )
    part = torch.arange(len(draws), device=draws.device) % groups
    without = torch.stack([_moments(draws[part != g][:, part != g], orders) for g in range(groups)])
    spread = (without - without.mean(dim=0)).square().sum(dim=0) * (groups - 1) / groups
    return SpectralMoments(_moments(draws, orders), spread.sqrt())


def _moments(gram: Tensor, orders: int) -> Tensor:
    """Of draws with mean zero; powers are of the matrix over its trace, so that none overflows."""
    scale = gram.diagonal().mean()
    if not float(scale) > 0:
        return torch.zeros(orders, dtype=gram.dtype, device=gram.device)
    whole = gram / scale
    upper, path = whole.triu(1), whole
    moments = [gram.new_ones(())]
    for k in range(2, orders + 1):
        path = upper @ path
        moments.append(path.diagonal().sum() / comb(len(gram), k))
    return torch.stack(moments) * scale ** torch.arange(1, orders + 1, device=gram.device)
