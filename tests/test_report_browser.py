"""The report in a real browser: with the keyboard, on a phone, without a script."""

import pandas as pd
import pytest

import browser
import published
from unlearnkit import report
from unlearnkit.report import show

pytestmark = pytest.mark.slow

if not browser.program():
    pytest.skip("no Chromium is installed (Debian: apt-get install chromium)", allow_module_level=True)

ROWS = "[...document.querySelectorAll('#board tbody tr:not(.part)')]"
METHODS = f"{ROWS}.map((row) => row.querySelector('th').firstChild.textContent)"
VALUES = f"{ROWS}.map((row) => row.cells[1].textContent)"
LABELLED = "[...document.querySelectorAll('[data-board] label')].find((l) => l.textContent.startsWith('{} ')).control"
CHOOSE = f"((s, v) => {{{{ s.value = v; s.dispatchEvent(new Event('change')); }}}})({LABELLED}, '{{}}')"
TYPE = f"((s, v) => {{{{ s.value = v; s.dispatchEvent(new Event('input')); }}}})({LABELLED}, '{{}}')"
OPTIONS = f"[...{LABELLED}.options].filter((o) => !o.disabled).map((o) => o.value)"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        home = published.project(tmp_path_factory.mktemp("home"), patch)
        scores = published.scores(["random", "canary"], [0, 5])
        scores = scores[
            (scores.targets == "canary") | (scores.copies == 5)
        ]  # random targets without copies lead nowhere
        worse = scores[(scores.method == "scrub") & (scores.targets == "canary") & (scores.copies == 5)]
        more = worse.assign(method="scrub(lr=0.1)", run="e" + worse.run.str[1:])  # makes this the commonest condition
        scores = pd.concat([scores, more], ignore_index=True)
        accuracy = scores[(scores.metric == "RTE") & (scores.method != "clean")]
        accuracy = accuracy.assign(metric="TA", reference="", group="test")
        accuracy["value"] = accuracy.method.map({"retrain": 0.9, "original": 0.95, "scrub": 0.5, "scrub(lr=0.1)": 0.5})
        published.publish(pd.concat([scores, accuracy], ignore_index=True), published.into("results"))
        patch.setenv("UNLEARNKIT_CACHE", str(home / "cache"))
        patch.setenv("UNLEARNKIT_RUNS", str(home / "runs"))
        return report.build().parent


@pytest.fixture(scope="module")
def tab():
    with browser.browser() as page:
        yield page


@pytest.fixture
def page(tab):
    tab.size(1280)
    tab.script(True)
    tab.requested.clear()
    tab.complaints.clear()
    yield tab
    assert not tab.complaints, "a script complained"


def some(site):
    names = ["index.html", "leaderboard.html", "results.html", "notebooks.html", "methods.html", "metrics.html"]
    names += ["claims.html", "glossary.html", "search.html"]
    pages = [site / name for name in names]
    for folder in ("results/small", "notebooks", "method", "metric", "dataset"):
        pages += sorted((site / folder).glob("*.html"))[:3]
    return pages


def test_no_other_host_is_asked(site, page):
    for file in some(site):
        page.open(file)
    assert len(page.requested) > 30
    assert {address.split(":")[0] for address in page.requested} <= {"file", "data"}


@pytest.mark.parametrize("dark", [False, True])
def test_on_a_phone_no_page_is_wider_than_the_screen(site, page, dark):
    page.size(360, 640, dark)
    for file in some(site):
        page.open(file)
        assert page.value("document.documentElement.scrollWidth") <= 360, file.name
    page.open(site / "results" / "small" / "T2.html")
    assert page.value(
        "((b) => b.scrollWidth > b.clientWidth)(document.querySelector('.box'))"
    )  # the table scrolls in it
    colours = page.value("((s) => [s.color, s.backgroundColor])(getComputedStyle(document.body))")
    light = [sum(map(int, c[4:-1].split(","))) for c in colours]
    assert (light[0] > light[1] + 300) if dark else (light[1] > light[0] + 300)


