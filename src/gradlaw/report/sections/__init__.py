"""How each section is shown: every file of this folder shows the one of its name, and is found without being listed."""

from importlib import import_module
from pkgutil import iter_modules

from gradlaw.analysis.result import AnalysisResult
from gradlaw.analysis.sections import all_sections
from gradlaw.report.section import REGISTERED, ShownSection

for _module in iter_modules(__path__, f"{__name__}."):
    import_module(_module.name)


def known_sections() -> list[ShownSection]:
    """Every section that is shown, in the order of their places."""
    return [REGISTERED[section.name] for section in all_sections() if section.name in REGISTERED]


def shown_sections(analysis: AnalysisResult) -> list[ShownSection]:
    """Those of which the analysis has a result."""
    return [section for section in known_sections() if analysis.sections.get(section.name) is not None]
