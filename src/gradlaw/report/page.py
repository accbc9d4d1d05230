"""The report: one HTML page that needs no other file and no network."""

import base64
import json
from collections.abc import Mapping
from typing import Any

from jinja2 import Environment, PackageLoader

from gradlaw.analysis.result import AnalysisResult
from gradlaw.report.section import Drawing
from gradlaw.report.sections import shown_sections
from gradlaw.report.title import title

_SHOWN_CLASSES = 12


def render_page(analysis: AnalysisResult, figures: Mapping[str, bytes]) -> str:
    """The page as text; ``figures`` are SVG files by name."""
    environment = Environment(loader=PackageLoader("gradlaw.report"), autoescape=True, trim_blocks=True,
                              lstrip_blocks=True)  # fmt: skip
    shown = shown_sections(analysis)
    return environment.get_template("report.html").render(
        title=title(analysis),
        verdicts=[sentence for section in shown for sentence in section.sentences(analysis)],
        summary=[table for section in shown for table in section.summary(analysis)],
        figures=[
            {"tables": section.tables(analysis), "images": [_image(drawing, figures) for drawing in section.drawings]}
            for section in shown
        ],
        details=[table for section in shown for table in section.details(analysis)],
        notices=analysis.notices,
        settings=_settings(analysis),
        provenance=json.dumps(analysis.provenance, indent=1),
        analysis=analysis,
    )


def _image(drawing: Drawing, figures: Mapping[str, bytes]) -> dict[str, Any]:
    source = "data:image/svg+xml;base64," + base64.b64encode(figures[drawing.name]).decode()
    return {"source": source, "alt": drawing.alt, "caption": drawing.caption, "single": drawing.single}


def _sizes_of_tails(analysis: AnalysisResult) -> str:
    """K, or that of each kind of test."""
    by_axis = {f"{axis}-wise": tests.k for axis, tests in analysis.tests.items()} | {
        "of spectra": analysis.settings["k"]
    }
    if len(set(by_axis.values())) == 1:
        return f"{analysis.settings['k']:,}"
    return ", ".join(f"{k:,} ({what})" for what, k in by_axis.items())


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
        ("Transforms", ", then ".join(s["transforms"]) or "none: plain gradients"),
        ("Seed", str(s["seed"])),
        ("Engine", f"{s['engine']} ({s['dtype']}, stored as {s['storage']['dtype']}; {machine['device']} "
                   f"{machine['device_name']}, {machine['threads']} threads)"),
        ("Versions", ", ".join(f"{name} {version}" for name, version in used.items())),
    ]  # fmt: skip
    of_data = []
    if 0 < len(classes) <= _SHOWN_CLASSES:
        of_data.append(("Classes", ", ".join(classes)))
    if "JPEG" in data.get("image_formats", []):
        of_data.append(("Images", "stored as JPEG: figures differ a little from those of a lossless original"))
    if noise := data.get("label_noise"):
        realised = f"{noise['realised_rate']:.1%} of the labels differ"
        of_data.append(("Label noise", f"{noise['kind']}, rate {noise['rate']:g}, {realised}, seed {noise['seed']}"))
    rows[3:3] = of_data
    return rows
