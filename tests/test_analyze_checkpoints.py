"""The analysis at each checkpoint of a training is that of a model with those weights."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
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
    (runs / "step-2").mkdir(parents=True)
    (runs / "step-2" / "figures").write_text("in the way of the third run")
    with pytest.raises(gl.InputError, match=r"checkpoint step-2: .*figures is in the way of the run"):
        gl.analyze_checkpoints(problem, checkpoints, runs, **SETTINGS)
    assert not (runs / "checkpoints.csv").exists()
    (runs / "step-2" / "figures").unlink()
    written = (runs / "step-1" / "analysis.json").stat().st_mtime_ns
    found = gl.analyze_checkpoints(problem, checkpoints, runs, **SETTINGS)
    assert len(found.analyses) == 3
    assert (runs / "step-1" / "analysis.json").stat().st_mtime_ns == written
    table = pd.read_csv(runs / "checkpoints.csv", index_col="checkpoint")
    pd.testing.assert_frame_equal(table, found.to_frame().astype(table.dtypes), check_exact=False)
    assert max(map(len, str(found).splitlines())) <= 80


def test_weights_that_do_not_fit_are_refused_before_any_work(checkpoints: list[Path], tmp_path: Path) -> None:
    problem, broken = gl.Problem(network(7), cross_entropy, data()), tmp_path / "broken.safetensors"
    save_file(nn.Linear(5, 6).state_dict(), broken)
    with pytest.raises(gl.InputError, match=r"checkpoint broken: .*does not fit Sequential"):
        gl.analyze_checkpoints(problem, [*checkpoints, broken], tmp_path / "runs", **SETTINGS)
    assert not (tmp_path / "runs").exists()


CHANGES = [
    ({"batch_size": 3}, "batch_size 2 instead of 3"),
    ({"seed": 4}, "seed 0 instead of 4"),
    ({"transforms": [gl.ClipByNorm(1.0)]}, r"transforms \[\] instead of \['clip-norm=1.0"),
    ({"k": None}, r"k_of_series \{'dimension': 6, 'iteration': 6\} instead of \{'dimension': 19, 'iteration': 6\}"),
    ({"extended": True}, "extended False instead of True"),
    ({"dtype": "bfloat16"}, "storage float32 instead of bfloat16"),
]


@pytest.mark.parametrize(("change", "message"), CHANGES)
def test_a_run_of_other_settings_is_refused(
    checkpoints: list[Path], tmp_path: Path, change: dict[str, Any], message: str
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
