"""The glossary and the pages of the API are those that the code makes, and reach everything public."""

import importlib
import re
from types import ModuleType

import pytest

import gradlaw as gl
from gradlaw.report.glossary import TERMS
from tools import make_pages

MADE = make_pages.pages()


@pytest.mark.parametrize("path", MADE, ids=str)
def test_a_page_is_what_the_code_makes(path):
    assert (make_pages.DOCS / path).read_text() == MADE[path], "python tools/make_pages.py"


def test_there_is_no_page_of_what_is_gone():
    assert {path.name for path in (make_pages.DOCS / "api").iterdir()} == {
        path.name for path in MADE if path.parent.name == "api"
    }


def test_every_public_name_has_its_place():
    named = set(re.findall(r"\.\. auto\w+:: (\S+)", "\n".join(MADE.values())))
    for module in ("gradlaw", *(f"gradlaw.{n}" for n in gl.__all__ if isinstance(getattr(gl, n), ModuleType))):
        for name in getattr(importlib.import_module(module), "__all__", ()):
            member = getattr(importlib.import_module(module), name)
            if callable(member):
                assert {f"{module}.{name}", f"gradlaw.{name}"} & named, f"{module}.{name}"


def test_every_term_is_in_the_glossary_once():
    page = next(text for path, text in MADE.items() if path.name == "glossary.md")
    for term in TERMS:
        assert page.count(f"\n**{term.name}**") == 1
        assert term.meaning in page
