import numpy as np
import pytest

from gradlaw.errors import InputError
from gradlaw.stats.bootstrap import at_a_time, bootstrap_critical_value, bootstrap_p_value, checked_settings


@pytest.mark.parametrize(("samples", "length", "values"), [(10, 3, 12), (12, 3, 12), (5, 100, 7), (1, 1, 1)])
def test_all_samples_are_drawn_and_no_more_at_a_time_than_fit(samples, length, values):
    numbers = list(at_a_time(samples, length, values))
    assert sum(numbers) == samples
    assert min(numbers) >= 1
    assert max(numbers) * length <= max(values, length)


def test_the_p_value_reaches_a_level_where_the_statistic_exceeds_its_critical_value():
    synthetic = np.random.default_rng(0).permutation(np.arange(1.0, 100.0))
    critical = bootstrap_critical_value(synthetic, 0.05)
    assert critical in synthetic
    assert bootstrap_p_value(synthetic, critical + 0.5) <= 0.05 < bootstrap_p_value(synthetic, critical - 0.5)
    assert bootstrap_p_value(synthetic, 1000.0) == 1 / 100


def test_too_few_samples_for_the_level_are_refused():
    assert checked_settings(19, 3, 0.05) == (19, 3, 0.05)
    with pytest.raises(InputError, match="at least 19 samples, got 18"):
        checked_settings(18, 3, 0.05)
