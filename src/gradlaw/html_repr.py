"""What notebooks show of an object: a small table, and a picture of values by rank, as HTML without any script."""

from collections.abc import Mapping
from html import escape

import numpy as np

_WIDTH, _HEIGHT, _EDGE = 220, 120, 6  # pixels of the picture
_POINTS = 120
_LEFT = 'style="text-align:left"'


def html_table(title: str, rows: Mapping[str, object], picture: str = "") -> str:
    """A titled table of two columns; names and values are text, whatever they hold.

    Args:
        title: above the table.
        rows: values by name, in their order.
        picture: SVG that stands beside the table.
    """
    lines = "".join(
        f'<tr><th scope="row" {_LEFT}>{_text(name)}</th><td {_LEFT}>{_text(value)}</td></tr>'
        for name, value in rows.items()
    )
    table = f"<table><caption {_LEFT}><b>{_text(title)}</b></caption><tbody>{lines}</tbody></table>"
    return f'<div style="display:flex;gap:1em;align-items:center;flex-wrap:wrap">{table}{picture}</div>'


def rank_picture(descending: np.ndarray, label: str) -> str:
    """Positive values against their rank on logarithmic axes, as SVG; empty with fewer than two of them."""
    values = np.asarray(descending, dtype=np.float64)
    values = values[values > 0]
    if len(values) < 2:
        return ""
    ranks = np.unique(np.geomspace(1, len(values), _POINTS).round().astype(int))
    x, y = np.log(ranks), np.log(values[ranks - 1])
    across = _EDGE + (x - x[0]) / (x[-1] - x[0]) * (_WIDTH - 2 * _EDGE)
    down = _EDGE + (y[0] - y) / max(y[0] - y[-1], np.finfo(float).tiny) * (_HEIGHT - 2 * _EDGE)
    dots = "".join(f'<circle cx="{a:.1f}" cy="{b:.1f}" r="1.6"/>' for a, b in zip(across, down, strict=True))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{_HEIGHT}" role="img" '
        f'aria-label="{_text(label)}"><title>{_text(label)}</title><rect width="{_WIDTH}" height="{_HEIGHT}" '
        f'fill="none" stroke="currentColor" stroke-opacity="0.3"/><g fill="none" stroke="#0072B2">{dots}</g></svg>'
    )


def _text(value: object) -> str:
    shown = "".join(c if c.isprintable() else " " if c.isspace() else "\N{REPLACEMENT CHARACTER}" for c in str(value))
    return escape(shown)
