"""The pages of the repository: where their links lead, and that their examples are Python. Needs no other package."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_EXAMPLE = re.compile(r"^( *)```python\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)


def _anchors(page: Path) -> set[str]:
    """The headings of a page, as GitHub names them."""
    titles = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def _broken(page: Path) -> list[str]:
    """The relative links of a page that lead nowhere."""
    broken = []
    for link in _LINK.findall(page.read_text()):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        if not target.exists() or (anchor and anchor not in _anchors(target)):
            broken.append(link)
    return broken


def _examples() -> list[tuple[str, str]]:
    """By page and number: the code of every Python block."""
    return [
        (f"{page.relative_to(ROOT)} {number}", code)
        for page in PAGES
        for number, (_, code) in enumerate(_EXAMPLE.findall(page.read_text()), start=1)
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    assert _broken(page) == []


@pytest.mark.parametrize(("place", "code"), _examples(), ids=[place for place, _ in _examples()])
def test_examples_are_python(place, code):
    compile(code, place, "exec")


def test_every_block_of_python_is_among_the_examples():
    assert len(_examples()) == sum(page.read_text().count("```python") for page in PAGES) > 5


def test_a_link_that_leads_nowhere_is_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "# One: two\n[a](page.md) [b](gone.md) [c](#one-two) [d](page.md#three) [e](https://example.org/x)\n"
    )
    assert _broken(page) == ["gone.md", "page.md#three"]
