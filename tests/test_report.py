import io
import json
import os
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import published
from unlearnkit import report, results
from unlearnkit.cli import main
from unlearnkit.core.errors import BadValue
from unlearnkit.core.statistics import CONDITION_COLUMNS
from unlearnkit.core.store import digest_of
from unlearnkit.methods import methods
from unlearnkit.methods.contracts import CONTRACTS
from unlearnkit.metrics import metrics
from unlearnkit.report import cards, claims, columns, gates, leaderboard, pictures, show, sources, text
from unlearnkit.report.site import Site
from unlearnkit.results import records

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
    parser.feed(page.read_text(encoding="utf-8"))
    return parser.addresses


def test_every_link_stays_in_the_site_and_leads_somewhere(site):
    pages = list(site.rglob("*.html"))
    assert len(pages) > 80
    for page in pages:
        for address in addresses(page):
            path, _, anchor = address.partition("#")
            if address == "data:," or re.fullmatch(r"https://arxiv\.org/abs/\d{4}\.\d{4,5}", address):
                continue  # a paper is a link that a reader may follow; nothing is loaded from there
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
        assert all(re.search(r'alt="[^"]+"', tag) for tag in re.findall(r"<img [^>]*>", content))
        assert content.count('class="box') == content.count('role="region"'), (
            page.name
        )  # what scrolls is reached by Tab
        assert "default-src 'none'" in content and not re.search(r"<script(?! src=)|\son\w+=|style=", content), (
            page.name
        )


def test_the_first_page_opens_with_the_findings_of_the_readme(site):
    said = (site / "index.html").read_text()
    assert (
        said.index("<strong>Does it?</strong>")
        < said.index("In one minute</h2>")
        < said.index('src="data/small/F3.png"')
    )
    assert "It is 0.75 [0.70, 0.80]" in said
    assert "<!--" not in said and "{" not in said.split("<main")[1].split("<math")[0]
    assert 'href="data/small/F3.csv"' in said
    assert "uv (example.org/uv)" in said and "a file." in said  # links that would leave the site are text
    assert "<math" in said and "make study" in said and "$$" not in said


def test_claims_have_their_own_page(site):
    said = (site / "claims.html").read_text()
    assert "phi of retrain is 3.12 [2.83, 3.40], of scrub 2.12, 2.12" in said and "clean, 0.07" in said
    assert "supported | so far" in said and "abstract" in said
    assert 'href="data/small/T2.csv"' in said and 'href="notebooks/00_small.html"' in said


def behind(site: Path, table: str = "T2") -> dict:
    """The data of what stands behind the rows of a table's page."""
    content = (site / "results" / "small" / f"{table}.js").read_text()
    assert content.startswith("window.ROWS=") and content.endswith(";\n")
    return json.loads(content[len("window.ROWS=") : -2])


def test_a_row_leads_to_its_runs_and_to_the_command_that_repeats_it(site):
    table = pd.read_csv(site / "data" / "small" / "T2.csv")
    i = table[(table.method == "scrub") & (table.targets == "canary") & (table.copies == 5)].index[0]
    page = (site / "results" / "small" / "T2.html").read_text()
    assert f'<tr id="row={i + 1}">' in page and f'href="#row={i + 1}"' in page and 'src="T2.js"' in page
    assert not (site / "results" / "small" / "T2").exists()  # no page of its own for every row
    data, runs = behind(site), published.scores(["canary"], [5], ["scrub"])
    scrub = runs[runs.method == "scrub"]
    command, numbers, single = data["rows"][i]
    assert command == "unlearnkit reproduce T2 --where method=scrub targets=canary copies=5" and single == 1
    assert {data["keys"][n] for n in numbers} == set(scrub.run)
    place = data["measures"].index(["phi", "", "target"])
    found = {data["seeds"][n]: float(data["scores"][n].split(",")[place]) for n in numbers}
    wanted = scrub[(scrub.metric == "phi") & (scrub.group == "target")].set_index("seed").value.to_dict()
    assert found == pytest.approx(wanted, rel=1e-3)
    assert data["known"] == [] and set(data["runs"]) == {-1}  # the cache is empty
    assert "as stored with its defaults" in page


