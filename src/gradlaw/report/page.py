"""The report: one HTML page that needs no other file and no network.

The plots are drawn by Observable Plot (on D3), which are inlined as they were published, from ``vendor/``. They make
SVG that follows the style sheet (dark, paper and phone without drawing again), whose text can be selected, at half a
megabyte; Plotly's basic bundle has twice that and draws with colours of its own. Zoom, legend and saving are in
``templates/page.js``. A content security policy with the digests of these scripts lets no other run.
"""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader

from gradlaw.analysis.result import AnalysisResult
from gradlaw.report.chart import Chart, as_data
from gradlaw.report.compared import differing_settings, side_by_side
from gradlaw.report.finding import Finding
from gradlaw.report.glossary import TERMS
from gradlaw.report.marked import all_visible, marked, term_of, visible, without_folders
from gradlaw.report.overlay import Group, Runs, groups_of, overlaid, refuse_sketched
from gradlaw.report.palette import DARK, LIGHT
from gradlaw.report.plots import charts_of
from gradlaw.report.section import Drawing, ShownSection, Table
from gradlaw.report.sections import findings_of, known_sections, shown_sections
from gradlaw.report.state import state_of
from gradlaw.report.title import title

_SHOWN_CLASSES = 12
_SCRIPTS = ("vendor/d3.min.js", "vendor/plot.umd.min.js", "templates/page.js")
_LICENCES = ("vendor/d3.LICENSE", "vendor/plot.LICENSE")  # which ask to stand in every copy


def render_page(analysis: AnalysisResult, figures: Mapping[str, bytes]) -> str:
    """The page of one run as text.

    Args:
        analysis: the run.
        figures: SVG files, by name, of what sections draw by code of their own.
    """
    charts = charts_of(analysis)
    findings = findings_of(analysis)
    return _render(
        heading=title(analysis),
        state=state_of(analysis),
        facts=_facts(analysis),
        findings=findings,
        advice=[finding for finding in findings if finding.advice],
        parts=[_part(section, analysis, charts, figures) for section in _in_place(shown_sections(analysis))],
        charts=charts,
        ends=[_end(analysis)],
        compared=None,
    )


def render_comparison(runs: Runs, tables: Sequence[Table] = ()) -> str:
    """One page of several runs, their spectra over one another.

    Args:
        runs: by the name that each has on the page.
        tables: shown after the rates, such as those of differences.
    """
    refuse_sketched(runs)
    groups = groups_of(runs)
    by_run = {name: charts_of(run) for name, run in runs.items()}
    names = dict.fromkeys(name for charts in by_run.values() for name in charts)
    charts = {}
    for name in names:
        charts[name] = overlaid(groups, {run: found[name] for run, found in by_run.items() if name in found})
    return _render(
        heading=f"{len(runs)} runs compared",
        state="",
        facts=[],
        findings=[],
        advice=[],
        parts=[part for section in _in_place(known_sections()) if (part := _joint_part(section, runs, charts))],
        charts=charts,
        ends=[_end(run) | {"name": name} for name, run in runs.items()],
        compared={
            "tables": [differing_settings(runs), side_by_side(runs, groups), *tables],
            "topics": _topics(runs),
            "runs": list(runs),
            "described": [f"{name}: {title(run)}. {state_of(run)}" for name, run in runs.items()],
            "averaged": _averaged_in_words(groups),
        },
    )


