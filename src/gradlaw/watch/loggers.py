"""Records handed to the trackers that people look at, by the plain objects of those."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gradlaw.errors import InputError
from gradlaw.watch.noise_scale import WHOLE

_PREFIX, _MODEL, _STEP = "gradlaw", "model", "gradlaw/step"


def check_loggers(loggers: Sequence[Any]) -> None:
    """Refuse what is no logger, before training.

    Raises:
        InputError: one of them has neither ``add_scalar`` nor ``log``.
    """
    for logger in loggers:
        if not callable(getattr(logger, "add_scalar", None)) and not callable(getattr(logger, "log", None)):
            raise InputError(
                f"loggers takes a TensorBoard SummaryWriter, a W&B run or a Trackio run, got {type(logger).__name__}"
            )
        if callable(getattr(logger, "define_metric", None)):  # W&B counts calls of log; the x axis is ours
            logger.define_metric(_STEP)
            logger.define_metric(f"{_PREFIX}*", step_metric=_STEP)


def send(record: Mapping[str, Any], names: Sequence[str], loggers: Sequence[Any]) -> None:
    """Log the scalars of a record: ``gradlaw_norm/model``, ``gradlaw_norm/layers.0.attention`` and so on.

    TensorBoard and W&B show one section a statistic, with one chart a layer. W&B gets them without a commit, so that
    they join the caller's next ``log`` and its count of steps stays the caller's own.
    """
    if loggers:
        send_scalars(dict(_scalars(record, names)), record["step"], loggers)


def send_scalars(scalars: Mapping[str, float], step: int, loggers: Sequence[Any]) -> None:
    """Log numbers by name, which begins with ``gradlaw``, to loggers that :func:`check_loggers` has seen."""
    for logger in loggers:
        if callable(getattr(logger, "add_scalar", None)):
            for name, value in scalars.items():
                logger.add_scalar(name, value, step)
        elif callable(getattr(logger, "define_metric", None)):
            logger.log({**scalars, _STEP: step}, commit=False)
        else:
            logger.log({**scalars, _STEP: step}, step=step)


def _scalars(record: Mapping[str, Any], names: Sequence[str]) -> Iterator[tuple[str, float]]:
    for statistic, value in record["model"].items():
        if value is not None:
            yield f"{_PREFIX}_{statistic}/{_MODEL}", float(value)
    for statistic, column in record["layers"].items():
        for layer, value in zip(names, column, strict=True):
            if value is not None:
                yield f"{_PREFIX}_{statistic}/{layer}", float(value)
    for statistic, value in (record.get("window") or {}).items():
        if isinstance(value, float):
            yield f"{_PREFIX}_window/{statistic}", value
    for layer, row in (record.get("noise") or {}).get("layers", {}).items():
        for statistic, value in row.items():
            if isinstance(value, float):
                yield f"{_PREFIX}_{statistic}/{_MODEL if layer == WHOLE else layer}", value