def test_scores_of_several_methods_are_not_shown_as_those_of_one_seed(home):
    scores = published.scores(["canary"], [5])
    table = scores[["targets", "copies"]].drop_duplicates().assign(run=" ".join(scores.run.unique()))
    roots = [published.publish]
    results.publish("T9", table, parameters=published.into("results"), runs=scores, roots=roots)
    data = behind(report.build().parent, "T9")
    (row,) = data["rows"]
    assert row[2] == 0 and len(row[1]) == scores.run.nunique() and not any(data["scores"])


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
    data = behind(report.build().parent)
    kind, made_in, words, ((parent, number),) = data["known"][data["runs"][data["keys"].index(key)]]
    assert kind == "scores" and [data["words"][w] for w in words] == ["name scrub"] and parent == "p" * 20
    assert data["known"][number][0] == "model" and [data["words"][w] for w in data["known"][number][2]] == ["lr 0.07"]
    assert data["made"][made_in] == "2026-01-02, code abc, Python 3.11, torch 2; x86, 1 thread"


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
    for entry in content.values():
        entry.pop("digest", "")  # as in manifests of before there was one
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
    assert (page.parent / "results" / "real" / "T2.html").is_file() and (page.parent / "data/real/T2.csv").is_file()
    assert "--profile real" in (page.parent / "results" / "real" / "T2.js").read_text()
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


@pytest.mark.parametrize("name", ["../T2", "T2/x", "<b>", "T2.html", "t2", "T2-", ""])
def test_names_of_results_have_one_form(home, name, capsys):
    manifest(home, lambda m: m.update({name: m["T2"]}))
    assert main(["report", "--allow-stale"]) == 2
    assert "is no name of a result" in capsys.readouterr().err and not (home / "results" / "report").exists()


@pytest.mark.parametrize("file", ["../README.md", "tables/../../README.csv", "/etc/hosts", "tables/T2.html"])
def test_no_file_is_read_from_outside_of_the_results(home, file, capsys):
    manifest(home, lambda m: m["T2"]["files"].update({file: "0"}))
    assert main(["report", "--allow-stale"]) == 2
    assert "files are like tables/T2.csv" in capsys.readouterr().err


def test_nothing_is_written_outside_of_the_folder(home, tmp_path):
    made = Site(tmp_path / "site", [])
    with pytest.raises(BadValue, match="outside of its folder"):
        made.put("../x.html", "x")
    assert not (tmp_path / "x.html").exists()


def test_values_are_text_wherever_they_stand(home):
    nasty = "<script>alert(1)</script>"
    scores = published.scores(["random"], [5])
    scores = scores.assign(method=scores.method.replace("scrub", nasty))
    published.publish(scores, published.into("results"))
    first = report.build()
    for file in [*first.parent.rglob("*.html"), first.parent / "results" / "small" / "T2.js"]:
        assert nasty not in file.read_text(), file.name
    assert "&lt;script&gt;" in (first.parent / "results" / "small" / "T2.html").read_text()


def test_outputs_of_notebooks_are_sanitised(home):
    file = home / "notebooks" / "00_small.ipynb"
    content = json.loads(file.read_text())
    bad = '<table border="1" style="x"><tr><td onclick="a()">kept</td></tr></table><script>b()</script><img src="http://c/d">'
    data = {"text/html": [bad], "application/javascript": ["e()"], "image/svg+xml": ["<svg onload='f()'/>"]}
    cell = next(c for c in content["cells"] if c["cell_type"] == "code")
    cell["outputs"] = [{"output_type": "display_data", "metadata": {}, "data": data}]
    content["cells"].append(
        {"cell_type": "markdown", "id": "m", "metadata": {}, "source": "<img src=x onerror=g()> *said*"}
    )
    file.write_text(json.dumps(content))
    page = (report.build().parent / "notebooks" / "00_small.html").read_text()
    assert "<td>kept</td>" in page and "<em>said</em>" in page and "&lt;img src=x onerror=g()&gt;" in page
    assert not any(word in page for word in ("onclick", "b()", "http://c", "e()", "f()", "<img src=x", "border="))


# --- the board, the cards, the text ---


