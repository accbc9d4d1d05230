"""Problems of Lightning modules, through their own ``training_step``, and ``WatchCallback`` for its Trainer."""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from gradlaw.choices import Randomness
from gradlaw.errors import InputError
from gradlaw.problem import Problem


def problem(
    module: nn.Module,
    data: Any,
    *,
    batches: int | None = None,
    parameters: str | Sequence[str] | None = None,
    device: torch.device | str | None = None,
    seed: int = 0,
    randomness: Randomness = "refuse",
) -> Problem:
    """The loss of a module's ``training_step`` on the batches of a data module or loader.

    Args:
        module: a ``LightningModule`` with automatic optimisation; what it logs goes nowhere.
        data: a ``LightningDataModule``, which is prepared and set up for ``fit``, or batches: a ``DataLoader`` or an
            iterable.
        batches: how many to take; default: one epoch.
        parameters: names or patterns, see :class:`gradlaw.Problem`.
        device: where to compute.
        seed: of shuffling and of random transforms, which draw once.
        randomness: see :class:`gradlaw.Problem`.

    Returns:
        A problem whose samples are batches: ``batch_size`` of :func:`gradlaw.collect` counts them.

    Raises:
        InputError: a module with manual optimisation, which has no one loss, or without ``training_step``; several
            train loaders; a step without a loss; what :class:`gradlaw.Problem` refuses.
    """
    if not callable(getattr(module, "training_step", None)):
        raise InputError(f"{type(module).__name__} has no training_step")
    if not getattr(module, "automatic_optimization", True):
        raise InputError(
            f"{type(module).__name__} optimises by hand, so that its training_step returns no one loss; give "
            "Problem.from_step a step that returns the loss to be analysed"
        )
    return Problem.from_step(
        module, training_loss, _loader(data), parameters, device, batches=batches, seed=seed, randomness=randomness
    )


def training_loss(module: Any, batch: Any) -> Tensor:
    """The step: what ``training_step`` returns, a loss or a dict with one; its batch index is always 0.

    Raises:
        InputError: it returns None, which skips a batch.
    """
    found = module.training_step(batch, 0)
    loss = found.get("loss") if isinstance(found, dict) else found
    if not isinstance(loss, Tensor):
        raise InputError(f"training_step of {type(module).__name__} returned {type(found).__name__} instead of a loss")
    return loss


def _loader(data: Any) -> Iterable[Any]:
    if not hasattr(data, "train_dataloader"):
        loader: Iterable[Any] = data
        return loader
    data.prepare_data()
    data.setup("fit")
    loader = data.train_dataloader()
    if isinstance(loader, dict | list | tuple):
        raise InputError("the data module has several train loaders; give batches of the one to be analysed")
    return loader


def __getattr__(name: str) -> Any:
    if name != "WatchCallback":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from gradlaw.integrations.lightning_watch import WatchCallback  # a subclass of Lightning's own, which loads it

    return WatchCallback
