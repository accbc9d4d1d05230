"""The analysis at each checkpoint of a training is that of a model with those weights."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import gradlaw as gl

SETTINGS: dict[str, Any] = {"iterations": 20, "batch_size": 2, "k": 6, "gaussian_k": 10}


def data() -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(0)
    return torch.randn(60, 5, generator=rng), torch.randint(3, (60,), generator=rng)


def network(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 3))


@pytest.fixture
def checkpoints(tmp_path: Path) -> list[Path]:
    files = [tmp_path / f"step-{i}.safetensors" for i in range(3)]
    for i, file in enumerate(files):
        save_file(network(i).state_dict(), file)
    return files


def test_each_is_the_analysis_of_a_model_with_those_weights(checkpoints: list[Path], tmp_path: Path) -> None:
    model = network(7)
    before = {name: value.clone() for name, value in model.state_dict().items()}

    def penalised(outputs: Tensor, targets: Tensor) -> Tensor:  # knows the parameters by another way
        return cross_entropy(outputs, targets) + 0.1 * sum(p.square().sum() for p in model.parameters())

    found = gl.analyze_checkpoints(gl.Problem(model, penalised, data()), checkpoints, tmp_path / "runs", **SETTINGS)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    for i, analysis in enumerate(found.analyses):
        own = network(i)

        def loss(outputs: Tensor, targets: Tensor, own: nn.Module = own) -> Tensor:
            return cross_entropy(outputs, targets) + 0.1 * sum(p.square().sum() for p in own.parameters())

        alone = gl.analyze(gl.Problem(own, loss, data()), **SETTINGS)
        np.testing.assert_array_equal(analysis.losses, alone.losses)
        np.testing.assert_allclose(
            analysis.spectra["covariance"].eigenvalues, alone.spectra["covariance"].eigenvalues, rtol=1e-12
        )
    frame = found.to_frame()
    assert list(frame.index) == ["step-0", "step-1", "step-2"]
    assert frame["covariance_s"].nunique() == 3
    assert frame.loc["step-1", "dimension_gaussian_rate"] == found.analyses[1].tests["dimension"].gaussian_rate
    assert "step-2" in str(found)


def test_an_interrupted_call_goes_on_where_it_was(checkpoints: list[Path], tmp_path: Path) -> None:
    problem, runs = gl.Problem(network(7), cross_entropy, data()), tmp_path / "runs"
    broken = tmp_path / "broken.safetensors"
    save_file(nn.Linear(5, 6).state_dict(), broken)
    with pytest.raises(gl.InputError, match="checkpoint broken: "):
        gl.analyze_checkpoints(problem, [*checkpoints[:2], broken], runs, **SETTINGS)
    written = (runs / "step-1" / "analysis.json").stat().st_mtime_ns
    found = gl.analyze_checkpoints(problem, checkpoints, runs, **SETTINGS)
    assert len(found.analyses) == 3
    assert (runs / "step-1" / "analysis.json").stat().st_mtime_ns == written


CHANGES = [({"batch_size": 3}, "batch_size 2 instead of 3"), ({"seed": 4}, "seed 0 instead of 4")]


@pytest.mark.parametrize(("change", "message"), CHANGES)
def test_a_run_of_other_settings_is_refused(
    checkpoints: list[Path], tmp_path: Path, change: dict[str, int], message: str
) -> None:
    problem = gl.Problem(network(7), cross_entropy, data())
    gl.analyze_checkpoints(problem, checkpoints[:1], tmp_path / "runs", **SETTINGS)
    with pytest.raises(gl.InputError, match=message):
        gl.analyze_checkpoints(problem, checkpoints[:1], tmp_path / "runs", **(SETTINGS | change))
    save_file(network(9).state_dict(), checkpoints[0])
    with pytest.raises(gl.InputError, match="parameters "):
        gl.analyze_checkpoints(problem, checkpoints[:1], tmp_path / "runs", **SETTINGS)


def test_no_checkpoint_and_one_twice_are_refused(checkpoints: list[Path], tmp_path: Path) -> None:
    problem = gl.Problem(network(7), cross_entropy, data())
    with pytest.raises(gl.InputError, match="no checkpoint"):
        gl.analyze_checkpoints(problem, [], tmp_path)
    with pytest.raises(gl.InputError, match="named twice"):
        gl.analyze_checkpoints(problem, checkpoints[:1] * 2, tmp_path)


def test_a_problem_says_what_it_is() -> None:
    problem = gl.Problem(network(0), cross_entropy, data())
    assert repr(problem) == "Problem(Sequential, cross_entropy, n=57, 60 samples, cpu)"