def test_the_board_opens_on_the_commonest_condition_as_a_whole():
    rows = pd.DataFrame([("a", 0), ("a", 5), ("b", 5), ("b", 5), ("a", 9), ("a", 9), ("a", 9)], columns=["x", "copies"])
    values = {("TA", ""): np.zeros((7, 3))}
    board = leaderboard.Board(rows, values, {}, ["x", "copies"])
    assert board.start() == {"x": "a", "copies": 9}
    values["TA", ""][4:6] = np.nan  # rows without a number do not count
    assert board.start() == {"x": "b", "copies": 5}  # where the commonest x is "a", and of "a" no condition has two


def test_a_broken_model_is_not_usable_against_retrain_of_its_own_condition():
    rows = pd.DataFrame({"method": ["retrain", "scrub", "ssd"] * 2, "copies": [0, 0, 0, 5, 5, 5]})
    accuracy = pd.Series([0.95, 0.91, 0.85, 0.60, 0.56, 0.54])
    assert gates.unusable(rows, accuracy).tolist() == [False, False, True, False, False, True]
    assert gates.apart(rows.assign(TA=accuracy)) == [False, False, True, False, False, True]
    own = gates.apart(rows.assign(TA=accuracy, usable=True, moved=[False, False, True] * 2))
    assert own == [False, True, False] * 2  # retrain is a reference, whatever it moved
    assert not any(gates.apart(rows)) and not any(gates.unusable(rows[1:3], accuracy[1:3]))


def test_rows_that_are_not_usable_stand_apart(home):
    scores = published.scores(["canary"], [5])
    accuracy = scores[scores.metric == "RTE"].assign(metric="TA", reference="", group="test")
    accuracy["value"] = accuracy.method.map({"scrub": 0.5}).fillna(0.9)
    published.publish(pd.concat([scores, accuracy], ignore_index=True), published.into("results"))
    site = report.build().parent
    board = (site / "leaderboard.html").read_text().partition("<tbody")[2]
    assert board.index('="reference"') < board.index(">retrain<") < board.index('data-part="apart"')
    assert board.index('data-part="apart"') < board.index(">scrub<") and "0.50 [0.50, 0.50]" in board


def test_tables_of_whole_data_sets_stand_on_the_board_by_their_own_gates(home):
    table = pd.DataFrame({"dataset": "mnist", "augment": "none", "targets": "canary", "copies": 25, "control": "", "TA": 0.9,
                          "method": ["original", "retrain", "scrub", "salun", "ssd"], "n_seeds": 2, "label_given": 0.5,
                          "usable": [True, True, True, True, False], "moved": [False, True, False, True, True]})  # fmt: skip
    for name in ("residual_influence", "residual_influence_rank"):
        table = table.assign(**{name: [1, 0.9, np.nan, 0.4, 0.1], f"{name}_low": 0.0, f"{name}_high": 1.0})
    table["run"] = [f"{i:020x}" for i in range(5)]
    origin = {"parameters": published.into("results/full"), "roots": [published.publish]}
    results.publish("T2", table, runs=table.run, **origin)
    board = leaderboard.board(sources.gather())
    part = board.rows[board.rows.dataset == "mnist"]
    wanted = {"original": False, "retrain": False, "scrub": True, "salun": False, "ssd": True}
    assert dict(zip(part.method, part.unusable)) == wanted
    assert (
        set(part.profile) == {"full"}
        and set(board.rows.profile) == {"small", "full"}
        and board.varying[-1] == "profile"
    )
    influence = board.values["residual_influence", "clean"][part.index]
    assert influence[3].tolist() == [0.4, 0.0, 1.0] and np.isnan(influence[2, 0])
    assert board.values["label_given", ""][part.index, 0].tolist() == [0.5] * 5 and len(board.values["phi", ""]) == len(
        board.rows
    )
    assert leaderboard.board(sources.gather("full")).rows.method.tolist() == table.method.tolist()
    report.build(profile="full")


@pytest.mark.parametrize(
    ("method", "base"),
    [("muda(rank=9)", "muda"), ("expand(scrub)(near=feature top 25)", "expand(scrub)"), ("salun, ascending", "salun"),
     ("expand(scrub)", ""), ("scrub", "")],
)  # fmt: skip
def test_variants_are_told_from_methods(method, base):
    assert leaderboard.variant_of(method) == base


