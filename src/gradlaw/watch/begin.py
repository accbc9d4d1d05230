"""``gl.watch``: begin to record the gradients of a training run."""

from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from torch import nn

from gradlaw.errors import InputError, count, significance
from gradlaw.errors import seed as check_seed
from gradlaw.stats.gaussian import SHORTEST
from gradlaw.watch.layout import LayersBy
from gradlaw.watch.loggers import check_loggers
from gradlaw.watch.noise_source import Noise
from gradlaw.watch.recorder import Watch
from gradlaw.watch.window import FEWEST_STEPS

EVERY = 100


def watch(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    *,
    log: str | PathLike[str] | None = "runs/watch.jsonl",
    every: int = EVERY,
    layers: LayersBy = "module",
    parameters: str | Sequence[str] | None = None,
    k: int = 1000,
    gaussian_k: int = 100,
    alpha: float = 0.05,
    sample: int = 512,
    seed: int = 0,
    window: int | None = 64,
    window_every: int = 10,
    window_coordinates: int = 2048,
    window_sketch: int | None = 2048,
    noise: Noise | None = None,
    noise_every: int | None = None,
    noise_window: int = 100,
    scaler: Any | None = None,
    loggers: Sequence[Any] = (),
    start: int | None = None,
    resume: bool = False,
) -> Watch:
    """Record statistics of the gradients of a training run, by layer, while it trains.

    Call it once, before the loop; hooks of the optimiser do the rest, at the steps 0, ``every``, 2 ``every`` and so on.
    The training is the same to the bit. See ``docs/watch.md`` for what each number means.

    Args:
        model: the module whose parameters are trained; one wrapped by DistributedDataParallel or ``torch.compile`` too.
        optimizer: of ``torch.optim``, or a subclass; one that another library wrapped (Accelerate) is unwrapped.
        log: path of the log, JSON lines; None keeps none, and ``last`` and ``loggers`` have the records.
        every: steps from one that is watched to the next.
        layers: what one row describes: ``"module"``, the parameters that one module holds itself (weight and bias),
            ``"parameter"`` each by itself, or a function from a parameter's name to that of its layer.
        parameters: names of parameters to watch, or shell-style patterns; default: all that the optimiser moves.
        k: how many of the largest magnitudes of a layer the power law is fitted to; at most a third of the layer.
        gaussian_k: how many values of a layer, drawn anew at each watched step, are tested for Gaussianity; at least 8.
        alpha: significance level of the verdicts.
        sample: coordinates of a layer, at most, by which updates and cosines are measured.
        seed: of draws and samples; the generators of PyTorch are not touched.
        window: how many gradients are kept, as a sample of coordinates and a sketch, for statistics across steps:
            tails, Gaussianity, autocorrelation, spectrum; at least 16. None keeps none.
        window_every: steps from one whose gradient is kept to the next.
        window_coordinates: how many values of a gradient are kept, at most.
        window_sketch: numbers of a sketch, a power of two of at least 8 ``window``; the relative error of eigenvalues
            is about 2 sqrt(window / window_sketch). None for no spectrum.
        noise: where the parts of a batch come from, by which the noise scale is measured:
            :class:`~gradlaw.watch.Microbatches`, :class:`~gradlaw.watch.Ranks`, :class:`~gradlaw.watch.Samples`; None
            measures none.
        noise_every: steps from one at which it is measured to the next; default: ``every``.
        noise_window: how many measured steps, the last, an estimate is of.
        scaler: the ``torch.amp.GradScaler`` of the loop, if there is one.
        loggers: TensorBoard ``SummaryWriter``, W&B run, Trackio run: those records go to as well.
        start: steps of the optimiser done before, for a run that goes on from a checkpoint. Default: 0.
        resume: append to a log that is there, written with the same settings and layers; ``start`` must be given.

    Returns:
        The watch; ``close()`` or a ``with`` block ends it, and it need not be ended.

    Raises:
        InputError: arguments out of their range, a log that is there already or belongs to another setting, an
            optimiser or parameters that cannot be watched (LBFGS, sparse or complex gradients, sharded parameters).

    Example:
        >>> import torch, gradlaw as gl
        >>> model = torch.nn.Linear(20, 4)
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        >>> watch = gl.watch(model, optimizer, log=None, every=10)
        >>> for _ in range(11):
        ...     loss = model(torch.randn(8, 20)).square().mean()
        ...     optimizer.zero_grad()
        ...     loss.backward()
        ...     optimizer.step()
        >>> watch.last["step"], watch.last["gradient"]["change"]
        (10, 'unmodified')
    """
    if not isinstance(model, nn.Module):
        raise InputError(f"model must be a torch.nn.Module, got {type(model).__name__}")
    if resume and start is None:
        raise InputError("resume=True needs start, the number of steps that the optimiser had done at the checkpoint")
    if resume and log is None:
        raise InputError("resume=True needs the path of a log")
    check_loggers(loggers)
    settings = {
        "every": count(every, "every"),
        "k": count(k, "k", 2),
        "gaussian_k": count(gaussian_k, "gaussian_k", SHORTEST),
        "alpha": significance(alpha),
        "sample": count(sample, "sample"),
        "seed": check_seed(seed),
        "window": window if window is None else count(window, "window", FEWEST_STEPS),
        "window_every": count(window_every, "window_every"),
        "window_coordinates": count(window_coordinates, "window_coordinates"),
        "window_sketch": window_sketch if window_sketch is None else count(window_sketch, "window_sketch"),
    }
    if noise is not None:
        settings["noise_every"] = settings["every"] if noise_every is None else count(noise_every, "noise_every")
        settings["noise_window"] = count(noise_window, "noise_window")
    made = Watch(model, plain_optimizer(optimizer), settings, layers, parameters, noise, scaler, loggers)
    try:
        made.start(0 if start is None else count(start, "start", 0), None if log is None else Path(log), resume)
    except BaseException:
        made.close()
        raise
    return made


def plain_optimizer(optimizer: Any) -> torch.optim.Optimizer:
    """The optimiser of PyTorch inside of those that wrap one, as Accelerate and Lightning do.

    Raises:
        InputError: it is none, or one with several gradients a step.
    """
    inner = optimizer
    while not isinstance(inner, torch.optim.LBFGS) and isinstance(
        deeper := getattr(inner, "optimizer", None), torch.optim.Optimizer
    ):
        inner = deeper
    if not isinstance(inner, torch.optim.Optimizer):
        raise InputError(f"optimizer must be a torch.optim.Optimizer, got {type(optimizer).__name__}")
    if isinstance(inner, torch.optim.LBFGS):
        raise InputError("LBFGS evaluates several gradients a step, which are not watched")
    return inner
