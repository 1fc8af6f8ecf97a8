import json
import os
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest

import published
from unlearnkit import report, results
from unlearnkit.cli import main
from unlearnkit.core.errors import BadValue
from unlearnkit.core.store import digest_of
from unlearnkit.methods import methods
from unlearnkit.methods.contracts import CONTRACTS
from unlearnkit.metrics import metrics
from unlearnkit.report import cards, claims, leaderboard, show, sources, text

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A report of the small project: built once, read by many tests."""
    with pytest.MonkeyPatch.context() as patch:
        home = published.project(tmp_path_factory.mktemp("home"), patch)
        patch.setenv("UNLEARNKIT_CACHE", str(home / "cache"))
        patch.setenv("UNLEARNKIT_RUNS", str(home / "runs"))
        patch.setenv("UNLEARNKIT_TUNED", str(home / "tuned"))
        assert main(["report"]) == 0
    return home / "results" / "report"


@pytest.fixture
def home(tmp_path, monkeypatch):
    return published.project(tmp_path, monkeypatch)


class _Addresses(HTMLParser):
    def __init__(self):
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag, attributes):
        self.addresses += [
            v for k, v in attributes if k in ("href", "src", "srcset", "action", "poster", "data", "style")
        ]


def addresses(page: Path) -> list[str]:
    parser = _Addresses()
    parser.feed(page.read_text())
    return parser.addresses


def test_every_link_stays_in_the_site_and_leads_somewhere(site):
    pages = list(site.rglob("*.html"))
    assert len(pages) > 80
    for page in pages:
        for address in addresses(page):
            path, _, anchor = address.partition("#")
            if address == "data:," or address.startswith("data:image/png;base64,"):
                continue
            assert not re.match(r"[a-z]+:|//|/", path), f"{page.name} asks for {address}"
            there = page if not path else Path(os.path.normpath(page.parent / path))
            assert there.is_file(), f"{page.name} links to {address}, which is not there"
            assert not anchor or f'id="{anchor}"' in there.read_text()


def test_style_and_script_ask_for_nothing(site):
    for file in (site / "static").iterdir():
        content = file.read_text()
        assert "url(" not in content and "@import" not in content and "http" not in content, file.name
        assert not re.search(r"\bfetch\(|XMLHttpRequest|import\(|\.src\s*=", content), file.name


def test_every_page_is_fit_for_all_readers(site):
    for page in site.rglob("*.html"):
        content = page.read_text()
        assert '<html lang="en">' in content and 'name="viewport"' in content and 'class="skip" href="#main"' in content
        assert len(re.findall(r"<h1[ >]", content)) == 1, page.name
        assert all(re.search(r'alt="[^"]+"', tag) for tag in re.findall(r"<img [^>]*>", content) if "base64" not in tag)
        assert content.count('class="box') == content.count('role="region"'), (
            page.name
        )  # what scrolls can be reached by Tab


def test_the_first_page_says_what_the_readme_says(site):
    said = (site / "index.html").read_text()
    assert "<strong>Does it?</strong>" in said and 'src="data/small/F3.png"' in said
    assert "phi of retrain is 3.12 [2.83, 3.40], of scrub 2.12, 2.12" in said and "clean, 0.07" in said
    assert "supported | so far" in said and "abstract" in said
    assert "<!--" not in said and "{" not in said.split("<main")[1].split("<math")[0]
    assert 'href="data/small/T2.csv"' in said and 'href="notebooks/00_small.html"' in said
    assert "uv (example.org/uv)" in said and "a file." in said  # links that would leave the site are text
    assert "<math" in said and "make study" in said and "$$" not in said


def test_a_row_leads_to_its_runs_and_to_the_command_that_repeats_it(site):
    table = pd.read_csv(site / "data" / "small" / "T2.csv")
    i = table[(table.method == "scrub") & (table.targets == "canary") & (table.copies == 5)].index[0]
    assert f'href="T2/{i + 1}.html"' in (site / "results" / "small" / "T2.html").read_text()
    content = (site / "results" / "small" / "T2" / f"{i + 1}.html").read_text()
    runs = published.scores(["canary"], [5], ["scrub"])
    scrub = runs[runs.method == "scrub"]
    assert all(key in content for key in scrub.run.unique()) and not any(
        k in content for k in runs[runs.method == "clean"].run
    )
    assert "unlearnkit reproduce T2 --where method=scrub targets=canary copies=5</code>" in content
    assert "The cache that held these runs is not here" in content and "as stored with its defaults" in content
    (line,) = re.findall(r"<tr><td>phi</td><td></td><td>target</td>(.*?)</tr>", content)
    assert re.findall(r">([\d.]+)<", line) == [f"{v:.2f}" for v in scrub[scrub.group == "target"].value]


def test_the_cache_tells_more_while_it_is_there(home, tmp_path):
    key = published.scores(["canary"], [5], ["scrub"]).run.iloc[-1]
    made = {"date": "2026-01-02T03:04:05", "code": "abc", "python": "3.11", "libraries": {"torch": "2"}}
    made |= {"gpu": None, "processor": "x86", "threads": 1}
    for k, kind, params, parents in (
        (key, "scores", {"name": "scrub"}, ["p" * 20]),
        ("p" * 20, "model", {"lr": 0.07}, []),
    ):
        folder = tmp_path / "cache" / kind
        folder.mkdir(parents=True, exist_ok=True)
        content = {"key": k, "kind": kind, "params": params, "parents": parents, "made": made}
        (folder / f"{k}.json").write_text(json.dumps(content | {"digest": digest_of(content)}))
    page = report.build()
    rows = [p.read_text() for p in (page.parent / "results" / "small" / "T2").iterdir()]
    (page_text,) = [row for row in rows if f"<code>{key}</code> scores" in row]
    assert (
        "<dt>name</dt><dd>scrub</dd>" in page_text
        and "from model" in page_text
        and "<dt>lr</dt><dd>0.07</dd>" in page_text
    )
    assert "code abc, Python 3.11, torch 2; x86, 1 thread" in page_text and "cache that held" not in page_text


def test_an_executed_notebook_is_found_by_what_it_wrote(home, monkeypatch):
    entry = json.loads((home / "results" / "manifest.json").read_text())["T2"]
    folder = Path(os.environ["UNLEARNKIT_RUNS"]) / "00_small" / "k"
    folder.mkdir(parents=True)
    shutil.copy(home / "notebooks" / "00_small.ipynb", folder / "notebook.ipynb")
    outputs = {f"results/{name}": digest for name, digest in entry["files"].items()}
    (folder / "manifest.json").write_text(json.dumps({"outputs": outputs}))
    made = {r.name: r for r in sources.gather()}
    assert made["T2"].executed == folder / "notebook.ipynb" and made["T1"].executed is None
    page = report.build()
    assert "as run</a>" in (page.parent / "results/small/T2.html").read_text()
    assert "as it was run for these results" in (page.parent / "runs/k.html").read_text()


# --- bad input ---


def manifest(home: Path, change) -> None:
    file = home / "results" / "manifest.json"
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda m: m.pop("T2"), "T2: missing: not in the manifest"),
        (
            lambda m: m["T2"]["sources"].update({"unlearnkit.results": "0"}),
            "T2: stale: changed since: unlearnkit.results",
        ),
        (
            lambda m: m["T2"]["files"].update({"tables/T2.csv": "0"}),
            "T2: damaged: tables/T2.csv is not what was written",
        ),
        (lambda m: m["T2"]["made"].update(code="abc"), "small: mixed versions of code: "),
        (lambda m: m["T2"]["made"]["libraries"].update(torch="1.0"), "small: mixed versions of torch: "),
    ],
    ids=["missing", "stale", "damaged", "code", "library"],
)
def test_what_cannot_be_trusted_is_refused_by_name_or_marked(home, change, line, capsys):
    manifest(home, change)
    assert main(["report"]) == 1
    printed = capsys.readouterr().err
    assert line in printed and "--allow-stale" in printed and not (home / "results" / "report").exists()
    assert main(["report", "--allow-stale"]) == 0
    first = (home / "results" / "report" / "index.html").read_text()
    assert "Some results are stale" in first and line.split(": ")[1] in first
    state = line.split(": ")[1]
    if state in ("stale", "damaged", "missing"):
        page = (home / "results" / "report" / "results" / "small" / "T2.html").read_text()
        assert f"<strong>{state.capitalize()}.</strong>" in page


def test_another_folder_is_never_overwritten(home, tmp_path, capsys):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("mine")
    assert main(["report", "--out", str(tmp_path / "mine")]) == 2
    assert (
        "holds something else" in capsys.readouterr().err and (tmp_path / "mine" / "thesis.txt").read_text() == "mine"
    )
    assert (
        main(["report", "--out", str(tmp_path / "site")]) == 0
        and main(["report", "--out", str(tmp_path / "site")]) == 0
    )


def test_a_profile_that_published_nothing_is_said(home, capsys):
    assert main(["report", "--profile", "paper"]) == 2
    assert "has published nothing" in capsys.readouterr().err


def test_results_of_another_profile_stand_beside(home):
    published.publish(published.scores(["random"], [5], shift=1.0), published.into("results/real"))
    page = report.build()
    assert (page.parent / "results" / "real" / "T2" / "1.html").is_file() and (
        page.parent / "data/real/T2.csv"
    ).is_file()
    assert "--profile real" in (page.parent / "results" / "real" / "T2" / "1.html").read_text()
    board = leaderboard.board(sources.gather())
    assert board.rows.profile.unique().tolist() == ["small", "real"] and "profile" in board.varying
    alone = report.build(page.parent, "real")
    assert not (alone.parent / "results" / "small").exists()


def test_a_readme_without_a_title_or_a_project_without_claims_is_an_error(home):
    (home / "results" / "claims.yaml").unlink()
    with pytest.raises(BadValue, match=r"results/claims\.yaml is not there"):
        report.build()
    file = home / "README.md"
    file.write_text(file.read_text().replace("# A study", "", 1))
    with pytest.raises(BadValue, match="title"):
        report.build()


# --- the board, the cards, the text ---


def test_the_board_holds_what_the_tables_hold(home):
    board = leaderboard.board(sources.gather())
    table = pd.read_csv(home / "results" / "tables" / "T2.csv")
    for metric, reference, column in (
        ("avg-gap", "clean", "gap_clean"),
        ("phi", "", "phi"),
        ("residual_influence", "clean", "residual_influence"),
    ):
        for i, row in board.rows.iterrows():
            (wanted,) = [r for _, r in table.iterrows() if all(r[c] == row[c] for c in ("targets", "copies", "method"))]
            interval = board.values[metric, reference][i]
            expected = [wanted[column], wanted[f"{column}_low"], wanted[f"{column}_high"]]
            assert interval == pytest.approx(expected, rel=1e-4, abs=1e-5, nan_ok=True)
            assert row["n_seeds"] == 3 and len(row["runs"]) == 3
    assert board.groups["phi"] == "target" and board.groups["RTE"] == "all"
    assert board.varying == ["targets", "copies"]


def test_texts_stand_on_the_board_beside_images_and_can_be_told_from_them(home):
    texts = published.scores(["random"], [5]).assign(dataset="fictional", perturbation="paraphrase of both")
    texts = texts[texts.metric != "RTE"].assign(run=lambda t: "f" + t.run.str[1:])  # texts have other metrics
    published.publish(
        pd.concat([published.scores(["random"], [5]), texts], ignore_index=True), published.into("results")
    )
    board = leaderboard.board(sources.gather())
    assert {"dataset", "perturbation"} <= set(board.varying)
    is_text = (board.rows.dataset == "fictional").to_numpy()
    assert set(board.rows.method[is_text]) == set(published.LEVELS)
    assert pd.isna(board.values["RTE", "retrain"][is_text]).all()
    assert not pd.isna(board.values["residual_influence", "clean"][is_text]).any()
    page = (report.build().parent / "leaderboard.html").read_text()
    assert "fictional" in page and "paraphrase of both" in page


def test_published_figures_beside_ours_are_a_page_of_the_report(home):
    from unlearnkit.analysis import literature

    scores = published.scores(["tenth"], [0]).assign(protocol="tenth")
    table, runs = literature.published_beside_ours(scores), literature.comparable(scores)
    roots, into = [literature.published_beside_ours], published.into("results/paper")
    results.publish("T10-published", table, parameters=into, runs=runs, roots=roots)
    page = (report.build().parent / "results" / "paper" / "T10-published.html").read_text()
    assert "not run" in page and "99.88" in page and "two sources" in page


def test_a_seed_on_which_a_method_diverged_is_not_counted_as_measured(home):
    scores = published.scores(["canary"], [5])
    gone = (scores.method == "scrub") & (scores.seed == 2)
    diverged = scores[gone].iloc[:1].assign(metric="diverged", reference="", group="all", value=1.0)
    published.publish(pd.concat([scores[~gone], diverged], ignore_index=True), published.into("results"))
    rows = leaderboard.board(sources.gather()).rows.set_index("method")
    assert rows.loc["scrub", ["n_seeds", "n_diverged"]].tolist() == [2, 1] and rows.loc[
        "clean", ["n_seeds", "n_diverged"]
    ].tolist() == [3, 0]


def test_every_registered_thing_has_a_card(site):
    for kind, registry in cards.registries().items():
        for name in registry:
            assert (site / kind.replace(" ", "-") / f"{name}.html").is_file()
    content = (site / "method" / "scrub.html").read_text()
    assert methods["scrub"].info["source"] in content and "5e-05 to 0.005, logarithmic" in content
    assert all(contract.__name__.replace("_", " ") in content for contract in CONTRACTS)
    assert "0.50 (0.50 to 0.50)" in content  # its cost, from the scores
    assert metrics["KLoM"].info["unit"] in (site / "metric" / "KLoM.html").read_text()
    assert "aaaa" not in (site / "dataset" / "digits.html").read_text()
    assert "T1</a>" in (site / "dataset" / "digits.html").read_text()


def test_tests_are_found_by_the_names_that_they_use():
    made = {card.name: card for card in cards.cards("method", cards.registries()["method"])}
    assert ("scrub takes one step per batch and no max pass too many", "test_methods.py") in made["scrub"].tests
    assert not any("scrub takes" in test for test, _ in made["salun"].tests)


def test_numbers_read_well():
    assert (
        show.interval(0.9432, 0.901, 0.982) == "0.94 [0.90, 0.98]" and show.interval(240, 240, 240) == "240 [240, 240]"
    )
    assert show.interval(0.0123, 0.01, 0.02) == "0.012 [0.010, 0.020]" and show.interval(0, 0, 0) == "0.00 [0.00, 0.00]"
    assert show.interval(float("nan"), 1, 2) == "–" and show.interval(0.5, float("nan"), float("nan")) == "0.50"
    assert [show.number(v) for v in (0, 5, 0.5, 0.001234, 1234.5)] == ["0", "5", "0.50", "0.00123", "1.23e+03"]
    assert show.text(0.3) == "0.3" and show.text(float("nan")) == ""


def test_formulas_are_drawn_by_the_browser_itself():
    page = text.notebook_markdown("# T\n\n$z_y$ and $$\\frac{a}{b}$$")
    assert page.count("<math") == 2 and "$" not in page and "<h1>T</h1>" in page


def test_the_first_page_of_the_study_loads_under_a_megabyte():
    home = Path(report.__file__).resolve().parent.parent.parent
    _, said = claims.opening(home / "README.md")
    images = [home / file for file in re.findall(r"!\[.*?\]\((.*?)\)", said, re.S)]
    static = sum(f.stat().st_size for f in (Path(report.__file__).parent / "static").iterdir())
    text = sum((home / name).stat().st_size for name in ("README.md", "results/README.md"))
    assert images and sum(f.stat().st_size for f in images) + 2 * text + 2 * static < 1e6


def test_results_are_found_for_every_profile(home):
    assert list(results.folders()) == [""] and list(results.folders("small")) == [""]
