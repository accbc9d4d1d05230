"""The setting of a run: all that is recorded of it but its seed, and what a seed changes."""

from collections.abc import Mapping
from typing import Any

from gradlaw.analysis.result import AnalysisResult

# What a seed changes, or what only says how something was computed.
_NOT_SETTINGS = {"settings.seed", "settings.rounding", "settings.engine", "settings.engine_asked",
                 "settings.rounding_alone", "settings.storage.error", "problem.parameters_sha256"}  # fmt: skip
OPTIONAL = ("extended", "controls")  # sections that are measured where they are asked for


def setting_of(run: AnalysisResult) -> dict[str, Any]:
    """Everything recorded that makes a setting, by dotted name; not the seed, and not the parameters that it drew."""
    flat = _flat({"settings": run.settings, "problem": run.provenance["problem"]})
    flat |= {f"asked.{name}": run.sections.get(name) is not None for name in OPTIONAL}
    return {name: value for name, value in flat.items() if name not in _NOT_SETTINGS}


def _flat(record: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in record.items():
        found |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return found
