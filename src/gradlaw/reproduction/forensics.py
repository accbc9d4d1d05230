"""The page that says where every published row stands among the seeds, and what follows from it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from gradlaw.atomic import write_files
from gradlaw.report.formatting import percent
from gradlaw.reproduction import eigengap_pairs, printed_counts
from gradlaw.reproduction.formats import markdown
from gradlaw.reproduction.formatting import DASH, spread
from gradlaw.reproduction.likelihood import Likelihood, likelihoods, total
from gradlaw.reproduction.output import Report
from gradlaw.reproduction.paper import Paper, Table
from gradlaw.reproduction.published_values import QUANTITIES
from gradlaw.reproduction.standing import (
    AGREES,
    AS_RANDOM,
    LEVEL,
    NOT_RUN,
    OUTCOMES,
    TOO_FEW,
    Place,
    Seeds,
    Standing,
    best,
    count,
    stand,
)

FIGURE = Path("reproduction/figures/standing.png")  # beside the page
_SHORT = {"d_ks": "d_KS", "mean_d_ks": "mean d_KS", "s": "s", "power_law_rate": "power-law %",
          "mean_p_value": "mean p", "gaussian_rate": "Gaussian %"}  # fmt: skip
_SHARES = ("power_law_rate", "gaussian_rate")
_MEANING = (
    "Every printed number is compared with the distribution of what one more seed of our own measurement would "
    "give: Student's t around the mean of the seeds, for exponents, distances and p-values on a logarithmic scale, "
    "for rates on that of arcsine of the square root. z counts its standard errors, the percentage is the share of "
    "further seeds below the published value. A row agrees if each of its printed numbers lies in the central "
    f"{LEVEL:.0%}. A row of two numbers that is nothing but a further seed does so with a probability of at least "
    f"{2 * LEVEL - 1:.0%}, one of four of at least {4 * LEVEL - 3:.0%}. A star marks a spread that is pooled over "
    "the settings of the same model, at random or trained, because the row itself has one or two values; without "
    "any such setting there are too few seeds. The old criterion, the same verdict at the published critical "
    "distance, stands in the last column."
)
_LIMITS = (
    "- Few rows have more than three seeds. Three leave two degrees of freedom: the central 95% then reaches 4.3 "
    "standard errors to either side, with ten seeds 2.3. What lies outside of the former is far off; what lies inside "
    "may still differ.",
    "- A pooled spread takes it for granted that all settings of a family spread alike.",
    "- A place says how far a number is from ours, not why. Whatever is left open by the paper, and is read "
    "otherwise here, moves a row as well as anything else would.",
    "- Rows share networks and seeds, and some tables repeat rows of others: neither the counts nor the sum of "
    "likelihoods is that of independent trials.",
    "- Trained means trained by the recipe that is measured here. Networks that were trained less, or otherwise, lie "
    "elsewhere.",
)  # fmt: skip


@dataclass(frozen=True)
class Forensics:
    """What a paper adds to the page.

    Attributes:
        spectra: the number of its table of eigenvalues.
        gaps: that of their gaps.
        gap_words: what the comparison of both shows.
        rates: printed rates by what they are of, as texts.
        sizes: numbers of which they may be counts, by what has so many.
        count_words: what the counts show.
        oddities: the section on rows that stay inexplicable.
        others: further sections by title.
    """

    spectra: int
    gaps: int
    gap_words: str
    rates: Mapping[str, str]
    sizes: Mapping[str, int]
    count_words: str
    oddities: Callable[["Inquiry"], str]
    others: Mapping[str, Callable[["Inquiry"], str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Inquiry:
    """What was found, with places and likelihoods of all rows of the selection."""

    found: Report
    seeds: Seeds
    standings: tuple[Standing, ...]
    likelihoods: tuple[Likelihood, ...]

    @classmethod
    def of(cls, found: Report) -> "Inquiry":
        paper, tables = found.selection.paper, found.selection.tables
        seeds = Seeds(paper, found.evidence)
        return cls(found, seeds, stand(paper, seeds, tables), likelihoods(paper, seeds, tables))


def write_forensics(found: Report, own: Forensics, path: Path) -> list[Path]:
    """Write the page, and its figure at ``FIGURE`` beside it; returns both, or the page alone if no row has a place.

    Raises:
        InputError: the disk is full.
    """
    from gradlaw.report.figure import encode_figure  # matplotlib, which no other command needs to load
    from gradlaw.reproduction.draw_standing import draw_standing

    inquiry = Inquiry.of(found)
    figure = draw_standing(inquiry.standings, f"profile {found.profile.name}")
    files: dict[Path, str | bytes] = {path: forensics_page(inquiry, own)}
    if figure is not None:
        files[path.parent / FIGURE] = encode_figure(figure, "png", found.label)
    return write_files(files)


def forensics_page(inquiry: Inquiry, own: Forensics) -> str:
    """The page in Markdown."""
    paper = inquiry.found.selection.paper
    introduction = (
        f'The published numbers of "{paper.title}" ({paper.authors}) among the seeds of our own measurements. '
        f"Written by `gradlaw reproduce --from-results --forensics FILE`; {inquiry.found.label}; results: "
        f"{inquiry.found.evidence.store}. {_reading(paper)}"
    )
    parts = [
        f"# Where the published numbers stand\n\n{introduction}\n",
        f"## Summary\n\n{_summary(inquiry)}",
        f"## What this cannot show\n\n{chr(10).join(_LIMITS)}\n",
        f"## Pretrained rows, as random and as trained\n\n{_pretrained(inquiry.likelihoods)}",
        f"## Eigenvalues and their gaps\n\n{_gaps(inquiry, own)}",
        f"## Rates as counts\n\n{_counts(own)}",
        f"## Rows that stay inexplicable\n\n{own.oddities(inquiry)}",
        *(f"## {title}\n\n{section(inquiry)}" for title, section in own.others.items()),
        f"## Every row\n\n{_MEANING}\n\n{''.join(_table(table, inquiry) for table in inquiry.found.selection.tables)}",
    ]
    return "\n".join(parts).rstrip("\n") + "\n"


def _reading(paper: Paper) -> str:
    """Under which reading all rows are, in a sentence."""
    named = {axis.name: option for axis, option in paper.reading.options}
    options = ",".join(f"{axis.name}={named.get(axis.name, axis.first)}" for axis in paper.axes)
    return (
        f"Every row is under the reading `{options}`, as far as it has the choice; a column says where a row is read "
        "in several ways. What else was tried, and why nothing else was chosen: [readings.md](readings.md)."
    )


def _summary(inquiry: Inquiry) -> str:
    rows = best(inquiry.standings)
    of = {"all": rows, "random": [s for s in rows if not s.pretrained], "pretrained": [s for s in rows if s.pretrained]}
    counts = {name: count(some) for name, some in of.items()} | {"readings": count(inquiry.standings)}
    header = ("outcome", "published rows", "printed as random", "printed as pretrained", "all readings")
    cells = [(outcome, *(str(counts[name][outcome]) for name in counts)) for outcome in OUTCOMES]
    cells.append(("together", *(str(counts[name].total()) for name in counts)))
    same = [s for s in rows if s.same_verdict == "yes"]
    ratio, counted = total(inquiry.likelihoods)
    lines = [
        f"- {_share(of['random'], AGREES)} rows that were printed as random and have a place agree.",
        f"- {_share(of['pretrained'], AGREES)} rows that were printed as pretrained and have a place agree as they "
        f"are, {_share(of['pretrained'], AS_RANDOM)} do not, and agree with the same network at random.",
        f"- Over the {counted} different pretrained rows the published numbers have a log likelihood that is "
        f"{ratio:+.0f} nats as random against as trained.",
        f"- The old criterion is met by {len(same)} rows with spectra; {sum(s.outcome == AGREES for s in same)} of "
        "these agree by the new one.",
    ]
    figure = f"![All published values among the seeds]({FIGURE.as_posix()})"
    return (
        f"{markdown(header, cells)}\nOf a row with several readings the best outcome "
        f"counts.\n\n{chr(10).join(lines)}\n\n{figure}\n"
    )


def _share(standings: Sequence[Standing], outcome: str) -> str:
    placed = [s for s in standings if s.outcome not in (NOT_RUN, TOO_FEW)]
    return f"{sum(s.outcome == outcome for s in placed)} of {len(placed)}"


def _table(table: Table, inquiry: Inquiry) -> str:
    """The rows of one table, a line each."""
    quantities = list(QUANTITIES[table.kind])
    standings = [s for s in inquiry.standings if s.row.table == table.number]
    header = ("row", "settings", "reading", *(f"{_SHORT[q]}{part}" for q in quantities for part in
              (" pub.", "", ": z")), "seeds", "outcome", "same verdict")  # fmt: skip
    rows = [(str(s.row.number), _settings(inquiry, s), s.row.reading or DASH,
             *(cell for q in quantities for cell in place_cells(s.places, q)), str(s.seeds), s.outcome,
             s.same_verdict) for s in standings]  # fmt: skip
    return f"### Table {table.number}. {table.title}\n\n{markdown(header, rows)}\n"


def _settings(inquiry: Inquiry, standing: Standing) -> str:
    """Of a published row, in the words in which they were printed."""
    row = standing.row
    line = inquiry.found.selection.paper.published[row.table][row.number - 1]
    names = ("dataset", "model", "training", "axis", "setting")
    cells = [str(line[name]) for name in names if line.get(name) not in (None, DASH)]
    batch = line.get("batch_size")
    return ", ".join([*cells, *([f"B = {batch:,}"] if batch else [])])


def place_cells(places: Sequence[Place], quantity: str) -> tuple[str, str, str]:
    """As printed; mean and spread over seeds; z with the percentile and a star if the spread is pooled. Rates in %."""
    found = next((place for place in places if place.quantity == quantity), None)
    if found is None:
        return DASH, DASH, DASH
    unit = 100 if quantity in _SHARES else 1
    printed = f"{unit * found.published:.4g}"
    refused = [None] * (found.run - len(found.values))
    ours = spread([*(unit * value for value in found.values), *refused])
    ours = "refused" if ours == DASH and found.run else ours
    if found.predictive is None:
        return printed, ours, DASH
    z, below = found.predictive.z(found.published), found.predictive.percentile(found.published)
    return printed, ours, f"{z:+.1f} ({percent(below)}){'*' if found.pooled else ''}"


def _pretrained(found: Sequence[Likelihood]) -> str:
    """The likelihoods of all pretrained rows under both networks."""
    ratio, counted = total(found)
    copies = sum(each.copy_of is not None for each in found)
    known = [each.ratio for each in found if each.copy_of is None and each.ratio is not None]
    words = (
        "The logarithm of the predictive density of the published numbers, in nats, under the trained network of "
        "our measurements and under the same network at random (clean labels, the same transforms), both with "
        "pooled spreads; of rows with two readings the better one, for either. The numbers of one row are taken as "
        "independent, which they are not, so that the ratio says which network is nearer by far, not how many "
        "times. Tables repeat one another, and second moment and covariance of one experiment have almost the same "
        "spectrum: each experiment counts once for each direction, for its eigenvalues and for its eigengaps, "
        f"which leaves out {copies} copies.\n\n**Sum over {counted} different rows: {ratio:+.1f} nats; "
        f"{sum(r > 0 for r in known)} of them are nearer to random, {sum(r < 0 for r in known)} nearer to trained.**"
    )
    rows = [(each.row.name, each.row.quantity, _nats(each.trained), _nats(each.random),
             _nats(each.ratio), each.copy_of or DASH) for each in found]  # fmt: skip
    header = ("row", "what", "as trained", "as random", "random - trained", "copy of")
    return f"{words}\n\n{markdown(header, rows)}\nA dash: not run, or without a spread.\n"


def _nats(value: float | None) -> str:
    return DASH if value is None else f"{value:+.1f}"


def _gaps(inquiry: Inquiry, own: Forensics) -> str:
    """Differences between the exponents of gaps and of eigenvalues, ours and the printed ones."""
    ours, whole = eigengap_pairs.measured(inquiry.found.selection.experiments, inquiry.found.evidence)
    words = (
        "Eigenvalues that fall as k^-s have gaps that fall as the derivative does, as k^-(s + 1): the exponent of "
        "the gaps is that of the eigenvalues plus about 1. Below are all measured histories in which both were "
        f"fitted, but for {whole} in which the fit takes the whole spectrum, which is no tail."
    )
    header = ("networks", "measurements", "covariance s", "eigengap s", "difference, mean", "standard deviation",
              "smallest and largest")  # fmt: skip
    groups = {"all": ours, "random": [m for m in ours if not m.trained], "trained": [m for m in ours if m.trained]}
    rows = [_gap_cells(name, some) for name, some in groups.items() if some]
    printed = eigengap_pairs.printed(inquiry.found.selection.paper, own.spectra, own.gaps)
    lines = [(p.settings, f"{p.eigenvalues:g}", f"{p.gaps:g}", f"{p.difference:.3f}",
              f"{sum(m.difference >= p.difference for m in ours)} of {len(ours)}") for p in printed]  # fmt: skip
    printed_header = ("published", f"s, Table {own.spectra}", f"s, Table {own.gaps}", "difference", "of ours as large")
    return f"{words}\n\n{markdown(header, rows)}\n{markdown(printed_header, lines)}\n{own.gap_words}\n"


def _gap_cells(name: str, some: Sequence[eigengap_pairs.Measured]) -> tuple[str, ...]:
    mean, deviation, smallest, largest = eigengap_pairs.describe([m.difference for m in some])
    ranges = (_range([getattr(m, of) for m in some]) for of in ("eigenvalues", "gaps"))
    return name, str(len(some)), *ranges, f"{mean:.3f}", f"{deviation:.3f}", _range([smallest, largest])


def _range(values: Sequence[float]) -> str:
    return f"{min(values):.3g} to {max(values):.3g}"


def _counts(own: Forensics) -> str:
    """For each printed rate and each n: which counts it can be, and how often digits like these are counts."""
    header = ("rate", "printed", *(part for name, n in own.sizes.items() for part in
              (f"counts of {n:,} ({name})", "chance")))  # fmt: skip
    rows = []
    for name, text in own.rates.items():
        cells = [(_list(printed_counts.counts(text, n)), percent(printed_counts.share_of_counts(text, n)))
                 for n in own.sizes.values()]  # fmt: skip
        rows.append((name, text, *(cell for pair in cells for cell in pair)))
    words = (
        "If a printed rate is the share of n series that pass, it is a whole number over n, rounded or cut to the "
        "printed digits. Chance: the share of all numbers with as many digits, at the same place, that are such "
        "counts."
    )
    return f"{words}\n\n{markdown(header, rows)}\n{_together(own)}\n\n{own.count_words}\n"


def _list(counts: range) -> str:
    return ", ".join(map(str, counts)) or "none"


def _together(own: Forensics) -> str:
    """In a sentence for each n: how many rates are counts, and the chance that all would be."""
    lines = []
    for name, n in own.sizes.items():
        chance = 1.0
        for text in own.rates.values():
            chance *= printed_counts.share_of_counts(text, n)
        hits = sum(printed_counts.is_count(text, n) for text in own.rates.values())
        lines.append(f"- n = {n:,} ({name}): {hits} of {len(own.rates)} are counts; by chance all of them are with a "
                     f"probability of {chance:.2g}.")  # fmt: skip
    return "\n".join(lines)


def outcome_words(inquiry: Inquiry, table: int, row: int) -> str | None:
    """The outcome of a published row, that of its best reading, with its numbers; None if it is not selected."""
    standing = next((s for s in best(inquiry.standings) if (s.row.table, s.row.number) == (table, row)), None)
    if standing is None:
        return None
    kind = inquiry.found.selection.paper.tables[table].kind
    cells = (f"{_SHORT[q]} {' against '.join(place_cells(standing.places, q)[:2])}" for q in QUANTITIES[kind])
    return f"{standing.outcome}: {', '.join(cells)}"
