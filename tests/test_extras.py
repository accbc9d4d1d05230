"""What happens without the packages of an extra: their imports are blocked, as where they are not installed."""

import importlib.metadata
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from gradlaw.errors import InputError
from gradlaw.extras import EXTRAS, extra
from gradlaw.provenance import versions

PROJECT = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
BLOCK = "import sys\nfor name in {names}: sys.modules[name] = None\n"
PROBLEM = """
import torch, gradlaw as gl
torch.manual_seed(0)
problem = gl.Problem(torch.nn.Linear(6, 4), torch.nn.functional.mse_loss, (torch.randn(50, 6), torch.randn(50, 4)))
"""


def _run(code: str, *names: str) -> subprocess.CompletedProcess:
    program = BLOCK.format(names=names) + PROBLEM + code
    return subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=False)


def test_a_missing_extra_is_named_with_its_command(tmp_path):
    (tmp_path / "train.parquet").write_bytes(b"")
    done = _run(
        "import os\nos.environ['GRADLAW_CACHE'] = 'off'\n"
        "fit = gl.fit_power_law(torch.rand(99), 33)\n"
        f"for function, *arguments in ((gl.load_data, 'digits'), (gl.load_data, '{tmp_path}'),\n"
        "                             (gl.Analysis.load, 'run'), (fit.plot,)):\n"
        "    try:\n        function(*arguments)\n"
        "    except gl.InputError as error:\n        print(error)\n",
        "sklearn",
        "datasets",
        "pyarrow",
        "matplotlib",
    )
    assert done.stdout.splitlines() == [
        "the data set 'digits' needs sklearn, which is not installed: pip install 'gradlaw[data]'",
        "reading data sets needs datasets, which is not installed: pip install 'gradlaw[data]'",
        "reading a saved analysis needs pyarrow, which is not installed: pip install 'gradlaw[report]'",
        "drawing needs matplotlib, which is not installed: pip install 'gradlaw[report]'",
    ], done.stderr


def test_the_core_analyses_without_any_extra(tmp_path):
    names = {name for names in EXTRAS.values() for name in names}
    done = _run(
        "analysis = gl.analyze(problem, 40, 2, k=8, gaussian_k=20)\nprint(analysis)\n"
        f"try:\n    analysis.save('{tmp_path}/run')\nexcept gl.InputError as error:\n    print(error)\n"
        f"try:\n    analysis.report('{tmp_path}/page.html')\nexcept gl.InputError as error:\n    print(error)\n",
        *names,
    )
    assert done.returncode == 0, done.stderr
    assert "Dimension-wise gradients" in done.stdout
    assert done.stdout.count("pip install 'gradlaw[report]'") == 2
    assert not list(tmp_path.iterdir())


def test_the_command_line_names_the_extra():
    code = "from gradlaw.cli.main import main\nsys.exit(main(['reproduce', 'table1']))"
    done = _run(code, "matplotlib")
    assert done.returncode == 2
    assert done.stderr == (
        "gradlaw: error: gradlaw reproduce needs matplotlib, which is not installed: pip install 'gradlaw[all]'\n"
    )


def test_an_error_about_another_module_passes():
    with pytest.raises(ModuleNotFoundError, match="no_such_module"), extra("data", "reading data sets"):
        import no_such_module  # noqa: F401
    with pytest.raises(InputError, match=r"needs PIL, .*gradlaw\[data\]"), extra("data", "reading data sets"):
        raise importlib.metadata.PackageNotFoundError("pillow")


def test_versions_leave_out_what_is_not_installed():
    assert list(versions(["torch", "no-such-package", "numpy"])) == ["python", "torch", "numpy"]


def test_extras_are_those_of_the_project():
    modules = {"pillow": "PIL", "scikit-learn": "sklearn"}
    for name, more in (("data", {"huggingface_hub"}), ("report", set())):  # the hub's client comes with datasets
        packages = {requirement.partition(">=")[0] for requirement in PROJECT["optional-dependencies"][name]}
        assert set(EXTRAS[name]) == {modules.get(package, package) for package in packages} | more
    assert set(EXTRAS["all"]) == {*EXTRAS["data"], *EXTRAS["report"]}
