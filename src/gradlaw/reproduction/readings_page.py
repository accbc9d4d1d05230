"""The comparison of readings in words: for the terminal, and as a page in Markdown."""

import math
from collections import Counter
from collections.abc import Sequence

from gradlaw.report.formatting import number, percent
from gradlaw.reproduction.choice import DECISIVE, Candidate, Choice, Quantity
from gradlaw.reproduction.claim import FAILS, HOLDS, IN_PART, Check, in_words, outcome
from gradlaw.reproduction.claims_by_reading import decide_by_reading
from gradlaw.reproduction.evidence import Evidence
from gradlaw.reproduction.formats import markdown
from gradlaw.reproduction.formatting import DASH
from gradlaw.reproduction.paper import Paper
from gradlaw.reproduction.profiles import Profile
from gradlaw.reproduction.reading import Axis

_RULE = """\
The paper leaves choices open that move its numbers. Each is an axis with declared options, in
`src/gradlaw/reproduction/{paper}/readings.py`, written with the rule before they were measured; nothing outside the
options is tuned.

For every reading the quantities that were printed (s and d_KS on a logarithmic scale, rates on the arcsine scale) have
a predictive distribution over seeds, Student's t, with a spread that is pooled over the readings of a family; a reading
that is varied alone, from the first, has the spread of its own three seeds or more. The score
is the sum of the log densities, in nats, at the published values of the rows to choose by, shown relative to the
best. The reading with the highest score is chosen if it leads by at least {decisive:g} nats (a factor of 20; strong
evidence by Kass and Raftery 1995); a smaller lead decides nothing, and the tables stay under the reading that was
measured first. Rows to check by have no part in the choice, and their column is relative to that of the best reading.
z is the distance of the published value from the mean, in predictive standard
errors: beyond 2 to 3 the published value is no further seed of that reading.
"""


def page(paper: Paper, choices: Sequence[Choice], profile: Profile, evidence: Evidence) -> str:
    """The whole page."""
    parts = [
        f"# Readings\n\n{_RULE.format(paper=paper.name, decisive=DECISIVE)}",
        f"Profile {profile.name} ({profile.meaning}); seeds {', '.join(map(str, evidence.seeds))}. Written by "
        "`gradlaw readings --from-results --markdown docs/readings.md`.\n",
        f"## What was chosen\n\n{_chosen(choices)}",
        f"## What is open\n\n{_axes(paper, choices)}",
        *(f"## {choice.family.name}\n\n{_family(choice)}" for choice in choices),
        f"## The claims, decided again\n\n{_claims(paper, choices, evidence)}",
        f"## Any row under any reading\n\n{_commands(choices, profile)}",
    ]
    return "\n".join(parts)


def _chosen(choices: Sequence[Choice]) -> str:
    """A line for each family: the best reading, by how much, and what the rows to check by say of it."""
    header = ("family", "best reading", "measured, of declared", "lead, nats", "decided", "hold-out")
    rows = [_chosen_row(choice) for choice in choices]
    decided = sum(row[4] == "yes" for row in rows)
    words = (
        f"{decided} of {len(rows)} families have a reading that the rule chooses. Where it chooses none the tables "
        "stay under the first reading, so that nothing in them was picked for coming near to what was printed. "
        "Hold-out: the place of the best reading among all that were measured on the rows to check by, which had no "
        "part in the choice, and how many nats the best one there is ahead of it."
    )
    return f"{words}\n\n{markdown(header, rows)}"


def _chosen_row(choice: Choice) -> tuple[str, ...]:
    best, tried = choice.chosen, f"{choice.tried} of {len(choice.candidates)}"
    if best is None or best.score is None:
        return choice.family.name, DASH, tried, DASH, "no", DASH
    lead = _lead(choice)
    decided = "yes" if lead is not None and lead >= DECISIVE else "no"
    return choice.family.name, str(best.reading), tried, DASH if lead is None else f"{lead:.1f}", decided, _held(choice)


def _lead(choice: Choice) -> float | None:
    """Of the best reading over the second, in nats; None without a second."""
    scores = [c.score for c in choice.candidates if c.score is not None and math.isfinite(c.score)]
    return scores[0] - scores[1] if len(scores) > 1 else None


