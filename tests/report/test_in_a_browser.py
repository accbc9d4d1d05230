"""The page in a real browser, without a network."""

import json
import re
import time
from pathlib import Path
from typing import Any

import pytest

WIDTHS = (1400, 1024, 390)
NAMES = ("random", "trained", "hostile", "three", "seeds")
SECONDS, MEGABYTES = 2, 3
_PATIENCE = 60  # seconds, of a busy machine
# Of panels: the marks of Plot by kind of layer.
DOTS = "g[data-mark=dot] :is(path, circle)"


@pytest.fixture
def visit(browser, pages) -> Any:
    """Opens a page; what it says on the console, asks of a network or pops up fails the test."""
    contexts, faults = [], []

    def open_page(name: str, width: int = 1400, scheme: str = "light", fragment: str = "") -> Any:
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, offline=True,
                                      accept_downloads=True)  # fmt: skip
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: faults.append(message.text))
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("dialog", lambda dialog: (faults.append(dialog.message), dialog.dismiss()))
        page.on("request", lambda request: faults.append(request.url) if _leaves(request.url) else None)
        page.goto(pages[name].as_uri() + fragment)
        wait_until(page, "document.documentElement.dataset.ready === 'true'")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert faults == []


def wait_until(page: Any, condition: str) -> None:
    """Wait for a condition. Playwright's own waiting evaluates it in the page, whose security policy forbids that."""
    end = time.monotonic() + _PATIENCE
    while not page.evaluate(condition):
        assert time.monotonic() < end, f"not so within {_PATIENCE} seconds: {condition}"
        page.wait_for_timeout(20)


def _leaves(url: str) -> bool:
    return not url.startswith(("file:", "data:", "blob:"))


def _open_all(page: Any) -> None:
    """Unfold everything and come by every figure, so that all are drawn."""
    page.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    for panel in page.query_selector_all(".panel"):
        panel.evaluate("panel => panel.scrollIntoView()")  # Playwright's own waits for frames, which may not come
    wait_until(page, "[...document.querySelectorAll('.panel')].every((p) => p.querySelector('.plot svg'))")


def _data(page: Any) -> dict[str, Any]:
    return json.loads(page.evaluate("document.getElementById('data').textContent"))["panels"]


@pytest.mark.parametrize("name", NAMES)
def test_it_is_light_and_opens_at_once(visit, pages, name):
    assert pages[name].stat().st_size < MEGABYTES * 1e6
    page = visit(name)
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})  # processor time, however busy the machine is
    page.reload()
    wait_until(page, "document.querySelector('.plot svg') && document.documentElement.dataset.ready === 'true'")
    measured = {m["name"]: m["value"] for m in session.send("Performance.getMetrics")["metrics"]}
    assert measured["TaskDuration"] < SECONDS


