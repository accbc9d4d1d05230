"""Problems of Lightning modules, through their own ``training_step``, and ``WatchCallback`` for its Trainer."""

import inspect
from collections.abc import Iterable, Iterator, Sequence
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

    What module or data module do in ``on_before_batch_transfer`` and ``on_after_batch_transfer`` is done to the batches
    once. Their other hooks belong to a Trainer and are not called.

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
        module,
        training_loss,
        _batches(module, data),
        parameters,
        device,
        batches=batches,
        seed=seed,
        randomness=randomness,
    )


def training_loss(module: Any, batch: Any) -> Tensor:
    """The step: what ``training_step`` returns, a loss or a dict with one; its batch index is always 0.

    Raises:
        InputError: it returns None, which skips a batch, or takes an iterator in place of a batch.
    """
    found = module.training_step(batch, *_batch_index(module))
    loss = found.get("loss") if isinstance(found, dict) else found
    if not isinstance(loss, Tensor):
        raise InputError(f"training_step of {type(module).__name__} returned {type(found).__name__} instead of a loss")
    return loss


def _batch_index(module: Any) -> tuple[int, ...]:
    """The second argument of ``training_step``, where it takes one."""
    parameters = inspect.signature(module.training_step).parameters
    if "dataloader_iter" in parameters:
        raise InputError(f"training_step of {type(module).__name__} takes an iterator, and there are batches alone")
    variadic = any(p.kind is inspect.Parameter.VAR_POSITIONAL for p in parameters.values())
    return (0,) if variadic or len(parameters) > 1 else ()


def _batches(module: Any, data: Any) -> Iterable[Any]:
    """The batches as ``training_step`` gets them."""
    loader = _loader(data)
    hooks = [_hook(name, data, module) for name in ("on_before_batch_transfer", "on_after_batch_transfer")]
    if hooks == [None, None]:
        return loader

    def transferred() -> Iterator[Any]:
        for batch in loader:
            for hook in hooks:
                batch = batch if hook is None else hook(batch, 0)
            yield batch

    return transferred()


def _hook(name: str, *owners: Any) -> Any:
    """The method of this name of the first that has one of its own, as Lightning looks for it."""
    for owner in owners:
        for kind in type(owner).__mro__:
            if name in vars(kind) and not kind.__module__.startswith(("lightning.", "pytorch_lightning.")):
                return getattr(owner, name)
    return None


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
