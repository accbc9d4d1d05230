"""Proof that every rank has the same model, data and settings."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor

from gradlaw.plain import plain
from gradlaw.problem import Problem
from gradlaw.provenance import sha256
from gradlaw.ranks.group import RankGroup
from gradlaw.training_step import tensors_of

_TOLERANCE = 1e-3  # relative, of the norm of one gradient on processors of several kinds


def refuse_other_problems(
    ranks: RankGroup, problem: Problem, settings: Mapping[str, Any], minibatch: np.ndarray
) -> None:
    """Refuse settings, parameters, buffers or data that differ between ranks.

    Args:
        ranks: that work together.
        problem: as this rank has it.
        settings: of the work, by name.
        minibatch: indices of samples that are compared as they are read, for data that are not in memory.

    Raises:
        InputError: names what differs, and on which rank.
    """
    with ranks.together():
        described = plain(problem.describe(), "problem")
        first = [tensor.detach() for tensor in tensors_of(problem.fetch(minibatch))]
        values: dict[str, Any] = {f"setting {name}": value for name, value in settings.items()}
        values |= {name: value for name, value in described.items() if name not in ("data", "parameters_sha256")}
        values |= {f"data ({name})": value for name, value in described["data"].items()}
        values["data (first minibatch)"] = sha256(first)
        values |= _digests("parameter", problem.model.named_parameters())
        values |= _digests("buffer", problem.model.named_buffers())
    ranks.refuse_differences(values)


def refuse_other_gradients(ranks: RankGroup, gradient: Tensor) -> None:
    """Refuse code of model or loss that differs between ranks, by the gradient of the first minibatch, (n,).

    Raises:
        InputError: on every rank; names the ranks.
    """
    norms = ranks.gather(float(gradient.double().norm()))
    if all(math.isclose(norm, norms[0], rel_tol=_TOLERANCE) for norm in norms):
        return
    raise ranks.common_error(
        f"the gradient of the first minibatch is not the same on every rank: its norms are "
        f"{', '.join(f'{norm:.6g}' for norm in norms)} on ranks 0 to {ranks.size - 1}, while parameters and data are; "
        "the code of model or loss differs, or depends on the rank"
    )


def _digests(kind: str, tensors: Any) -> dict[str, str]:
    return {f"{kind} {name}": sha256([tensor.detach()]) for name, tensor in tensors}
