"""All files of a reproduction: tables in three formats, figures in three, claims, and what was not run."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gradlaw.output_files import Content, write_output
from gradlaw.report.formatting import yes
from gradlaw.report.latex import latex
from gradlaw.reproduction.claim import Decision, decide
from gradlaw.reproduction.compared import ComparedTable, compare
from gradlaw.reproduction.evidence import Evidence
from gradlaw.reproduction.formats import comma_separated, markdown
from gradlaw.reproduction.paper import Row
from gradlaw.reproduction.profiles import Profile
from gradlaw.reproduction.selection import Selection

CLAIMS_HEADER = ("claim", "outcome", "calibrated", "checks", "measured", "statistic")
LEGEND = (
    "pub.: as published; cal.: calibrated, with the critical distance for an exponent that is fitted to the same data. "
    "By chance: the share of Gaussian series of this length and K that pass either; above 20% a rate is no finding. "
    "Same verdict: the verdict at the published distance is the published one, and says nothing of exponents; the page "
    "of places says whether numbers agree. A spectrum is not a sample: its verdict says as straight as a power law on "
    "log-log axes, not drawn from one."
)


@dataclass(frozen=True)
class Report:
    """What was found for a selection, ready to be written."""

    profile: Profile
    seeds: Sequence[int]
    selection: Selection
    evidence: Evidence
    tables: tuple[ComparedTable, ...]
    decisions: tuple[Decision, ...]

    @property
    def label(self) -> str:
        """Under which every output goes."""
        reading = f"; reading {self.selection.paper.reading}" if self.selection.paper.reading.options else ""
        return f"profile {self.profile.name} ({self.profile.meaning}); seeds {', '.join(map(str, self.seeds))}{reading}"


def report(profile: Profile, seeds: Sequence[int], selection: Selection, evidence: Evidence) -> Report:
    """Compare tables, and decide the claims that are read from what is in the selection."""
    decisions = tuple(
        decide(claim, evidence) for claim in selection.paper.claims if selection.names & set(claim.artefacts)
    )

    def claims(row: Row) -> str:
        used = (d for d in decisions if f"table{row.table}" in d.claim.artefacts and row.experiment in d.experiments)
        return "; ".join(f"{d.claim.name}: {d.published_in_words}, {d.extent} measured" for d in used) or "-"

    tables = tuple(compare(selection.paper, table, evidence, claims) for table in selection.tables)
    return Report(profile, seeds, selection, evidence, tables, decisions)


def claims_rows(decisions: Sequence[Decision]) -> list[tuple[str, ...]]:
    """The cells below ``CLAIMS_HEADER``."""
    return [
        (
            d.claim.name, d.published_in_words, d.calibrated_in_words, str(len(d.checks)), d.extent, d.claim.statistic,
        )
        for d in decisions
    ]  # fmt: skip


def write(found: Report, folder: Path) -> list[Path]:
    """Write everything; returns the files."""
    files: dict[str, Content] = {}
    for table in found.tables:
        name, title = f"table{table.table.number:02}", f"Table {table.table.number}. {table.table.title}"
        header = (*table.header, "claims")
        rows = [(*row, claims) for row, claims in zip(table.rows, table.claims, strict=True)]
        heading = f"## {title}\n\n{found.label}\n\n"
        notes = "".join(f"- {remark}\n" for remark in table.remarks)
        files[f"{name}.md"] = f"{heading}{markdown(header, rows)}\n{LEGEND}\n\n{notes}"
        files[f"{name}.csv"] = comma_separated((*header, "profile"), [(*row, found.profile.name) for row in rows])
        files[f"{name}.tex"] = latex(f"{title}; {found.label}", f"tab:{name}", table.header, table.rows, table.remarks)
    files |= _figures(found)
    decided = claims_rows(found.decisions)
    files["claims.md"] = f"## Claims\n\n{found.label}\n\n{markdown(CLAIMS_HEADER, decided)}"
    files["claims.json"] = claims_json(found)
    return write_output(folder, "reproduction", files)


def claims_json(found: Report) -> str:
    """The claims with all of their checks."""
    return json.dumps({"label": found.label, "claims": [_plain(d) for d in found.decisions]}, indent=1)


def _figures(found: Report) -> dict[str, str | bytes]:
    # Matplotlib, which no other command needs to load.
    from gradlaw.report.figure import KINDS, encode_figure
    from gradlaw.reproduction.draw import draw

    files: dict[str, str | bytes] = {}
    for spec in found.selection.figures:
        figure = draw(found.selection.paper, spec, found.evidence, f"profile {found.profile.name}")
        if figure is not None:
            metadata = json.dumps({"figure": spec.name, "title": spec.title, "label": found.label})
            files |= {f"{spec.name}.{kind}": encode_figure(figure, kind, metadata) for kind in KINDS}
    return files


def _plain(decision: Decision) -> dict[str, Any]:
    claim = decision.claim
    return {
        "claim": claim.name, "sentence": claim.sentence, "statistic": claim.statistic, "outcome": decision.published,
        "calibrated": decision.calibrated, "read from": claim.artefacts,
        "checks": [check._asdict() for check in decision.checks],
        "needs": {label: str(experiment) for label, experiment in claim.experiments.items()},
        "measured": decision.measured, "needed": decision.needed, "results": decision.results,
        "caveats": decision.caveats,
    }  # fmt: skip


def describe_checks(decision: Decision) -> str:
    """Each check with both verdicts."""
    return (
        "; ".join(f"{c.what}: {yes(c.published)} / {yes(c.calibrated)}" for c in decision.checks) or "nothing measured"
    )
