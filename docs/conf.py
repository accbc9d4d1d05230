"""The site: Sphinx with furo, pages in Markdown. ``make docs`` builds it, with warnings as errors."""

import re
from pathlib import Path

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxTranslator

import gradlaw

project = "gradlaw"
author = "gradlaw maintainers"
release = gradlaw.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"gradlaw {release}"
html_math_renderer = "mathml"
html_copy_source = False
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 4
# Links that leave the folder of the site: files of the repository, which are read there.
suppress_warnings = ["myst.xref_missing_file"]
autodoc_default_options = {"members": True}
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_preserve_defaults = True
napoleon_use_rtype = False
napoleon_use_ivar = True


def _as_pages_of_the_site(app: Sphinx, name: str, source: list[str]) -> None:
    """The benchmarks and the contributors' guide are pages of the site too; a folder of the repository is none."""
    folder = Path(app.srcdir, name).parent
    source[0] = re.sub(r"\[([^\]]+)\]\(([\w./-]+)\)",
                       lambda link: link[1] if (folder / link[2]).is_dir() else link[0], source[0])  # fmt: skip
    up = "../" * name.count("/")
    for path, page in {"bench/RESULTS.md": "benchmarks.md", "CONTRIBUTING.md": "contributing.md"}.items():
        source[0] = re.sub(rf"\]\((\.\./)+{path}", f"]({up}{page}", source[0])


def _bars_are_bars(app: Sphinx, what: str, name: str, of: object, options: object, lines: list[str]) -> None:
    """Absolute values in docstrings are no substitutions of reStructuredText; what is literal stays as it is."""
    for i, line in enumerate(lines):
        parts = line.split("``")
        lines[i] = "``".join(part if k % 2 else part.replace("|", "\\|") for k, part in enumerate(parts))


def _inline(translator: SphinxTranslator, node: nodes.Element) -> None:
    translator.body.append(tex2mathml(node.astext()))
    raise nodes.SkipNode


def _block(translator: SphinxTranslator, node: nodes.Element) -> None:
    translator.body.append(f'<div class="math">{tex2mathml(node.astext(), as_block=True)}</div>')
    raise nodes.SkipNode


def setup(app: Sphinx) -> None:
    """Formulas are MathML, which browsers draw without a script from elsewhere."""
    app.connect("source-read", _as_pages_of_the_site)
    app.connect("autodoc-process-docstring", _bars_are_bars)
    app.add_html_math_renderer("mathml", (_inline, None), (_block, None))
