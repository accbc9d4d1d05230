"""The Python of the documentation: found, run page by page, with the pictures that it draws.

python tools/pages.py docs/concepts/directions.md     # runs the page and renews the pictures beside it

A block that a page does not run has a comment on the line above it, ``<!-- not run: REASON -->``; a page of such
blocks has one for all, ``<!-- no block of this page is run with it: REASON -->``. A block of ``text`` right below one
of Python is what that prints.
"""

import contextlib
import io
import re
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
_BLOCK = re.compile(
    r"^(?:<!-- not run: (?P<reason>[^\n]+) -->\n)?```python\n(?P<code>.*?)^```$(?:\n\n```text\n(?P<printed>.*?)^```$)?",
    re.MULTILINE | re.DOTALL,
)
_WHOLE_PAGE = re.compile(r"^<!-- no block of this page is run with it: ([^\n]+) -->$", re.MULTILINE)
_SHELL = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_PICTURE = re.compile(r"!\[[^\]]*\]\(([^)]+\.png)\)")


@dataclass(frozen=True)
class Block:
    """A block of Python.

    Attributes:
        place: file and line of its first line.
        code: its text.
        reason: why it is not run; None if it is.
        printed: what the page says that it prints; None if nothing.
    """

    place: str
    code: str
    reason: str | None
    printed: str | None

    def compiled(self) -> Any:
        """Its code, with the lines of the page."""
        path, _, line = self.place.rpartition(":")
        return compile("\n" * (int(line) - 1) + self.code, path, "exec")


def pages() -> list[Path]:
    """Every page of the repository that is written for readers."""
    return [*sorted(ROOT.glob("*.md")), *sorted(p for p in (ROOT / "docs").rglob("*.md") if "_build" not in p.parts)]


def blocks(page: Path) -> list[Block]:
    """The blocks of Python of a page."""
    text = page.read_text()
    of_page = _WHOLE_PAGE.search(text)
    found = []
    for match in _BLOCK.finditer(text):
        line = text.count("\n", 0, match.start("code")) + 1
        reason = of_page[1] if of_page else match["reason"]
        found.append(Block(f"{page}:{line}", match["code"], reason, match["printed"]))
    return found


def commands(page: Path) -> list[str]:
    """The lines of the page's shell blocks that call gradlaw, without comments."""
    lines = [line for block in _SHELL.findall(page.read_text()) for line in block.splitlines()]
    return [line.partition(" #")[0].strip() for line in lines if line.startswith("gradlaw ")]


def run(page: Path) -> list[tuple[Block, str]]:
    """Run the blocks of a page one after the other in one namespace, in the current folder; what each printed."""
    namespace: dict[str, Any] = {"__name__": "__main__"}
    results = []
    for block in blocks(page):
        if block.reason is None:
            with contextlib.redirect_stdout(io.StringIO()) as output:
                exec(block.compiled(), namespace)
            results.append((block, output.getvalue()))
    return results


def pictures(page: Path) -> dict[str, Path]:
    """The pictures that a page shows, by name."""
    paths = [page.parent / link for link in _PICTURE.findall(page.read_text())]
    return {path.name: path for path in paths}


def main(names: list[str]) -> None:
    """Run pages in a folder that is thrown away, print what they print, and keep the pictures that they show."""
    import matplotlib

    matplotlib.use("agg")
    for page in (Path(name).resolve() for name in names):
        with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
            for block, printed in run(page):
                print(f"--- {block.place}\n{printed}", end="")
            for drawn in Path(folder).glob("*.png"):
                target = pictures(page)[drawn.name]
                target.parent.mkdir(exist_ok=True)
                shutil.copy(drawn, target)


if __name__ == "__main__":
    main(sys.argv[1:])
