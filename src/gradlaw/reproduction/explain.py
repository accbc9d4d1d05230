"""Where a row's number comes from: settings, seed, files, and the command for that row alone."""

import json

from gradlaw.reproduction.evidence import Evidence
from gradlaw.reproduction.experiment import Experiment
from gradlaw.reproduction.selection import Selection


def explain(selection: Selection, evidence: Evidence, options: str) -> str:
    """Every row and series of a selection, in words; ``options`` are those of the command that repeats it."""
    parts = []
    for table in selection.tables:
        for row in table.rows:
            published = {k: v for k, v in selection.paper.published[row.table][row.number - 1].items() if v is not None}
            heading = f"{row.name}{f' ({row.reading})' if row.reading else ''}: {row.quantity}"
            command = f'gradlaw reproduce "{row.name}" {options}'
            parts.append(
                f"{heading}\n  published: {published}\n{_of_experiment(row.experiment, evidence)}  command: {command}"
            )
    for figure in selection.figures:
        series = [s for panel in figure.panels for s in panel.series]
        lines = "".join(f"  {s.label} ({s.quantity})\n{_of_experiment(s.experiment, evidence)}" for s in series)
        command = f"gradlaw reproduce {figure.name} {options}"
        parts.append(f"{figure.name}: {figure.title}\n{lines}  command: {command}")
    for each in selection.beside:
        lines = "".join(_of_experiment(experiment, evidence) for experiment in each.experiments)
        parts.append(f"{each.name}: {each.title}\n{lines}  command: gradlaw reproduce {each.name} {options}")
    return "\n\n".join(parts)


def _of_experiment(experiment: Experiment, evidence: Evidence) -> str:
    lines = [f"  experiment: {experiment}"]
    for seed in evidence.seeds:
        m = evidence.measurements[experiment, seed]
        state = "there" if m in evidence.store else f"not there ({evidence.why_not(experiment)})"
        lines += [
            f"  seed {seed}, key {m.key}: {state}",
            f"    files: {evidence.store.where(m)}",
            f"    settings: {json.dumps(m.settings())}",
        ]
        result = evidence.result(experiment, seed)
        trained = result and result.record["provenance"]["trained"]
        if trained:
            lines.append(f"    trained parameters: {trained['file']} ({trained['from']}), {trained['weights_sha256']}")
    return "\n".join(lines) + "\n"