def test_the_board_sorts_by_the_keyboard_alone(site, page):
    page.open(site / "leaderboard.html")
    page.press("Tab")
    assert page.value("document.activeElement.textContent") == "Skip to the content"
    assert page.value("document.activeElement.getBoundingClientRect().left") >= 0  # it shows itself
    page.press("Enter")
    for _ in range(40):
        page.press("Tab")
        if page.value("document.activeElement.closest('th')?.textContent") == "residual influence":
            break
    assert page.value("document.activeElement.tagName") == "BUTTON"
    assert page.value("getComputedStyle(document.activeElement).outlineStyle") == "solid"  # the focus is seen
    assert page.value(METHODS) == ["clean", "retrain", "original", "scrub"]  # references first, what is not usable last
    assert page.value("document.activeElement.closest('th').ariaSort") == "ascending"
    page.press("Enter")
    assert page.value(METHODS) == ["original", "retrain", "clean", "scrub"]
    assert page.value("document.activeElement.closest('th').ariaSort") == "descending"


def test_the_board_opens_on_the_commonest_condition_with_rows(site, page):
    page.open(site / "leaderboard.html")
    assert page.value(LABELLED.format("targets") + ".value") == "canary"
    assert page.value(LABELLED.format("copies") + ".value") == "5"
    assert page.value(METHODS)[0] == "clean" and page.value(VALUES)[0] == "0.00 [0.00, 0.00]"
    heads = page.value("[...document.querySelectorAll('#board thead th')].map((h) => h.textContent)")
    assert heads == ["method", "residual influence", "test accuracy", "cost (x retrain)", "seeds", "runs"]
    assert page.value("[...document.querySelectorAll('#board thead th')].every((h) => h.title)")
    parts = page.value("[...document.querySelectorAll('#board tbody')].map((b) => b.dataset.part)")
    assert parts == ["reference", "apart"]


def test_options_that_lead_nowhere_are_disabled(site, page):
    page.open(site / "leaderboard.html")
    page.value(CHOOSE.format("targets", "random"))
    assert page.value(OPTIONS.format("copies")) == ["*", "5"]
    page.value(CHOOSE.format("targets", "canary"))
    assert page.value(OPTIONS.format("copies")) == ["*", "0", "5"]
    page.value(CHOOSE.format("copies", "0"))
    page.value(CHOOSE.format("targets", "random"))  # which has no rows with 0: the choice moves on
    assert page.value(LABELLED.format("copies") + ".value") == "5" and page.value(f"{ROWS}.length") == 4


def test_the_board_filters_by_data_targets_method_and_a_further_measure(site, page):
    page.open(site / "leaderboard.html")
    for name in ("copies", "targets"):
        page.value(CHOOSE.format(name, "*"))
    assert page.value("document.querySelector('[data-board] output').textContent") == "13 of 13 rows"
    page.value(CHOOSE.format("one more measure", "avg-gap|retrain"))
    assert "against retrain" in page.value("document.querySelector('[data-about]').textContent")
    assert "avg-gap, against retrain" in page.value("document.querySelector('#board thead').textContent")
    page.value(TYPE.format("method", "SCR"))
    assert set(page.value(METHODS)) == {"scrub"}


def test_choices_stand_in_the_address(site, page):
    page.open(site / "leaderboard.html")
    assert page.value("location.hash") == ""
    page.value(CHOOSE.format("copies", "0"))
    page.value(TYPE.format("method", "r"))
    page.value("[...document.querySelectorAll('#board thead button')][2].click()")
    address, shown = page.value("location.href"), page.value(METHODS)
    page.open(site / "index.html")
    page.visit(address)
    assert page.value(METHODS) == shown and page.value(LABELLED.format("copies") + ".value") == "0"
    assert page.value(LABELLED.format("method") + ".value") == "r"
    assert page.value("document.querySelector('#board [aria-sort]').textContent") == "test accuracy"
    page.value("[...document.querySelectorAll('[data-board] button')].find((b) => b.textContent === 'reset').click()")
    assert page.value("location.hash") == "" and page.value(LABELLED.format("copies") + ".value") == "5"


def test_variants_are_folded_below_their_method(site, page):
    page.open(site / "leaderboard.html")
    assert "scrub(lr=0.1)" not in page.value(METHODS)
    assert page.value("document.querySelector('button.fold').textContent") == "+1"
    page.value("document.querySelector('button.fold').click()")
    shown = page.value(METHODS)
    assert shown[shown.index("scrub") + 1] == "scrub(lr=0.1)" and "open=scrub" in page.value("location.hash")


