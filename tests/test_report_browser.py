"""The report in a real browser: with the keyboard, on a phone, without a script."""

import pytest

import browser
import published
from unlearnkit import report
from unlearnkit.report import show

pytestmark = pytest.mark.slow

if not browser.program():
    pytest.skip("no Chromium is installed (Debian: apt-get install chromium)", allow_module_level=True)

ROWS = "[...document.querySelectorAll('#board tbody tr')].filter((row) => !row.hidden)"
METHODS = f"{ROWS}.map((row) => row.cells[0].textContent)"
VALUES = f"{ROWS}.map((row) => row.cells[1].textContent)"
CHOOSE = "((s, v) => {{ s.value = v; s.dispatchEvent(new Event('change')); }})(document.forms[0].{}, '{}')"
LABELLED = "[...document.querySelectorAll('label')].find((l) => l.textContent.startsWith('{} ')).control"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        home = published.project(tmp_path_factory.mktemp("home"), patch)
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
    pages = [site / name for name in names]
    for folder in ("results/small", "results/small/T2", "notebooks", "method", "metric", "dataset"):
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
        if page.value("document.activeElement.closest('th')?.textContent") == "residual_influence":
            break
    assert page.value("document.activeElement.tagName") == "BUTTON"
    assert page.value("getComputedStyle(document.activeElement).outlineStyle") == "solid"  # the focus is seen
    up = page.value(METHODS)
    assert up[0] == "clean" and page.value("document.activeElement.closest('th').ariaSort") == "ascending"
    page.press("Enter")
    assert page.value(METHODS) == up[::-1]
    assert page.value("document.activeElement.closest('th').ariaSort") == "descending"


def test_the_board_filters_by_data_targets_reference_and_metric(site, page):
    page.open(site / "leaderboard.html")
    assert page.value(f"{ROWS}.length") == 4  # one condition
    assert page.value(METHODS)[0] == "clean" and page.value(VALUES)[0] == "0.00 [0.00, 0.00]"
    for name in ("copies", "targets"):
        page.value(f"((s) => {{ s.value = '*'; s.dispatchEvent(new Event('change')); }})({LABELLED.format(name)})")
    assert page.value(f"{ROWS}.length") == 16
    assert page.value("document.querySelector('output').textContent") == "16 of 16 rows"
    page.value(CHOOSE.format("metric", "avg-gap"))
    assert page.value("document.forms[0].reference.value") == "clean"
    assert page.value(METHODS)[:4] == ["clean"] * 4 and page.value(METHODS)[-1] == "original"
    page.value(CHOOSE.format("reference", "retrain"))
    assert page.value(METHODS)[:4] == ["retrain"] * 4 and page.value(METHODS)[-1] == "clean"
    assert "against retrain" in page.value("document.querySelector('[data-about]').textContent")
    page.value(f"((s) => {{ s.value = 'SCR'; s.dispatchEvent(new Event('input')); }})({LABELLED.format('method')})")
    assert set(page.value(METHODS)) == {"scrub"}


def test_a_choice_is_made_by_the_keyboard(site, page):
    page.open(site / "leaderboard.html")
    page.value("document.forms[0].metric.focus()")
    before = page.value(VALUES)
    page.press("ArrowDown", 2)
    assert page.value("document.forms[0].metric.value") != "residual_influence" and page.value(VALUES) != before


def test_every_field_has_its_label(site, page):
    for name in ("leaderboard.html", "results/small/T2.html"):
        page.open(site / name)
        assert page.value("document.querySelectorAll('select, input').length") >= 2
        assert page.value("[...document.querySelectorAll('select, input')].every((c) => c.labels.length === 1)")


def test_without_a_script_the_tables_read(site, page):
    page.script(False)
    page.open(site / "leaderboard.html")
    page.script(True)  # the page has run none; these lines do
    assert page.value(f"{ROWS}.length") == 16 and "0.00 [0.00, 0.00]" in page.value(VALUES)
    assert page.value("document.querySelector('[data-board]').hidden") and not page.value(
        "document.querySelector('th button')"
    )


def test_a_row_of_the_board_leads_to_its_runs(site, page):
    page.open(site / "leaderboard.html")
    page.value(f"{ROWS}[1].querySelector('td a').click()")
    while "T2/" not in page.value("location.pathname"):
        pass
    while not page.value("document.querySelector('.command')?.textContent"):
        pass
    assert page.value("document.querySelector('.command').textContent").startswith("unlearnkit reproduce T2 --where")


def test_the_script_writes_numbers_as_the_pages_do(site, page):
    page.open(site / "leaderboard.html")
    triples = [(0.9432, 0.901, 0.982), (240, 240, 240), (0.0123, 0.01, 0.02), (0, 0, 0), (-3.0, -5.36, -0.78)]
    triples += [(1234.6, 1000.2, 1500.7), (0.006, -0.006, 0.017), (99.5, 99.0, 100.0)]
    for triple in triples:
        assert page.value(f"interval({', '.join(map(str, triple))})") == show.interval(*triple)
    for value in (0, 5, 0.5, 0.001234, 0.0123, 99.99, 240):
        assert page.value(f"number({value})") == show.number(value)
