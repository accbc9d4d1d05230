"""gradlaw: a statistical X-ray of stochastic gradients.

Public names load when they are first used (PEP 562), so that the command line answers without waiting for PyTorch.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gradlaw.analyze import Analysis, analyze
    from gradlaw.analyze_checkpoints import CheckpointAnalyses, analyze_checkpoints
    from gradlaw.batch_size.critical_batch_size import critical_batch_size
    from gradlaw.batch_size.result import CriticalBatchSize
    from gradlaw.compare.compare import compare
    from gradlaw.compare.comparison import Comparison
    from gradlaw.curvature import (
        HessianSpectrum,
        block_densities,
        compare_curvature,
        eigenpairs,
        gauss_newton,
        hessian,
        hessian_spectrum,
        spectral_density,
    )
    from gradlaw.data import corrupt_labels, from_arrays, load_data, load_text
    from gradlaw.errors import InputError
    from gradlaw.history import Adam, ClipByNorm, ClipByValue, GradientHistory, Momentum, WeightDecay
    from gradlaw.history.collect import collect
    from gradlaw.problem import Problem
    from gradlaw.progress import Progress
    from gradlaw.spectra import (
        PopulationSpectrum,
        Spectrum,
        count_outliers,
        gradient_noise,
        gradient_spectrum,
        population_spectrum,
    )
    from gradlaw.spectra.eigengaps import eigengaps
    from gradlaw.stats import PowerLawFit, fit_power_law, fit_power_law_rows, gaussian_test_rows, gradient_tests
    from gradlaw.training import Recipe, TrainingRun, default_recipe, load_checkpoint
    from gradlaw.training.train import train
    from gradlaw.verify import Verification, verify
    from gradlaw.watch import Watch, WatchLog, read_watch, watch
    from gradlaw.zoo import build_model

    __version__: str

__all__ = [
    "Adam",
    "Analysis",
    "CheckpointAnalyses",
    "ClipByNorm",
    "ClipByValue",
    "Comparison",
    "CriticalBatchSize",
    "GradientHistory",
    "HessianSpectrum",
    "InputError",
    "Momentum",
    "PopulationSpectrum",
    "PowerLawFit",
    "Problem",
    "Progress",
    "Recipe",
    "Spectrum",
    "TrainingRun",
    "Verification",
    "Watch",
    "WatchLog",
    "WeightDecay",
    "analyze",
    "analyze_checkpoints",
    "block_densities",
    "build_model",
    "collect",
    "compare",
    "compare_curvature",
    "corrupt_labels",
    "count_outliers",
    "critical_batch_size",
    "curvature",
    "data",
    "default_recipe",
    "dynamics",
    "eigengaps",
    "eigenpairs",
    "fit_power_law",
    "fit_power_law_rows",
    "from_arrays",
    "gauss_newton",
    "gaussian_test_rows",
    "gradient_noise",
    "gradient_spectrum",
    "gradient_tests",
    "hessian",
    "hessian_spectrum",
    "history",
    "integrations",
    "load_checkpoint",
    "load_data",
    "load_text",
    "population_spectrum",
    "read_watch",
    "spectra",
    "spectral_density",
    "stats",
    "train",
    "training",
    "verify",
    "watch",
    "zoo",
]

# What loads a public name; a type checker reads the imports above instead, and a test compares the two.
_HOMES = {
    "gradlaw.analyze": ("Analysis", "analyze"),
    "gradlaw.analyze_checkpoints": ("CheckpointAnalyses", "analyze_checkpoints"),
    "gradlaw.batch_size.critical_batch_size": ("critical_batch_size",),
    "gradlaw.batch_size.result": ("CriticalBatchSize",),
    "gradlaw.compare.compare": ("compare",),
    "gradlaw.compare.comparison": ("Comparison",),
    "gradlaw.curvature": ("HessianSpectrum", "block_densities", "compare_curvature", "eigenpairs", "gauss_newton",
                          "hessian", "hessian_spectrum", "spectral_density"),
    "gradlaw.data": ("corrupt_labels", "from_arrays", "load_data", "load_text"),
    "gradlaw.errors": ("InputError",),
    "gradlaw.history": ("Adam", "ClipByNorm", "ClipByValue", "GradientHistory", "Momentum", "WeightDecay", "collect"),
    "gradlaw.problem": ("Problem",),
    "gradlaw.progress": ("Progress",),
    "gradlaw.spectra": ("PopulationSpectrum", "Spectrum", "count_outliers", "eigengaps", "gradient_noise",
                        "gradient_spectrum", "population_spectrum"),
    "gradlaw.stats": ("PowerLawFit", "fit_power_law", "fit_power_law_rows", "gaussian_test_rows", "gradient_tests"),
    "gradlaw.training": ("Recipe", "TrainingRun", "default_recipe", "load_checkpoint", "train"),
    "gradlaw.verify": ("Verification", "verify"),
    "gradlaw.watch": ("Watch", "WatchLog", "read_watch", "watch"),
    "gradlaw.zoo": ("build_model",),
}  # fmt: skip
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


class _Package(ModuleType):
    """The package: importing a submodule with the name of a public function does not hide the function."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _HOME_OF and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version  # a twentieth of a second, for those who ask

        value: Any = version("gradlaw")
    elif name in _HOME_OF:
        value = getattr(import_module(_HOME_OF[name]), name)
    elif name in __all__:
        value = import_module(f"gradlaw.{name}")
    else:
        raise AttributeError(f"module 'gradlaw' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, "__version__"})
