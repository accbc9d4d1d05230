"""The figure of the page: exponents by what was replaced."""

import pandas as pd

from gradlaw.report.figure import encode_figure, new_figure
from gradlaw.report.palette import BLUE, GREY, VERMILLION
from studies.explanations.design import NETWORKS, REAL, VARIANTS


def figure(spectra: pd.DataFrame) -> bytes:
    """A panel a network and data set: the exponent with everything kept, and with one thing replaced, as PNG."""
    spectra = spectra[spectra.network.isin(NETWORKS)]
    panels = sorted(set(zip(spectra.network, spectra.data, strict=True)))
    with new_figure(8.0, 2.2 * -(-len(panels) // 2)) as drawn:
        axes = drawn.subplots(-(-len(panels) // 2), 2, sharey=True, squeeze=False)
        for ax, (network, data) in zip(axes.flat, panels, strict=False):
            rows = spectra[(spectra.network == network) & (spectra.data == data)]
            ax.axvline(rows[rows.variant == REAL].s.mean(), color=GREY, lw=1)
            for place, variant in enumerate(VARIANTS):
                found = rows[rows.variant == variant]
                colour = BLUE if variant == REAL else VERMILLION
                ax.plot(found.s, [place] * len(found), "o", mfc="none", color=colour, ms=5)
            ax.set(title=f"{network}, {data}", xlabel="s of the sample covariance")
            ax.set_yticks(range(len(VARIANTS)), VARIANTS)
            ax.set_ylim(len(VARIANTS) - 0.5, -0.5)
    return encode_figure(drawn, "png", "gradlaw study of explanations: exponents")
