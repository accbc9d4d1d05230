"""The glossary of the page says all that is known of each term."""

import html
import re

from gradlaw.report.glossary import TERMS


def test_every_term_with_its_source_its_caveat_and_its_other_name(trained_run, tmp_path):
    trained_run.report(tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    entries = dict(re.findall(r'<div id="(term-[^"]*)"><dt>.*?</dt><dd>(.*?)</dd></div>', page))
    assert list(entries) == [term.key for term in TERMS]
    assert sum(bool(term.elsewhere) for term in TERMS) > 10
    for term in TERMS:
        other = f" Elsewhere: {term.elsewhere}." if term.elsewhere else ""
        assert html.unescape(re.sub("<[^>]*>", "", entries[term.key])) == term.text + other
