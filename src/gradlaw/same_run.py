"""Whether a saved run is that of a problem and settings, so that it can be read instead of measured again."""

from inspect import signature
from typing import Any

from gradlaw.analysis.setting import OPTIONAL
from gradlaw.analysis.sizes import Sizes
from gradlaw.analyze import Analysis, analyze
from gradlaw.history.settings import HistorySettings
from gradlaw.problem import Problem


def differences(analysis: Analysis, problem: Problem, settings: dict[str, Any]) -> list[str]:
    """In what a run differs from what :func:`gradlaw.analyze` would make of a problem and settings; nothing if in none.

    Args:
        analysis: the run.
        problem: as it would be analysed now.
        settings: of ``analyze``, by name.
    """
    described, recorded = problem.describe(), analysis.provenance["problem"]
    pairs = {"parameters": (recorded["parameters_sha256"], described["parameters_sha256"]),
             "data": (recorded["data"]["sha256"], described["data"]["sha256"])}  # fmt: skip
    pairs |= {name: (recorded[name], described[name]) for name in ("mode", "loss", "randomness", "dimensions")}
    asked = _as_recorded(problem, settings)
    pairs |= {name: (analysis.settings[name], value) for name, value in asked.items()}
    sketch = analysis.settings.get("sketch")
    pairs["sketch"] = None if sketch is None else sketch["size"], settings.get("sketch")
    pairs["storage"] = analysis.settings["storage"]["dtype"], asked["storage"]
    pairs |= {name: (analysis.sections[name] is not None, settings.get(name, False)) for name in OPTIONAL}
    return [f"{name} {there} instead of {here}" for name, (there, here) in pairs.items() if there != here]


def _as_recorded(problem: Problem, settings: dict[str, Any]) -> dict[str, Any]:
    """What an analysis of these settings has in its record."""
    given = signature(analyze).bind(problem, **settings)
    given.apply_defaults()
    asked = given.arguments
    of_history = ("iterations", "batch_size", "seed", "engine", "transforms", "replacement", "dtype")
    if asked["sketch"] is not None:
        asked["dtype"] = "float32"
    history = HistorySettings.asked(problem, **{name: asked[name] for name in of_history})
    sizes = Sizes.lowered(asked["k"], asked["gaussian_k"], (history.iterations, problem.dimensions), asked["sketch"])
    same = ("iterations", "batch_size", "samples", "seed", "replacement", "dtype")
    return {name: getattr(history, name) for name in same} | {
        "storage": history.storage.dtype,
        "transforms": list(history.transforms),
        "engine_asked": history.engine,
        "alpha": asked["alpha"],
        "k": sizes.of_spectra,
        "k_of_series": sizes.k,
        "gaussian_k": sizes.gaussian_k,
    }
