"""The comparison of readings in words: for the terminal, and as a page in Markdown."""

import math
from collections.abc import Sequence

from gradlaw.report.formatting import number, percent
from gradlaw.reproduction.choice import DECISIVE, Candidate, Choice, Quantity
from gradlaw.reproduction.formats import markdown
from gradlaw.reproduction.formatting import DASH
from gradlaw.reproduction.paper import Paper
from gradlaw.reproduction.profiles import Profile

_RULE = """\
The paper leaves choices open that move its numbers. Each is an axis with declared options, in
`src/gradlaw/reproduction/{paper}/readings.py`, written with the rule before they were measured; nothing outside the
options is tuned.

For every reading the quantities that were printed (s and d_KS on a logarithmic scale, rates on the arcsine scale) have
a predictive distribution over seeds, Student's t, with a spread that is pooled over the readings of a family. The score
is the sum of the log densities, in nats, at the published values of the rows to choose by, shown relative to the
best. The reading with the highest score is chosen if it leads by at least {decisive:g} nats (a factor of 20; strong
evidence by Kass and Raftery 1995); a smaller lead decides nothing, and the tables stay under the reading that was
measured first. Rows to check by have no part in the choice, and their column is relative to that of the best reading.
z is the distance of the published value from the mean, in predictive standard
errors: beyond 2 to 3 the published value is no further seed of that reading.
"""


def page(paper: Paper, choices: Sequence[Choice], profile: Profile, seeds: Sequence[int]) -> str:
    """The whole page."""
    axes = "".join(
        f"- **{axis.name}**: {axis.question}. " + "; ".join(f"`{o}`: {meaning}" for o, meaning in axis.options.items())
        + "\n" for axis in paper.axes
    )  # fmt: skip
    parts = [
        f"# Readings\n\n{_RULE.format(paper=paper.name, decisive=DECISIVE)}",
        f"Profile {profile.name} ({profile.meaning}); seeds {', '.join(map(str, seeds))}. Written by "
        "`gradlaw readings --from-results --markdown docs/readings.md`.\n",
        f"## What is open\n\n{axes}",
        *(f"## {choice.family.name}\n\n{_family(choice)}" for choice in choices),
    ]
    return "\n".join(parts)


def _family(choice: Choice) -> str:
    family = choice.family
    names = (*family.choose, *family.check)
    fixed = f"- assumed of all: {family.fixed}\n" if family.fixed.options else ""
    return (
        f"- chosen by {', '.join(family.choose)}; checked by {', '.join(family.check)}\n{fixed}- {summary(choice)}\n\n"
        f"{markdown(choice_header(choice, names), choice_rows(choice, names))}"
    )


def summary(choice: Choice) -> str:
    """Which reading was chosen, of how many, by how much, and whether it explains the published numbers."""
    best = choice.chosen
    if best is None or best.score is None:
        return "no reading has been measured"
    second = next((c for c in choice.candidates[1:] if c.score is not None and math.isfinite(c.score)), None)
    lead, word = "", "best"
    if second is not None and second.score is not None:
        lead = f", {best.score - second.score:.1f} nats before {second.reading}"
        word = "chosen" if best.score - second.score >= DECISIVE else "no decision, best"
    far = [
        f"{quantity} of {name}"
        for (name, quantity), value in choice.published.items()
        if name in choice.family.choose and not best.predictive[name, quantity].agrees(value)
    ]
    verdict = (
        f"outside the central 95% of its seeds: {', '.join(far)}" if far else "within the central 95% of its seeds"
    )
    return f"{word} of {choice.tried} measured, {len(choice.candidates)} declared: {best.reading}{lead}; {verdict}"


def choice_header(choice: Choice, names: Sequence[str]) -> tuple[str, ...]:
    """Of the columns of :func:`choice_rows`, with the published values of the rows of these names."""
    columns = (
        f"{name} {quantity}, pub. {_value(quantity, value)}"
        for (name, quantity), value in choice.published.items()
        if name in names
    )
    return ("reading", "seeds", "score", "check", *columns)


def choice_rows(choice: Choice, names: Sequence[str]) -> list[tuple[str, ...]]:
    """A row for each reading: mean and z of every quantity of the rows of these names."""
    best = choice.chosen
    score, check = (None, None) if best is None else (best.score, best.check)
    shown = {key: value for key, value in choice.published.items() if key[0] in names}
    return [
        (
            str(c.reading),
            str(c.seeds),
            _relative(c.score, score),
            _relative(c.check, check),
            *(_cell(c, key, value) for key, value in shown.items()),
        )
        for c in choice.candidates
    ]


def _relative(score: float | None, best: float | None) -> str:
    if score is None or best is None:
        return DASH
    return f"{score - best:.1f}" if math.isfinite(score - best) else "no fit"


def _cell(candidate: Candidate, key: Quantity, published: float) -> str:
    predictive = candidate.predictive.get(key)
    return DASH if predictive is None else f"{_value(key[1], predictive.center)} (z {predictive.z(published):+.1f})"


def _value(quantity: str, value: float) -> str:
    return percent(value) if quantity.endswith("rate") else number(value)
