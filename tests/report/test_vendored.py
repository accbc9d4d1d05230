"""The libraries that a page carries: as they were published, with their licences."""

import hashlib
from importlib.resources import files

import pytest

import gradlaw as gl

VENDOR = files("gradlaw.report") / "vendor"
# A newer version changes the file, its licence if need be, and this line.
PUBLISHED = {
    "d3.min.js": ("https://d3js.org v7.9.2", "912111098ea99503a6f4967361d2bbdc9dbf58cf9c678c8e27e5b02d1a07f0c1"),
    "plot.umd.min.js": (
        "@observablehq/plot v0.6.17",
        "4358086467740777dd788d6b27a95cebdbaefdd50c730a3060117073bd7134cb",
    ),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_library_is_the_one_that_was_published(name):
    version, digest = PUBLISHED[name]
    content = (VENDOR / name).read_bytes()
    assert version in content.decode().splitlines()[0]
    assert hashlib.sha256(content).hexdigest() == digest


def test_licences_stand_in_every_page(random_run: gl.Analysis, tmp_path):
    random_run.report(tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    head = page[: page.index("<html")]
    for name in ("d3", "plot"):
        licence = (VENDOR / f"{name}.LICENSE").read_text()
        assert "Permission to use, copy, modify" in licence
        assert licence.strip() in head
    assert head.lstrip().startswith("<!doctype html>")  # or browsers would take it for an old page
