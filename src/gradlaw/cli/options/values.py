"""What options take: numbers and texts that are checked while the command line is read, before any work."""

import argparse
from collections.abc import Callable
from typing import TypeVar

from gradlaw import errors
from gradlaw.errors import InputError

Number = TypeVar("Number", int, float)


def whole(minimum: int = 1) -> Callable[[str], int]:
    """An integer of at least ``minimum``."""

    def parse(text: str) -> int:
        number = _number(text, int, "an integer")
        if number < minimum:
            raise argparse.ArgumentTypeError(f"must be at least {minimum}, got {number}")
        return number

    return parse


def seed(text: str) -> int:
    """A seed, from 0 to 2^64 - 1."""
    try:
        return errors.seed(_number(text, int, "an integer"))
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def positive(text: str) -> float:
    """A positive, finite number."""
    number = _number(text, float, "a number")
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"must be positive and finite, got {text}")
    return number


def names(text: str) -> tuple[str, ...]:
    """Names with commas between them."""
    return tuple(_filled(part.strip()) for part in text.split(","))


def image_size(text: str) -> tuple[int, int]:
    """Height and width as HxW, or one number for both."""
    height, separator, width = text.lower().partition("x")
    parse = whole()
    return parse(height), parse(width if separator else height)


def whole_numbers(minimum: int) -> Callable[[str], tuple[int, ...]]:
    """Integers of at least ``minimum`` with commas between them; empty for none."""
    parse = whole(minimum)
    return lambda text: tuple(parse(part) for part in text.split(",")) if text else ()


def numbers(text: str) -> tuple[float, ...]:
    """Numbers with commas between them; empty for none."""
    return tuple(_number(part, float, "a number") for part in text.split(",")) if text else ()


def seeds(text: str) -> tuple[int, ...]:
    """Seeds with commas between them, each once."""
    return tuple(dict.fromkeys(seed(part) for part in text.split(",")))


def _filled(text: str) -> str:
    if not text:
        raise argparse.ArgumentTypeError("has an empty name in its list")
    return text


def _number(text: str, kind: type[Number], words: str) -> Number:
    try:
        return kind(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"takes {words}, got {text!r}") from None