def test_a_choice_is_made_by_the_keyboard(site, page):
    page.open(site / "leaderboard.html")
    page.value(LABELLED.format("copies") + ".focus()")
    before = page.value(VALUES)
    page.press("ArrowUp")
    assert page.value(LABELLED.format("copies") + ".value") == "0" and page.value(VALUES) != before


def test_every_field_has_its_label(site, page):
    for name in ("leaderboard.html", "results/small/T2.html"):
        page.open(site / name)
        assert page.value("document.querySelectorAll('select, input').length") >= 2
        assert page.value("[...document.querySelectorAll('select, input')].every((c) => c.labels.length === 1)")


def test_without_a_script_the_tables_read(site, page):
    page.script(False)
    page.open(site / "leaderboard.html")
    page.script(True)  # the page has run none; these lines do
    assert page.value(f"{ROWS}.length") == 5 and "0.00 [0.00, 0.00]" in page.value(VALUES)  # one condition
    assert "targets canary, copies 5" in page.value("document.querySelector('noscript').textContent")
    assert page.value("document.querySelector('[data-board]').hidden") and not page.value(
        "document.querySelector('th button')"
    )


def test_a_row_of_the_board_leads_to_its_runs(site, page):
    page.open(site / "leaderboard.html")
    page.value(f"{ROWS}[1].querySelector('td a').click()")
    while "T2.html" not in page.value("location.pathname"):
        pass
    while not page.value("document.querySelector('.command')?.textContent"):
        pass
    assert page.value("document.querySelector('.command').textContent").startswith(
        "unlearnkit reproduce T2 --where method=retrain"
    )
    assert page.value("location.hash").startswith("#row=")
    assert page.value("document.querySelector('tr.chosen th').textContent") == "retrain"
    heads = "[...document.querySelectorAll('[data-runs] table th')].map((h) => h.textContent)"
    assert page.value(heads) == ["metric", "reference", "group", "seed 0", "seed 1", "seed 2"]
    page.value("document.querySelector('[data-runs] h2 a').click()")
    while not page.value("document.querySelector('[data-runs]').hidden"):
        pass


def test_head_and_method_stay_in_sight(site, page):
    page.size(360, 640)
    page.open(site / "results" / "small" / "T2.html")
    box = "document.querySelector('table.numbers').closest('.box')"
    page.value(
        f"((b) => {{ b.scrollIntoView(); b.style.maxHeight = '120px'; b.scrollTop = 60; b.scrollLeft = 200; }})({box})"
    )
    left = f"{box}.querySelector('tbody tr:last-child th').getBoundingClientRect().left - {box}.getBoundingClientRect().left"
    top = f"{box}.querySelector('thead th').getBoundingClientRect().top - {box}.getBoundingClientRect().top"
    assert page.value(f"{box}.scrollTop") == 60 and abs(page.value(left)) <= 1 and abs(page.value(top)) <= 2
    assert page.value(f"[...{box}.querySelectorAll('thead th')].every((h) => h.title)")


def test_the_search_finds_methods_metrics_and_pages(site, page):
    page.visit((site / "search.html").as_uri() + "?q=scrub")
    entries = "[...document.querySelectorAll('[data-found] > div')].filter((d) => !d.hidden)"
    shown = f"{entries}.map((d) => d.querySelector('a').textContent)"
    field = "document.querySelector('.search input')"
    look = f"((s, v) => {{{{ s.value = v; s.dispatchEvent(new Event('input')); }}}})({field}, '{{}}')"
    assert page.value(shown)[0] == "scrub" and len(page.value(shown)) < 10
    page.value(look.format("residual INFLUENCE"))
    assert "residual_influence" in page.value(shown)
    page.value(look.format("no such word"))
    assert page.value(shown) == []
    assert page.value("document.querySelector('[data-count]').textContent").startswith("0 of ")


def test_the_script_writes_numbers_as_the_pages_do(site, page):
    page.open(site / "leaderboard.html")
    triples = [(0.9432, 0.901, 0.982), (240, 240, 240), (0.0123, 0.01, 0.02), (0, 0, 0), (-3.0, -5.36, -0.78)]
    triples += [(1234.6, 1000.2, 1500.7), (0.006, -0.006, 0.017), (99.5, 99.0, 100.0)]
    for triple in triples:
        assert page.value(f"interval({', '.join(map(str, triple))})") == show.interval(*triple)
    for value in (0, 5, 0.5, 0.001234, 0.0123, 99.99, 240):
        assert page.value(f"number({value})") == show.number(value)
