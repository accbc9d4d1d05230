from fractions import Fraction

import numpy as np
import pytest
import torch

from gradlaw import errors
from gradlaw.errors import InputError


@pytest.mark.parametrize("value", [3, np.int64(3), np.uint8(3), np.array(3), torch.tensor(3)])
def test_integers_of_any_library_become_those_of_python(value):
    assert type(errors.count(value, "k")) is int
    assert errors.count(value, "k") == 3
    assert errors.seed(value) == 3


@pytest.mark.parametrize(
    "value", [3.0, np.float64(3), "3", None, True, np.True_, torch.tensor(True), [3], np.array([3, 4])]
)
def test_what_is_no_integer_is_refused_by_name(value):
    with pytest.raises(InputError, match="samples must be an integer, got"):
        errors.count(value, "samples")
    with pytest.raises(InputError, match="seed must be an integer, got"):
        errors.seed(value)


def test_counts_and_seeds_have_their_ranges():
    with pytest.raises(InputError, match="k must be at least 2, got 1"):
        errors.count(1, "k", 2)
    assert errors.seed(2**64 - 1) == 2**64 - 1
    for value in (-1, 2**64):
        with pytest.raises(InputError, match="seed must be an integer from 0"):
            errors.seed(value)


def test_a_choice_is_one_of_its_options():
    assert errors.choice("a", "axis", ("a", "b")) == "a"
    for value in ("c", None, 1, ["a"]):
        with pytest.raises(InputError, match="axis must be one of a, b, got"):
            errors.choice(value, "axis", ("a", "b"))


@pytest.mark.parametrize("alpha", [0.05, 1e-300, np.float32(0.5), Fraction(1, 20), 1 - 2**-53])
def test_levels_inside_the_interval_are_floats(alpha):
    assert type(errors.significance(alpha)) is float
    assert errors.significance(alpha) == float(alpha)


@pytest.mark.parametrize(
    "alpha", [0, 1, -0.1, 1.5, float("nan"), float("inf"), "0.05", None, True, 0.05j, np.array([0.05])]
)
def test_other_levels_are_refused(alpha):
    with pytest.raises(InputError, match="level must lie between 0 and 1"):
        errors.significance(alpha, "level")
