"""Tables with the published and the measured value of every row side by side."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gradlaw.report.formatting import by_chance, number, percent, yes
from gradlaw.reproduction.evidence import Evidence, chance_caveat
from gradlaw.reproduction.formatting import DASH, spread, verdict
from gradlaw.reproduction.paper import TESTS, Paper, Row, Table
from gradlaw.stats.power import false_alarm_rates

Cells = tuple[str, ...]
_OF_MEASUREMENT = ("mean_d_ks", "d_ks", "d_c", "is_power_law", "s", "power_law_rate", "mean_p_value", "gaussian_rate",
                   "k", "axis")  # fmt: skip
TESTS_HEADER = (
    "d_KS pub.", "d_KS", "d_KS all", "d_c", "rate pub.", "rate", "d_c cal.", "rate cal.", "by chance", "p pub.", "p",
    "Gauss pub.", "Gauss", "ceiling", "degenerate",
)  # fmt: skip
SPECTRUM_HEADER = (
    "d_KS pub.", "d_KS", "d_c", "verdict pub.", "verdict", "d_c cal.", "verdict cal.", "s pub.", "s", "K",
    "same verdict",
)  # fmt: skip


@dataclass(frozen=True)
class ComparedTable:
    """A table as cells: what the rows are, both values and verdicts; the claims that each row supports; remarks."""

    table: Table
    header: Cells
    rows: tuple[Cells, ...]
    claims: tuple[str, ...]
    remarks: tuple[str, ...]
    measured: int


def compare(paper: Paper, table: Table, evidence: Evidence, claims: Callable[[Row], str]) -> ComparedTable:
    """Put what was measured beside what was published; ``claims`` says which claims a row supports, with outcomes."""
    published = paper.published[table.number]
    names = [column for column in published[0] if column not in _OF_MEASUREMENT]
    tests = table.kind == TESTS
    direction = ("direction",) if tests else ()
    header = ("row", *names, *direction, "reading", *(TESTS_HEADER if tests else SPECTRUM_HEADER), "seeds")
    rows, remarks, measured = [], [], 0
    for row in table.rows:
        line = published[row.number - 1]
        results = [r.record for r in evidence.results(row.experiment)]
        values = _tests_cells(line, row, results) if tests else _spectrum_cells(line, row, results)
        what = [str(line[name]) for name in names] + ([row.quantity] if tests else [])
        rows.append((str(row.number), *what, row.reading or DASH, *values, str(len(results) or "none")))
        measured += bool(results)
        remarks += _remarks(paper, row, results, evidence)
    return ComparedTable(
        table, header, tuple(rows), tuple(map(claims, table.rows)), tuple(dict.fromkeys(remarks)), measured
    )


def _tests_cells(line: Mapping[str, Any], row: Row, records: Sequence[dict[str, Any]]) -> list[str]:
    tests = [record["tests"][row.quantity] for record in records]

    def of(name: str, percentage: bool = False) -> str:
        return spread([t[name] for t in tests], percentage)

    return [
        number(line["mean_d_ks"]), of("mean_d_ks"), of("mean_d_ks_all"), of("d_critical"),
        percent(line["power_law_rate"]), of("power_law_rate", True),
        of("d_critical_calibrated"), of("power_law_rate_calibrated", True), _by_chance(tests),
        number(line["mean_p_value"]), of("mean_p_value"),
        percent(line["gaussian_rate"]), of("gaussian_rate", True), of("gaussian_ceiling", True), of("degenerate", True),
    ]  # fmt: skip


def _by_chance(tests: Sequence[dict[str, Any]]) -> str:
    """The shares of Gaussian series that pass both verdicts: a matter of sizes alone, so also of results without it."""
    rates = {false_alarm_rates(t["length"], t["k"], t["alpha"]) for t in tests}
    return ", ".join(by_chance(*each) for each in sorted(rates)) or DASH


def _spectrum_cells(line: Mapping[str, Any], row: Row, records: Sequence[dict[str, Any]]) -> list[str]:
    spectra = [record["spectra"][row.quantity] for record in records]
    fits = [s["fit"] for s in spectra]

    def of(name: str) -> str:
        return spread([fit and fit[name] for fit in fits])

    def critical(name: str) -> str:
        return spread([fit[name] for fit in fits if fit])

    verdicts = [fit and fit["is_power_law"] for fit in fits]
    return [
        number(line["d_ks"]), of("d_ks"), critical("d_critical"),
        yes(line["is_power_law"]), verdict(verdicts), critical("d_critical_calibrated"),
        verdict([fit and fit["is_power_law_calibrated"] for fit in fits]),
        number(line["s"]), of("s"),
        f"{spectra[0]['k']:,}" if spectra else DASH, agreement(line["is_power_law"], verdicts),
    ]  # fmt: skip


def agreement(published: bool, measured: Sequence[bool | None]) -> str:
    """Whether the verdict at the published critical distance is the published one; a refusal is not a power law."""
    if not measured:
        return DASH
    same = sum(bool(passed) == published for passed in measured)
    return yes(bool(same)) if same in (0, len(measured)) else f"{same}/{len(measured)}"


def _remarks(paper: Paper, row: Row, records: Sequence[dict[str, Any]], evidence: Evidence) -> list[str]:
    found = []
    if (row.table, row.number) in paper.errata:
        found.append(f"row {row.number}, published: {paper.errata[row.table, row.number]}")
    if row.note:
        found.append(f"row {row.number}{f' ({row.reading})' if row.reading else ''}: {row.note}")
    if not records:
        found.append(f"row {row.number} not run: {evidence.why_not(row.experiment)}")
    for record in records:
        spectrum = record["spectra"].get(row.quantity)
        if spectrum and spectrum["refused"]:
            found.append(f"row {row.number}: no verdict: {spectrum['refused']}")
        caveat = chance_caveat(record)
        if caveat:
            found.append(f"row {row.number}{f' ({row.reading})' if row.reading else ''}: {caveat}")
        found += [f"row {row.number}: {notice}" for notice in record["notices"] if notice.startswith("K lowered")]
    return found
