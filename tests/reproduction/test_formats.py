"""The formats of tables, on cells that need care."""

import csv
import io

from rich.console import Console

from gradlaw.report.latex import latex
from gradlaw.reproduction.formats import comma_separated, markdown, terminal
from gradlaw.reproduction.formatting import duration, size, spread, verdict

HEADER = ("row", "dataset", "d_KS")
ROWS = (("1", "MNIST", "0.1 ± 0.2"), ("2", "MNIST", "a|b & 50%, [c]"))


def test_markdown_has_one_line_a_row_and_escapes_bars() -> None:
    lines = markdown(HEADER, ROWS).splitlines()
    assert len(lines) == 4
    assert lines[1] == "| --- | --- | --- |"
    assert r"a\|b & 50%, [c]" in lines[3]


def test_csv_comes_back_as_it_was() -> None:
    assert [tuple(row) for row in csv.reader(io.StringIO(comma_separated(HEADER, ROWS)))] == [HEADER, *ROWS]


def test_no_rows_leave_the_header() -> None:
    assert comma_separated(HEADER, []) == "row,dataset,d_KS\n"
    assert "row & dataset" in latex("", "tab:x", HEADER, [])


def test_latex_escapes_and_uses_booktabs() -> None:
    text = latex("50% of x_1", "tab:x", HEADER, ROWS, ["a & b"])
    assert r"\caption{50\% of x\_1}" in text
    assert r"a|b \& 50\%, [c] \\" in text
    assert r"0.1 $\pm$ 0.2" in text
    assert text.count(r"\begin{tabular}{lll}") == text.count(r"\resizebox{\linewidth}{!}{%") == 1
    assert "$<$ $>$" in latex("< >", "tab:x", HEADER, ROWS)
    assert text.count("{") - text.count(r"\{") == text.count("}") - text.count(r"\}")
    assert all(rule in text for rule in (r"\toprule", r"\midrule", r"\bottomrule", r"\footnotesize a \& b"))


def test_the_terminal_names_settings_once() -> None:
    console = Console(width=100, color_system=None)
    with console.capture() as capture:
        console.print(terminal("Title [quick]", HEADER, ROWS))
    text = capture.get()
    assert "Title [quick]" in text
    assert text.count("MNIST") == 1
    assert "a|b & 50%, [c]" in text


def test_one_value_is_shown_alone_and_several_with_their_spread() -> None:
    assert spread([0.5]) == "0.5"
    assert spread([0.4, 0.6]) == "0.5 ± 0.141"
    assert spread([0.4, 0.4]) == "0.4"
    assert spread([0.4, None]) == "0.4 (1 of 2)"
    assert spread([0.4, None, 0.6]) == "0.5 ± 0.141 (2 of 3)"
    assert spread([None]) == spread([]) == "-"
    assert spread([0.25, 0.75], percentage=True) == "50.0% ± 35.4%"


def test_verdicts_over_seeds() -> None:
    assert verdict([True, True]) == "yes"
    assert verdict([False]) == "no"
    assert verdict([True, False, True]) == "yes 2/3"
    assert verdict([None]) == "refused"
    assert verdict([None, False]) == "no (1 of 2)"
    assert verdict([None, False, True]) == "yes 1/2"
    assert verdict([]) == "-"


def test_durations_and_sizes_are_for_people() -> None:
    assert (duration(5), duration(600), duration(7200)) == ("5 s", "10 min", "2.0 h")
    assert (size(2.5e9), size(2e6)) == ("2.5 GB", "2.0 MB")