def _render(charts: Mapping[str, Chart], **context: Any) -> str:
    environment = Environment(loader=PackageLoader("gradlaw.report"), autoescape=True, trim_blocks=True,
                              lstrip_blocks=True)  # fmt: skip
    environment.filters |= {"marked": marked, "visible": visible}
    environment.globals["term_of"] = term_of
    scripts = [_file(name) for name in _SCRIPTS]
    panels = {panel.name: all_visible(as_data(panel)) for chart in charts.values() for panel in chart.panels}
    data = {"panels": panels, "terms": {term.key: term.text for term in TERMS}}
    return environment.get_template("report.html").render(
        scripts=scripts,
        policy=" ".join(f"'sha256-{_digest(script)}'" for script in scripts),
        style=_file("templates/page.css"),
        licences=[_file(name) for name in _LICENCES],
        light=LIGHT,
        dark=DARK,
        # Inside a script element nothing is escaped, and "</script>" would end it.
        data=json.dumps(data, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c"),
        terms=TERMS,
        **context,
    )


def _file(name: str) -> str:
    return files("gradlaw.report").joinpath(name).read_text(encoding="utf-8")


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _in_place(sections: Sequence[ShownSection]) -> list[ShownSection]:
    return sorted(sections, key=lambda section: section.place)


def _part(
    section: ShownSection, analysis: AnalysisResult, charts: Mapping[str, Chart], figures: Mapping[str, bytes]
) -> dict[str, Any]:
    """One section of the page."""
    return {
        "id": section.name,
        "heading": section.heading or section.name.replace("_", " ").capitalize(),
        "folded": section.folded,
        "sentences": [] if section.findings(analysis) else section.sentences(analysis),
        "summary": section.summary(analysis),
        "charts": [charts[maker.name] for maker in section.charts if maker.name in charts],
        "images": [_image(drawing, figures) for drawing in section.drawings],
        "tables": [*section.tables(analysis), *section.details(analysis)],
    }


def _joint_part(section: ShownSection, runs: Runs, charts: Mapping[str, Chart]) -> dict[str, Any] | None:
    """The same of several runs: charts over one another, and tables with a column that names the run."""
    shown = {name: run for name, run in runs.items() if any(s.name == section.name for s in shown_sections(run))}
    if not shown:
        return None
    return {
        "id": section.name,
        "heading": section.heading or section.name.replace("_", " ").capitalize(),
        "folded": section.folded,
        "sentences": [],
        "summary": [],
        "charts": [charts[maker.name] for maker in section.charts if maker.name in charts],
        "images": [],
        "tables": _joined({name: [*section.summary(run), *section.tables(run), *section.details(run)]
                           for name, run in shown.items()}),
    }  # fmt: skip


def _joined(tables: Mapping[str, Sequence[Table]]) -> list[Table]:
    """Tables of one title and header as one, each row behind the name of its run."""
    joined: dict[tuple[str, tuple[str, ...]], Table] = {}
    for run, found in tables.items():
        for table in found:
            empty = Table(table.title, ("run", *table.header), [], table.note)
            whole = joined.setdefault((table.title, table.header), empty)
            whole.rows.extend((run, *row) for row in table.rows)
    return list(joined.values())


def _topics(runs: Runs) -> list[tuple[str, list[Finding | None]]]:
    """The finding of each run on each topic."""
    found = {name: {finding.topic: finding for finding in findings_of(run)} for name, run in runs.items()}
    topics = dict.fromkeys(topic for findings in found.values() for topic in findings)
    return [(topic, [findings.get(topic) for findings in found.values()]) for topic in topics]


def _averaged_in_words(groups: Sequence[Group]) -> str:
    """Which runs are shown as one."""
    averaged = [f"{', '.join(group.runs)}" for group in groups if len(group.runs) > 1]
    if not averaged:
        return ""
    return (
        f"Averaged, as they differ in their seed alone (and in what it draws, parameters among them): "
        f"{'; '.join(averaged)}. Bands reach from the smallest seed to the largest; fitted lines of averaged runs are "
        "left out."
    )


def _image(drawing: Drawing, figures: Mapping[str, bytes]) -> dict[str, Any]:
    source = "data:image/svg+xml;base64," + base64.b64encode(figures[drawing.name]).decode()
    return {"source": source, "alt": drawing.alt, "caption": drawing.caption, "single": drawing.single}


def _end(analysis: AnalysisResult) -> dict[str, Any]:
    """What stands last: settings, notes, what could not be tested, the record."""
    return {
        "settings": without_folders([*_settings(analysis), ("Time", f"{analysis.started} to {analysis.finished}")]),
        "notices": without_folders(analysis.notices),
        "record": json.dumps(without_folders(analysis.provenance), indent=1),
    }


def _facts(analysis: AnalysisResult) -> list[tuple[str, str]]:
    """What was analysed, in a line."""
    s, problem = analysis.settings, analysis.provenance["problem"]
    return [
        ("data", str(problem["data"].get("name", "in memory")).rstrip("/").rpartition("/")[2]),
        ("samples", f"{problem['data']['samples']:,}"),
        ("n", f"{problem['dimensions']:,}"),
        ("B", f"{s['batch_size']:,}"),
        ("T", f"{s['iterations']:,}"),
        ("seed", str(s["seed"])),
    ]


def _sizes_of_tails(analysis: AnalysisResult) -> str:
    """K, or that of each kind of test."""
    by_axis = {f"{axis}-wise": tests.k for axis, tests in analysis.tests.items()} | {
        "of spectra": analysis.settings["k"]
    }
    if len(set(by_axis.values())) == 1:
        return f"{analysis.settings['k']:,}"
    return ", ".join(f"{k:,} ({what})" for what, k in by_axis.items())


def _sketch_in_words(sketch: Mapping[str, Any]) -> str:
    return (
        f"gradients kept as {sketch['size']:,} numbers each (seed {sketch['seed']}, {sketch['blocks']} blocks): "
        "spectra are approximate"
    )


def _settings(analysis: AnalysisResult) -> list[tuple[str, str]]:
    """The settings that a reader asks for first, in sentences."""
    s, problem, machine = analysis.settings, analysis.provenance["problem"], analysis.provenance["machine"]
    data, used = problem["data"], analysis.provenance["versions"]
    classes = data.get("classes", [])
    rows = [
        ("Model", f"{problem['model']} in {problem['mode']} mode, n = {problem['dimensions']:,} parameters analysed"),
        ("Loss", problem["loss"]),
        ("Data", f"{data.get('name', 'in memory')}, N = {data['samples']:,}"),
        ("Minibatches", f"B = {s['batch_size']:,}, T = {s['iterations']:,}, "
                        + ("with replacement" if s["replacement"] else "shuffled epochs without replacement")),
        ("Tests", f"K = {_sizes_of_tails(analysis)} largest values, Gaussian test on "
                  f"{s['gaussian_k']['dimension']} drawn values, alpha = {s['alpha']}"),
        *([] if "sketch" not in s else [("Sketch", _sketch_in_words(s["sketch"]))]),
        ("Transforms", ", then ".join(s["transforms"]) or "none: plain gradients"),
        ("Seed", str(s["seed"])),
        ("Engine", f"{s['engine']} ({s['dtype']}, stored as {s['storage']['dtype']}; {machine['device']} "
                   f"{machine['device_name']}, {machine['threads']} threads)"),
        ("Versions", ", ".join(f"{name} {version}" for name, version in used.items())),
    ]  # fmt: skip
    of_data = []
    if 0 < len(classes) <= _SHOWN_CLASSES:
        of_data.append(("Classes", ", ".join(classes)))
    if size := data.get("resize"):
        of_data.append(("Resized", f"every image to {size[0]}x{size[1]}, bilinear with antialiasing"))
    if "JPEG" in data.get("image_formats", []):
        of_data.append(("Images", "stored as JPEG: figures differ a little from those of a lossless original"))
    if noise := data.get("label_noise"):
        realised = f"{noise['realised_rate']:.1%} of the labels differ"
        of_data.append(("Label noise", f"{noise['kind']}, rate {noise['rate']:g}, {realised}, seed {noise['seed']}"))
    rows[3:3] = of_data
    return rows
