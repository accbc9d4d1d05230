"""What ``gradlaw analyze`` does when it is told nothing to analyse: a network that shows what the tool is for."""

import argparse

from gradlaw.analyze import Analysis

ITERATIONS = 5000  # the paper's, of all that is named
_MODEL, _WIDTH, _FEWER = "fcn-relu", 200, 1500
_NAMES = ("data", "model", "problem", "checkpoint", "checkpoints")


def is_demonstration(options: argparse.Namespace) -> bool:
    """Whether neither data nor model, problem or weights are named."""
    return not any(getattr(options, name) for name in _NAMES)


def fill_sizes(options: argparse.Namespace) -> None:
    """Give the demonstration its network, and what is named the paper's number of iterations, unless they are given.

    Of the networks of the zoo on the digits this one was taken because both directions and the spectrum show their
    structure within seconds; narrower ones show less of it across parameters.
    """
    if not is_demonstration(options):
        options.iterations = options.iterations or ITERATIONS
        return
    options.model = _MODEL
    options.width = options.width or _WIDTH
    options.iterations = options.iterations or _FEWER


def what_is_seen(analysis: Analysis) -> str:
    """The findings in plain words, and what the demonstration does not say."""
    return "\n".join([
        "What is seen:",
        *(f"- {finding}" for finding in analysis.findings),
        "This is a demonstration: a network with random parameters, chosen because it shows this clearly.",
        "Others show less of it, and training changes it. Yours: gradlaw analyze --problem FILE.py:FUNCTION",
    ])  # fmt: skip
