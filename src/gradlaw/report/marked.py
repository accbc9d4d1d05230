"""Text for the page: escaped, with the terms of the glossary linked, and without folders of the machine."""

import re
from typing import Any

from markupsafe import Markup, escape

from gradlaw.report.glossary import BY_SPELLING, IN_SENTENCES, Term

_TERM = re.compile(rf"(?<![\w-])({'|'.join(map(re.escape, IN_SENTENCES))})(?![\w-])", re.IGNORECASE)
_FOLDER = re.compile(r"(?<![\w./:-])(?:~|[A-Za-z]:)?(?:[/\\][^\s/\\'\",;:]+)+[/\\]([^\s/\\'\",;:]+)")


def marked(text: str) -> Markup:
    """A sentence with each term of the glossary linked where it first stands."""
    seen: set[str] = set()
    out, end = Markup(), 0
    for found in _TERM.finditer(text):
        term = BY_SPELLING[found.group().lower()]
        if term.name in seen:
            continue
        seen.add(term.name)
        out += escape(visible(text[end : found.start()])) + _link(term, found.group())
        end = found.end()
    return out + escape(visible(text[end:]))


def term_of(heading: str) -> Term | None:
    """The entry of the glossary for the heading of a column."""
    return BY_SPELLING.get(heading.lower())


def visible(text: str) -> str:
    """Terminal escapes and other characters that are not printed, as a mark; lines as one."""
    return "".join(c if c.isprintable() else " " if c.isspace() else "\N{REPLACEMENT CHARACTER}" for c in text)


def all_visible(value: Any) -> Any:
    """The same with every text of plain data made :func:`visible`."""
    if isinstance(value, dict):
        return {key: all_visible(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [all_visible(item) for item in value]
    return visible(value) if isinstance(value, str) else value


def without_folders(value: Any) -> Any:
    """The same with paths of the machine cut down to their last part, in plain data of any depth."""
    if isinstance(value, dict):
        return {without_folders(key): without_folders(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_folders(item) for item in value]
    return _FOLDER.sub(r"…/\1", value) if isinstance(value, str) else value


def _link(term: Term, text: str) -> Markup:
    return Markup('<a class="term" href="#{0}" data-term="{0}">{1}</a>').format(term.key, text)