def _held(choice: Choice) -> str:
    """What the rows to check by say of the best reading."""
    best = choice.chosen
    known = sorted((c.check for c in choice.candidates if c.check is not None and math.isfinite(c.check)), reverse=True)
    if best is None or best.check is None or not known:
        return "not measured"
    place = known.index(best.check) + 1
    ahead = f", the first by {known[0] - best.check:.1f} nats" if place > 1 else ""
    return f"place {place} of {len(known)}{ahead}"


def _axes(paper: Paper, choices: Sequence[Choice]) -> str:
    """Every axis with its options, and in how many readings with a score an option was measured."""
    lines = []
    for axis in paper.axes:
        options = "; ".join(
            f"`{option}`: {meaning} ({_times(choices, axis, option)})" for option, meaning in axis.options.items()
        )
        lines.append(f"- **{axis.name}**: {axis.question}. {options}\n")
    return (
        "In brackets: in how many of the measured readings below the option was taken; no number where it is the "
        f"first one, which is in all readings that name no other.\n\n{''.join(lines)}"
    )


def _times(choices: Sequence[Choice], axis: Axis, option: str) -> str:
    if option == axis.first:
        return "first"
    return str(
        sum((axis, option) in c.reading.options for choice in choices for c in choice.candidates if c.score is not None)
    )


def _claims(paper: Paper, choices: Sequence[Choice], evidence: Evidence) -> str:
    """Every claim that the rows of a family bear on: under the first reading, the best one, and in how many others."""
    rows, both, other = [], 0, []
    for choice in choices:
        first, best = choice.family.readings[0], choice.chosen
        for found in decide_by_reading(paper, choice.family, evidence):
            outcomes = Counter(outcome([check.published for check in checks]) for checks in found.checks.values())
            if best is not None and first in found.checks and best.reading in found.checks:
                both += 1
                one, two = (outcome([c.published for c in found.checks[r]]) for r in (first, best.reading))
                other += [f"{found.claim} ({choice.family.name}: {one}, {two})"] if one != two else []
            rows.append((
                choice.family.name, found.claim, _outcome_words(found.checks.get(first)),
                _outcome_words(found.checks.get(best.reading) if best else None),
                " / ".join(str(outcomes[each]) for each in (HOLDS, IN_PART, FAILS)),
            ))  # fmt: skip
    header = ("family", "claim", "first reading", "best reading", "readings in which it holds / in part / does not")
    words = (
        "Readings are measured on the rows of their family alone, so that a claim is decided by those of its checks "
        "that these rows allow, every seed counted; the whole claims, under the first reading, are in "
        "[reproduction.md](reproduction.md). Outcomes are by the published critical distance, calibrated in brackets "
        "where it differs."
    )
    if not rows:
        return "No claim is borne on by what was measured.\n"
    change = (
        f"Of {both} that were decided under both, {both - len(other)} have the same outcome under the first reading "
        f"and under the best one{'; others: ' + ', '.join(other) if other else ''}."
    )
    return f"{words}\n\n**{change}**\n\n{markdown(header, rows)}"


def _outcome_words(checks: Sequence[Check] | None) -> str:
    if not checks:
        return DASH
    published, calibrated = (in_words([getattr(c, how) for c in checks]) for how in ("published", "calibrated"))
    return published if published == calibrated else f"{published} (calibrated: {calibrated})"


def _commands(choices: Sequence[Choice], profile: Profile) -> str:
    """How to measure the rows of the families under the best readings, and any other."""
    lines = [
        f'gradlaw reproduce "{name}" --profile {profile.name} --data-root DIR --seeds 0,1,2 --reading {_whole(choice)}'
        for choice in choices
        for name in (*choice.family.choose, *choice.family.check)
    ]
    commands = "\n".join(lines)
    return (
        "Any row, table or figure is measured under any reading by `--reading AXIS=OPTION,...`; axes that are not "
        f"named keep their first option. The rows above under the best readings:\n\n```sh\n{commands}\n```\n"
    )


def _whole(choice: Choice) -> str:
    """The best reading of a family with what is assumed of all, as the command line takes it."""
    best, fixed = choice.chosen, choice.family.fixed
    reading = best.reading if best is not None else choice.family.readings[0]
    return f"{reading},{fixed}" if fixed.options else str(reading)


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
    ahead, lead, word = _lead(choice), "", "best"
    if ahead is not None:
        lead = f", {ahead:.1f} nats before {choice.candidates[1].reading}"
        word = "chosen" if ahead >= DECISIVE else "no decision, best"
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
