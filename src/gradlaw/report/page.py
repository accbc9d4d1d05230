"""The report: one HTML page that needs no other file and no network."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable
from typing import TYPE_CHECKING

from jinja2 import Environment, PackageLoader
from matplotlib.figure import Figure

from gradlaw.report import words
from gradlaw.report.figures import figures_of, save_figure

if TYPE_CHECKING:
    from gradlaw.analysis import Analysis

_SHOWN_CLASSES = 12


def render_page(analysis: Analysis) -> str:
    """The page as text."""
    depth = analysis.depth
    environment = Environment(loader=PackageLoader("gradlaw.report"), autoescape=True, trim_blocks=True,
                              lstrip_blocks=True)  # fmt: skip
    return environment.get_template("report.html").render(
        title=words.title(analysis),
        verdicts=words.verdicts(analysis),
        tables=[
            ("Tests of the gradients", words.TESTS_HEADER, words.tests_rows(analysis)),
            ("Power-law fits of the spectra", words.SPECTRA_HEADER, words.spectra_rows(analysis)),
        ],
        rates=("Rates, with Wilson intervals", words.RATES_HEADER, words.rates_rows(analysis)),
        deep_tables=[]
        if depth is None
        else [
            ("Exponents", words.EXPONENTS_HEADER, words.exponents_rows(depth)),
            ("Other families of tails", words.FAMILIES_HEADER, words.families_rows(depth)),
            ("Layer by layer", words.LAYERS_HEADER, words.layers_rows(depth)),
        ],
        thresholds=words.thresholds(analysis),
        notices=analysis.notices,
        figures={name: _embedded(analysis, draw) for name, draw in figures_of(analysis).items()},
        examples=analysis.examples,
        settings=_settings(analysis),
        provenance=json.dumps(analysis.provenance, indent=1),
        analysis=analysis,
    )


def _embedded(analysis: Analysis, draw: Callable[[Analysis], Figure]) -> str:
    buffer = io.BytesIO()
    save_figure(draw(analysis), "svg", draw.__name__, buffer)
    return "data:image/svg+xml;base64," + base64.b64encode(buffer.getvalue()).decode()


def _settings(analysis: Analysis) -> list[tuple[str, str]]:
    """The settings that a reader asks for first, in words."""
    s, problem, machine = analysis.settings, analysis.provenance["problem"], analysis.provenance["machine"]
    data, used = problem["data"], analysis.provenance["versions"]
    classes = data.get("classes", [])
    rows = [
        ("Model", f"{problem['model']} in {problem['mode']} mode, n = {problem['dimensions']:,} parameters analysed"),
        ("Loss", problem["loss"]),
        ("Data", f"{data.get('name', 'in memory')}, N = {data['samples']:,}"),
        ("Minibatches", f"B = {s['batch_size']:,}, T = {s['iterations']:,}, "
                        + ("with replacement" if s["replacement"] else "shuffled epochs without replacement")),
        ("Tests", f"K = {s['k']:,} largest values, Gaussian test on {s['gaussian_k']['dimension']} drawn values, "
                  f"alpha = {s['alpha']}"),
        ("Transforms", ", then ".join(s["transforms"]) or "none: plain gradients"),
        ("Seed", str(s["seed"])),
        ("Engine", f"{s['engine']} ({s['dtype']}, {machine['device']} {machine['device_name']}, "
                   f"{machine['threads']} threads)"),
        ("Versions", ", ".join(f"{name} {version}" for name, version in used.items())),
    ]  # fmt: skip
    if 0 < len(classes) <= _SHOWN_CLASSES:
        rows.insert(3, ("Classes", ", ".join(classes)))
    return rows