def test_every_column_of_a_published_table_is_explained():
    home = Path(report.__file__).resolve().parents[2] / "results"
    unknown = set()
    for file in [*home.glob("tables/*.*"), *home.glob("*/tables/*.*")]:
        names = list(records.table(file))
        unknown |= {name for name in names if not columns.meaning(name)}
    assert not unknown
    assert columns.meaning("ssim_p5").startswith("structural similarity") and columns.meaning("nonsense_p5") == ""
    assert columns.meaning("gap_clean").endswith("against clean") and "one-shot" not in columns.meaning("TA")


def test_residual_influence_has_a_card_and_the_glossary_has_terms_and_columns(site):
    card = (site / "metric" / "residual_influence.html").read_text()
    assert (
        "s(original) - s(clean)" in card
        and 'href="metric/residual_influence.html"' in (site / "metrics.html").read_text()
    )
    words = (site / "glossary.html").read_text()
    assert "<dt>canary</dt>" in words and "<code>residual_influence</code>" in words


def test_papers_are_links_to_arxiv_and_other_addresses_are_text():
    assert text.linked("MUDA <i>, arXiv 2407.17710, Eq. 8") == (
        'MUDA &lt;i&gt;, <a href="https://arxiv.org/abs/2407.17710" rel="external noreferrer">arXiv 2407.17710</a>, Eq. 8'
    )
    page = text.within(
        text.markdown("[P](https://arxiv.org/abs/2407.17710) and [Q](https://example.org/abs/1)"), lambda _: None
    )
    assert page.count("<a ") == 1 and "Q (example.org/abs/1)" in page


def test_the_search_lists_every_page(site):
    listed = set(re.findall(r'<dt><a href="([^"]+)"', (site / "search.html").read_text()))
    assert listed == {str(p.relative_to(site)) for p in site.rglob("*.html")} - {"search.html"}


def test_pictures_shrink_and_stay_the_same():
    file = Path(report.__file__).resolve().parents[2] / "results" / "figures" / "F3.png"
    small = pictures.small(file.read_bytes())
    before, after = (
        np.asarray(Image.open(io.BytesIO(p)).convert("RGB"), dtype=int) for p in (file.read_bytes(), small)
    )
    assert len(small) < 0.5 * file.stat().st_size and before.shape == after.shape and abs(before - after).mean() < 2
    assert pictures.small(small) == small or len(pictures.small(small)) < len(small)


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


@pytest.mark.parametrize("given", [1.0, 0.5])
def test_what_was_not_learnt_has_no_influence_on_the_board_either(given):
    scores = published.scores(["canary"], [5])
    label = scores[(scores.metric == "influence") & (scores.group == "target")].assign(metric="accuracy")
    label["value"] = label.method.map(lambda name: given if name == "original" else 0.0)
    scores = pd.concat([scores[(scores.metric != "accuracy") | (scores.group != "target")], label])
    named = ["profile", *CONDITION_COLUMNS]
    made = leaderboard._influence(scores.assign(profile="small"), "influence", named)
    found = {key[-1]: mean for key, mean, *_ in made}
    assert {"original", "clean"} <= set(found) and (found["original"] == 1) == (given == 1)
    assert all((mean is None) == (given < 0.95) for mean in found.values())


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
    page = (report.build().parent / "static" / "leaderboard.js").read_text()
    assert "fictional" in page and "paraphrase of both" in page


def test_published_figures_beside_ours_are_a_page_of_the_report(home):
    from unlearnkit.analysis import literature

    scores = published.scores(["tenth"], [0]).assign(protocol="tenth")
    table, runs = literature.published_beside_ours(scores), literature.comparable(scores)
    roots, into = [literature.published_beside_ours], published.into("results/paper")
    results.publish("T10-published", table, parameters=into, runs=runs, roots=roots)
    page = (report.build().parent / "results" / "paper" / "T10-published.html").read_text()
    assert "not run" in page and "99.88" in page and "two sources" in page


def test_numbers_of_which_none_has_an_interval_are_shown_alone():
    table = pd.DataFrame({"ours": ["8.2", "not run"], "ours_low": ["", ""], "ours_high": ["", ""]})
    assert show.cells(table, show.columns(table)[0]) == [["8.2"], ["not run"]]


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
    assert text.linked(methods["scrub"].info["source"]) in content and "5e-05 to 0.005, logarithmic" in content
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
