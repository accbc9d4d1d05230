"""How each section is shown: every file of this folder shows the one of its name, and is found without being listed."""

from importlib import import_module
from pkgutil import iter_modules

from gradlaw.analysis.result import AnalysisResult
from gradlaw.analysis.sections import all_sections
from gradlaw.report.finding import Finding
from gradlaw.report.section import REGISTERED, ShownSection

_SHOWN_FINDINGS = 5

for _module in iter_modules(__path__, f"{__name__}."):
    import_module(_module.name)


def known_sections() -> list[ShownSection]:
    """Every section that is shown, in the order of the places of what they show."""
    shown = list(REGISTERED.values())
    return [s for section in all_sections() for s in shown if _measured(s) == section.name]


def shown_sections(analysis: AnalysisResult) -> list[ShownSection]:
    """Those of which the analysis has a result."""
    return [section for section in known_sections() if analysis.sections.get(_measured(section)) is not None]


def findings_of(analysis: AnalysisResult) -> list[Finding]:
    """The five findings at most that a reader sees first; those without a verdict are the first to go."""
    found = [finding for section in shown_sections(analysis) for finding in section.findings(analysis)]
    kept = sorted(found, key=lambda finding: finding.certainty == "no verdict")[:_SHOWN_FINDINGS]
    return [finding for finding in found if finding in kept]


def _measured(shown: ShownSection) -> str:
    return shown.measured or shown.name
