import numpy as np
import pytest
import torch

import gradlaw as gl
from gradlaw.stats import gaussianity_rows, hill_rows, stable_index_rows

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]


@pytest.fixture(scope="module")
def matrix() -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).standard_t(3, (50, 4000)).astype(np.float32))


def test_fits_stay_on_the_device_and_agree_with_the_host(matrix):
    host, device = gl.fit_power_law_rows(matrix, 200), gl.fit_power_law_rows(matrix.cuda(), 200)
    assert device.d_ks.is_cuda
    torch.testing.assert_close(device.d_ks.cpu(), host.d_ks, rtol=0, atol=1e-12)
    torch.testing.assert_close(device.s.cpu(), host.s, rtol=1e-12, atol=0)
    torch.testing.assert_close(device.p_value.cpu(), host.p_value, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("statistic", [
    lambda m: gl.gaussian_test_rows(m), lambda m: gaussianity_rows(m).anderson_darling,
    lambda m: hill_rows(m, 100).index, lambda m: stable_index_rows(m).alpha])  # fmt: skip
def test_other_statistics_stay_on_the_device_and_agree_with_the_host(matrix, statistic):
    device = statistic(matrix.cuda())
    assert device.is_cuda
    torch.testing.assert_close(device.cpu(), statistic(matrix), rtol=1e-9, atol=1e-12)


def test_tests_of_a_history_agree(matrix):
    for axis in ("dimension", "iteration"):
        host = gl.gradient_tests(matrix, axis, k=30, gaussian_k=40)
        device = gl.gradient_tests(matrix.cuda(), axis, k=30, gaussian_k=40)
        np.testing.assert_allclose(device.d_ks, host.d_ks, atol=1e-12)
        np.testing.assert_allclose(device.gaussian_p_value, host.gaussian_p_value, atol=1e-12)