@pytest.mark.parametrize("name", ["random", "trained", "three", "seeds", "empty"])
def test_every_panel_is_drawn_with_all_of_its_points(visit, name):
    page = visit(name)
    _open_all(page)
    for panel in page.query_selector_all(".panel"):
        drawn = _data(page)[panel.get_attribute("data-panel")]
        points = sum(len(layer["x"]) for layer in drawn["layers"] if layer["kind"] == "points")
        bars = sum(len(layer["y"]) for layer in drawn["layers"] if layer["kind"] == "bars")
        assert len(panel.query_selector_all(f".plot {DOTS}")) == points
        assert len(panel.query_selector_all(".plot g[data-mark=rect] rect")) == bars
        assert panel.query_selector(".plot svg").get_attribute("aria-label")
    if name == "empty":
        assert "no verdict" in page.inner_text(".cards")
        return
    for mini in page.query_selector_all(".mini"):
        assert len(mini.query_selector_all("svg *")) > 3


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", NAMES)
def test_nothing_overflows(visit, name, width):
    page = visit(name, width)
    _open_all(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    boxes = "[...document.querySelectorAll('.scroll, .panel, .card, figure')]"
    cut = f"{boxes}.filter((e) => e.scrollWidth > e.clientWidth + 1)"
    assert page.evaluate(f"{cut}.map((e) => e.getAttribute('aria-label') || e.className)") == []


def test_a_table_sorts_by_number_and_filters(visit):
    page = visit("random")
    _open_all(page)
    table = page.locator("#layers table").first
    n = lambda: [int(cell.replace(",", "")) for cell in table.locator("tbody td:nth-child(2)").all_inner_texts()]  # noqa: E731
    assert n() == [800, 40, 120, 3]
    heading = table.locator("thead th", has_text=re.compile("^n$"))
    heading.locator("button").click()
    assert (n(), heading.get_attribute("aria-sort")) == ([3, 40, 120, 800], "ascending")
    heading.locator("button").press("Enter")
    assert (n(), heading.get_attribute("aria-sort")) == ([800, 120, 40, 3], "descending")
    rates = page.locator("#tests .table").first
    rates.locator("input[type=search]").fill("gauss")
    assert rates.locator("tbody tr:visible").count() == 2
    assert rates.locator("[role=status]").inner_text() == "2 of 6 rows"


def test_sections_fold_and_a_link_to_the_evidence_unfolds(visit):
    page = visit("random")
    assert not page.locator("#extended table").first.is_visible()
    page.locator("#extended > summary").click()
    page.locator("#extended > .more > summary").click()
    assert page.locator("#extended table").first.is_visible()
    page.locator("#layers > summary").click()
    assert not page.locator("#panel-layers").is_visible()
    page.get_by_role("link", name="Evidence: noise across minibatches").click()
    page.wait_for_selector("#panel-layers .plot svg")
    assert page.locator("#panel-layers").is_visible()


def _luminance(colour: str) -> float:
    channels = [int(c) / 255 for c in re.findall(r"\d+", colour)[:3]]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def _ground(page: Any) -> float:
    return _luminance(page.evaluate("getComputedStyle(document.body).backgroundColor"))


def test_dark_as_the_system_asks_and_by_choice(visit):
    page = visit("random", scheme="dark")
    assert _ground(page) < 0.05
    page.select_option("#theme", "light")
    assert _ground(page) > 0.8
    page = visit("random", scheme="light")
    assert _ground(page) > 0.8
    page.select_option("#theme", "dark")
    assert _ground(page) < 0.05
    # Colours of quantities have 3:1 with the ground of figures in both.
    for theme in ("light", "dark"):
        page.select_option("#theme", theme)
        paper = _luminance(page.evaluate("getComputedStyle(document.querySelector('figure')).backgroundColor"))
        for swatch in page.query_selector_all(".legend svg [style*=stroke]"):
            line = _luminance(swatch.evaluate("(e) => getComputedStyle(e).stroke"))
            assert (max(line, paper) + 0.05) / (min(line, paper) + 0.05) >= 3


def test_three_runs_lie_over_one_another(visit):
    page = visit("three")
    _open_all(page)
    layers = _data(page)["spectrum"]["layers"]
    assert len({layer["colour"] for layer in layers if layer["kind"] == "points"}) == 3
    stroke = "(gs) => gs.map((g) => getComputedStyle(g.querySelector('path, circle')).stroke)"
    strokes = page.eval_on_selector_all("#panel-spectrum .plot g[data-mark=dot]", stroke)
    assert len(set(strokes)) == 3
    legend = page.locator("#panel-spectrum .legend button")
    before = page.locator(f"#panel-spectrum .plot {DOTS}").count()
    legend.first.click()
    assert legend.first.get_attribute("aria-pressed") == "false"
    hidden = before - page.locator(f"#panel-spectrum .plot {DOTS}").count()
    assert hidden == len(next(layer for layer in layers if layer["kind"] == "points")["x"])
    differs = page.locator(".table", has_text="What differs").first
    assert "settings.iterations" in differs.inner_text()


def test_hover_says_rank_value_and_parameter(visit):
    page = visit("random")
    panel = page.locator("#panel-gradients_dimension")
    panel.scroll_into_view_if_needed()
    page.wait_for_selector(f"#panel-gradients_dimension .plot {DOTS}")
    dot = panel.locator(f".plot {DOTS}").first.bounding_box()
    page.mouse.move(dot["x"] + dot["width"] / 2, dot["y"] + dot["height"] / 2)
    tip = panel.locator("g[aria-label=tip]")
    tip.locator("text").first.wait_for()
    said = tip.text_content()
    assert re.search(r"rank 1\D", said)
    assert re.search(r"[01]\.(weight|bias)\[\d+", said)


def test_zoom_by_dragging_by_button_and_back(visit):
    page = visit("random")
    panel = page.locator("#panel-spectrum")
    panel.scroll_into_view_if_needed()
    page.wait_for_selector(f"#panel-spectrum .plot {DOTS}")
    ticks = lambda: panel.locator("g[data-mark='x-axis tick label']").inner_html()  # noqa: E731
    whole = ticks()
    box = panel.locator(".plot svg").bounding_box()
    page.mouse.move(box["x"] + 150, box["y"] + 60)
    page.mouse.down()
    page.mouse.move(box["x"] + 220, box["y"] + 140, steps=4)
    page.mouse.up()
    assert ticks() != whole
    panel.get_by_role("button", name="Show all").click()
    assert ticks() == whole
    panel.get_by_role("button", name="Zoom in").press("Enter")
    assert ticks() != whole
    panel.locator(".plot svg").dblclick(position={"x": 200, "y": 100})
    assert ticks() == whole


def test_a_figure_is_saved_as_svg_and_as_numbers(visit):
    page = visit("random", scheme="dark")
    panel = page.locator("#panel-spectrum")
    panel.scroll_into_view_if_needed()
    page.wait_for_selector(f"#panel-spectrum .plot {DOTS}")
    with page.expect_download() as saved:
        panel.get_by_role("button", name="Save as SVG").click()
    svg = Path(saved.value.path()).read_text()
    assert svg.startswith("<svg")
    assert "var(" not in svg  # it stands without the style sheet of the page
    assert "covariance" in svg
    with page.expect_download() as saved:
        panel.get_by_role("button", name="Save the numbers").click()
    rows = Path(saved.value.path()).read_text().splitlines()
    assert rows[0] == "series,x,y,y2"
    assert len(rows) == 1 + sum(len(layer["x"]) for layer in _data(page)["spectrum"]["layers"])


def test_settings_and_record_are_copied(visit):
    page = visit("random")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Copy the settings").click()
    page.get_by_role("button", name="Copied").wait_for()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert re.search(r"^Seed\t0$", copied, re.MULTILINE)
    page.locator(".record > summary").click()
    page.get_by_role("button", name="Copy the record").click()
    wait_until(page, "document.querySelectorAll('.copy')[1].textContent === 'Copied'")
    assert json.loads(page.evaluate("navigator.clipboard.readText()"))["settings"]["seed"] == 0


def test_terms_explain_themselves_to_mouse_and_keyboard(visit):
    page = visit("random")
    term = page.locator("a.term[data-term=term-calibrated]").first
    term.hover()
    assert "Lilliefors" in page.locator("#tip").inner_text()
    page.mouse.move(0, 0)
    assert page.locator("#tip").is_hidden()
    term.focus()
    assert page.locator("#tip").is_visible()
    assert term.get_attribute("aria-describedby") == "tip"
    page.keyboard.press("Escape")
    assert page.locator("#tip").is_hidden()
    page = visit("random")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the findings"


@pytest.mark.parametrize(("name", "width", "scheme"), [
    ("random", 1400, "light"), ("random", 390, "dark"), ("trained", 1024, "dark"), ("three", 1400, "light"),
    ("three", 390, "light"), ("hostile", 1024, "light"),
])  # fmt: skip
def test_axe_finds_no_serious_fault(visit, name, width, scheme):
    page = visit(name, width, scheme)
    _open_all(page)
    page.evaluate("scrollTo(0, 0)")
    # The policy of the page lets no other script run: axe comes in by the debugger.
    page.evaluate(Path(_axe_script()).read_text())
    found = page.evaluate("axe.run().then((r) => r.violations.map((v) => [v.impact, v.id, v.nodes[0].html]))")
    assert [v for v in found if v[0] in ("serious", "critical")] == []


def _axe_script() -> Path:
    import axe_playwright_python

    (script,) = Path(axe_playwright_python.__file__).parent.glob("*.js")
    return script


@pytest.mark.parametrize("name", ["random", "three"])
def test_print_has_whole_tables_and_every_section_open(visit, name):
    page = visit(name, 794, "dark")  # A4
    page.emulate_media(media="print")
    assert _ground(page) > 0.95  # paper
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    wait_until(page, "[...document.querySelectorAll('.panel')].every((p) => p.querySelector('.plot svg'))")
    assert page.locator("details:not([open]):not(.record)").count() == 0
    cut = "[...document.querySelectorAll('.scroll')].filter((e) => e.scrollWidth > e.clientWidth + 1)"
    assert page.evaluate(f"{cut}.map((e) => e.getAttribute('aria-label'))") == []
    rows = page.locator("tbody tr")
    assert all(row.bounding_box()["height"] > 5 for row in rows.all())
    assert page.locator(".tools").first.is_hidden()
    printed = page.pdf(format="A4")
    assert printed.count(b"/Type /Page\n") + printed.count(b"/Type /Page ") >= 3
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.locator("details:not([open]):not(.record)").count() > 0


def test_names_are_shown_and_not_run(visit):
    for name in ("hostile", "three"):
        page = visit(name)
        _open_all(page)
        shown = page.evaluate("document.body.textContent")
        assert shown.count("<script>alert(1)</script>") > 3
        assert "\x1b" not in page.evaluate("document.body.innerText")
        assert page.evaluate("document.scripts.length") == 4
        assert page.evaluate("document.title").startswith("gradlaw: ")
