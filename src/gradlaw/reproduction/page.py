"""The page of a whole reproduction, in Markdown."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from gradlaw.atomic import write_files
from gradlaw.report.formatting import number, percent
from gradlaw.reproduction.central import central_table
from gradlaw.reproduction.claim import FAILS, HOLDS, IN_PART, NOT_RUN, Decision
from gradlaw.reproduction.compared import ComparedTable
from gradlaw.reproduction.figures_page import figures_in_words
from gradlaw.reproduction.formats import markdown
from gradlaw.reproduction.formatting import duration
from gradlaw.reproduction.output import LEGEND, Report, describe_checks
from gradlaw.reproduction.store import Result

FIGURES = "figures"  # the folder of the pictures, in that beside the page
_INTRODUCTION = (
    'Tables and figures of "{title}" ({authors}), measured anew, with the published number beside. '
    "Written by `gradlaw reproduce ... --markdown`; the numbers come from "
    "the results named below, of which `gradlaw reproduce --explain NAME` says which belong to which row."
)
_PARTS = "training", "test"
_CENTRAL = (
    "Mean and standard deviation over seeds. A spectrum passes calibrated if it is as straight as independent draws "
    "from a power law are; outliers are the leading eigenvalues above the largest drop; rates are the shares of series "
    "that pass."
)
_MEANING = (
    "A claim holds if every check of its rule does, holds in part if some do, and does not hold if none does. The rule "
    "was written down before anything was measured, in `src/gradlaw/reproduction/{name}/claims.py`. Each check is "
    "made twice: with the published critical distance 1.36/sqrt(K), and with the calibrated one, about 1.09/sqrt(K), "
    "which is that of an exponent fitted to the same data. Checks below are followed by both answers."
)


def write_page(found: Report, path: Path, drawn: Path) -> list[Path]:
    """Write the page, and its pictures into a folder beside it that has its name; returns all.

    Args:
        found: what was measured.
        path: of the page.
        drawn: the folder with the pictures, which :func:`gradlaw.reproduction.output.write` wrote.

    Raises:
        InputError: the disk is full.
    """
    folder = Path(path.stem) / FIGURES
    text = page(found, folder.as_posix())
    files: dict[Path, str | bytes] = {path: text}
    for picture in (f"{spec.name}.png" for spec in found.selection.figures):
        if f"({folder.as_posix()}/{picture})" in text:  # not those of an earlier run in the same folder
            files[path.parent / folder / picture] = (drawn / picture).read_bytes()
    return write_files(files)


def page(found: Report, folder: str = f"reproduction/{FIGURES}") -> str:
    """The page: what was run, the claims, what calibration changes, every row, the figures, and what was not run.

    ``folder`` is that of the figures, as seen from the page.
    """
    results = _results(found)
    paper = found.selection.paper
    introduction = _INTRODUCTION.format(title=paper.title, authors=paper.authors)
    parts = [
        f"# Reproduction\n\n{introduction}\n",
        f"## What was run\n\n{_run(found, results)}",
        f"## The central studies\n\n{_CENTRAL}\n\n{central_table(paper.central, found.evidence)}",
        f"## The trained networks\n\n{_networks(found)}",
        f"## The claims\n\n{_MEANING.format(name=paper.name)}\n\n{_claims(found.decisions)}",
        f"## What calibration changes\n\n{_calibration(found)}",
        f"## Every row\n\n{LEGEND}\n\n{''.join(map(_table, found.tables))}",
        f"## Figures\n\n{figures_in_words(found, folder)}",
        f"## Not run\n\n{_not_run(found)}",
    ]
    return "\n".join(parts)


def _results(found: Report) -> list[Result]:
    """Every result that is shown, once."""
    experiments = found.selection.experiments
    return [result for experiment in experiments for result in found.evidence.results(experiment)]


def _run(found: Report, results: list[Result]) -> str:
    provenances = [result.record["provenance"] for result in results]
    times = [result.record["time"] for result in results]
    versions = _distinct(", ".join(f"{k} {v}" for k, v in p["versions"].items()) for p in provenances)
    machines = _distinct(f"{p['machine']['device_name']}, {p['machine']['device']}, {p['machine']['threads']} threads"
                         for p in provenances)  # fmt: skip
    data = _distinct(_data(p["problem"]["data"]) for p in provenances)
    lines = [
        f"- {found.label}",
        f"- {len(results)} measurements, {duration(sum(t['seconds'] for t in times))} of computing, trainings not "
        f"counted; from {min((t['started'] for t in times), default='-')} to "
        f"{max((t['started'] for t in times), default='-')}",
        f"- results: {found.evidence.store}",
        *(f"- commit: {c}" for c in _distinct(p["commit"] or "not recorded" for p in provenances)),
        *(f"- machine: {m}" for m in machines),
        *(f"- software: {v}" for v in versions),
        *(f"- data: {d}" for d in data),
    ]
    return "\n".join(lines) + "\n"


def _networks(found: Report) -> str:
    """How well each trained network learnt."""
    rows: dict[tuple[str, ...], None] = {}
    for experiment in found.selection.experiments:
        for seed, result in found.evidence.named_results(experiment):
            trained = result.record["provenance"]["trained"]
            if trained is not None:
                accuracies = (percent(trained[part]["accuracy"]) if trained[part] else "-" for part in _PARTS)
                rows[f"{experiment.network}{seed}", trained["weights_sha256"][:12], *accuracies] = None
    if not rows:
        return "None was measured.\n"
    return markdown(("network", "weights, SHA-256", "accuracy, training labels", "accuracy, test set"), list(rows))


def _distinct(texts: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(texts))


def _data(data: dict[str, Any]) -> str:
    name, formats = data["name"], data.get("image_formats", [])
    noise = data.get("label_noise")
    lossy = " (re-encoded as JPEG, slightly lossy: figures differ a little from the original)"
    corrupted = f", {noise['kind']} label noise, {noise['realised_rate']:.1%} of the labels changed" if noise else ""
    return f"{name}, {data['samples']:,} samples{lossy if 'JPEG' in formats else ''}{corrupted}"


def _claims(decisions: Iterable[Decision]) -> str:
    decided = list(decisions)
    counts = {kind: sum(d.published == kind for d in decided) for kind in (HOLDS, IN_PART, FAILS, NOT_RUN)}
    calibrated = {kind: sum(d.calibrated == kind for d in decided) for kind in counts}
    head = markdown(("outcome", "published verdict", "calibrated verdict"),
                    [(kind, str(counts[kind]), str(calibrated[kind])) for kind in counts])  # fmt: skip
    return head + "\n" + "".join(_claim(d) for d in decided)


def _claim(decision: Decision) -> str:
    claim, published, calibrated = decision.claim, decision.published_in_words, decision.calibrated_in_words
    partly = "" if decision.measured == decision.needed else f" ({decision.extent} measured)"
    return (
        f"### {claim.name}: {published}{partly}\n\n{claim.sentence} ({', '.join(claim.artefacts)})\n\n"
        f"- rule: {claim.statistic}\n"
        f"- by the published verdict: **{published}**; calibrated: **{calibrated}**\n"
        f"- measured: {decision.extent} studies, {decision.results} results\n"
        f"- checks: {describe_checks(decision)}\n"
        f"{''.join(f'- but {caveat}' + chr(10) for caveat in decision.caveats)}\n"
    )


def _calibration(found: Report) -> str:
    """Claims and rows whose outcome depends on the critical distance."""
    claims = [d for d in found.decisions if d.published != d.calibrated]
    lines = [
        f'- claim "{d.claim.name}": {d.published_in_words} by the published distance, '
        f"{d.calibrated_in_words} calibrated"
        for d in claims
    ]
    for table in found.tables:
        for row in table.table.rows:
            for seed, result in found.evidence.named_results(row.experiment):
                fit = result.record.get("spectra", {}).get(row.quantity, {}).get("fit")
                if fit and fit["is_power_law"] != fit["is_power_law_calibrated"]:
                    reading = f" ({row.reading})" if row.reading else ""
                    distances = [number(fit[name]) for name in ("d_ks", "d_critical", "d_critical_calibrated")]
                    passes = "passes at {1} and fails at {2}"
                    lines.append(f"- {row.name}{reading}{seed}: d_KS = " + ("{0} " + passes).format(*distances))
    lines += _rates(found)
    return "\n".join(lines or ["Nothing that was measured."]) + "\n"


def _rates(found: Report) -> list[str]:
    """Power-law rates by both distances."""
    lines = []
    for table in found.tables:
        for row in table.table.rows:
            for seed, result in found.evidence.named_results(row.experiment):
                tests = result.record["tests"].get(row.quantity)
                if tests and abs(tests["power_law_rate"] - tests["power_law_rate_calibrated"]) >= 0.05:
                    lines.append(f"- {row.name} ({row.quantity}-wise{seed}): power-law rate "
                                 f"{tests['power_law_rate']:.1%} published, "
                                 f"{tests['power_law_rate_calibrated']:.1%} calibrated")  # fmt: skip
    return lines


def _table(table: ComparedTable) -> str:
    notes = "".join(f"- {remark}\n" for remark in table.remarks)
    title = f"### Table {table.table.number}. {table.table.title}"
    rows = markdown(table.header, table.rows)
    return f"{title}\n\n{table.measured} of {len(table.rows)} rows measured\n\n{rows}\n{notes}\n"


def _not_run(found: Report) -> str:
    """Every study without a result, with the reason; how many seeds the others have; claims that nothing decides."""
    seeds = Counter(len(found.evidence.results(experiment)) for experiment in found.selection.experiments)
    lines = [
        f"- {e}: {found.evidence.why_not(e)}" for e in found.selection.experiments if not found.evidence.results(e)
    ]
    if len(found.seeds) > 1:
        counts = (f"{n} seed{'s' * (n > 1)}: {seeds[n]}" for n in sorted(seeds, reverse=True) if n)
        lines.append(f"- of {seeds.total() - seeds[0]} studies that were measured, with {'; '.join(counts)}")
    lines += [f'- claim "{d.claim.name}"' for d in found.decisions if d.published == NOT_RUN]
    return "\n".join(lines or ["Everything that was asked for was run."]) + "\n"
