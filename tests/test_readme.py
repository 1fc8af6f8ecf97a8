import ast
import io
import json
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import torch
from torch import nn

import batches
import published
from unlearnkit.cli import main
from unlearnkit.core.errors import BadValue
from unlearnkit.listing import LISTS
from unlearnkit.results import claims, numbers, readme

pytestmark = pytest.mark.slow

COMMAND = (sys.executable, "-m", "unlearnkit.cli")
HOME = Path(__file__).resolve().parent.parent
README = (HOME / "README.md").read_text()
PROSE = sorted({file for pattern in ("*.md", "*/*.md", "*/*/*.md") for file in HOME.glob(pattern)})
PROSE = [file for file in PROSE if not any(p.startswith(".") for p in file.relative_to(HOME).parts)]
LINK = re.compile(r"\]\(([^)\s]+)\)")

# --- the project's own prose ---


def committed(folder: Path) -> Path | None:
    """The project's prose and claims as they are here, with the tables and figures of the last commit; None without git.

    Digits move a little between processors: after `make study` on another kind the tables here are of that machine, and the
    prose still tells what is committed.
    """
    archive = subprocess.run(["git", "-C", HOME, "archive", "HEAD", "results"], capture_output=True)
    if archive.returncode:
        return None
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as files:
        files.extractall(folder, filter="data")
    for file in (*readme.files(HOME), HOME / "results" / "claims.yaml"):
        (there := folder / file.relative_to(HOME)).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, there)
    return folder


def differences(root: Path) -> list[str]:
    files = readme.files(root)
    assert {root / "README.md", root / "results" / "README.md"} <= set(files)
    return [f"{file.name}: {mark}: {now} -> {then}" for file in files for mark, now, then in readme.stale(file, root)]


def test_the_prose_and_the_results_agree(tmp_path):
    """All of it with the committed results, or all of it with those that are here, which are new and not committed yet.

    `unlearnkit readme --write` fills the numbers in, and renders the claims.
    """
    if wrong := differences(HOME):
        root = committed(tmp_path)
        if root is None:
            pytest.skip(
                "the results here are others than the prose tells, and without git the committed ones are unknown"
            )
        wrong = differences(root)
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(("of_the_table", "of_the_prose"), [(True, False), (False, True)])
def test_results_of_another_processor_are_no_error_in_the_prose_and_a_wrong_number_is(
    tmp_path, monkeypatch, of_the_table, of_the_prose
):
    """In a repository of its own: the last digit of every number moves, in the tables or in the prose."""
    monkeypatch.setattr(sys.modules[__name__], "HOME", project := published.project(tmp_path / "here", monkeypatch))
    assert main(["readme", "--write"]) == 0
    for command in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "as published"]):
        subprocess.run(["git", "-c", "user.name=n", "-c", "user.email=e@x.org", "-C", project, *command], check=True)
    if of_the_table:
        published.publish(published.scores(["random", "canary"], [0, 5], shift=0.01), published.into("results"))
    if of_the_prose:
        file = project / "README.md"
        file.write_text(file.read_text().replace("3.12 [", "3.13 ["))
    assert main(["readme"]) == 1  # the command always compares with the results as they are
    assert bool(differences(committed(tmp_path / "committed"))) == of_the_prose


def test_the_readme_is_short_enough_to_be_read():
    assert len(README.splitlines()) <= 200 and len(README.encode()) <= 16_000
    assert max(len(line) for line in re.findall(r"```.*?```", README, re.S) for line in line.splitlines()) < 80
    tables = re.findall(r"(?:^\|.*\n)+", README, re.M)
    assert all(line.count("|") <= 5 for table in tables for line in table.replace(r"\|", "").splitlines())  # 4 columns
    long = [line for line in README.splitlines() if line.startswith("|") and len(LINK.sub("]", line)) > 160]
    assert not long, long
    assert 10 <= sum(bool(c.short) for c in claims.load(HOME / "results").claims) <= 15


def test_the_readme_has_its_parts_in_order():
    wanted = ["In one minute", "Your own model", "Quick start", "The setting", "What is here", "The notebooks"]
    wanted += [
        "What we find",
        "A method of your own",
        "Commands",
        "How the numbers stay honest",
        "Map of the code",
        "Limits",
        "Cite",
    ]
    assert re.findall(r"^## (.*)", README, re.M) == wanted
    assert len(re.findall(r"^- \*\*", README.split("## In one minute")[1].split("##")[0], re.M)) == 7


@pytest.mark.parametrize("file", PROSE, ids=lambda file: file.relative_to(HOME).as_posix())
def test_every_link_leads_somewhere(file):
    text = re.sub(r"```.*?```", "", file.read_text(), flags=re.S)
    addresses = [a.partition("#")[0] for a in LINK.findall(text) if "://" not in a]
    missing = [a for a in addresses if a and not (file.parent / a).exists()]
    assert not missing, missing


def test_pictures_have_a_text_for_those_who_do_not_see_them():
    pictures = [alt for file in PROSE for alt in re.findall(r"!\[(.*?)\]\(", file.read_text(), re.S)]
    assert pictures and all(len(alt) > 30 for alt in pictures)


def test_every_notebook_is_listed():
    for stem in (path.stem for path in HOME.glob("notebooks/*.ipynb")):
        assert f"(notebooks/{stem}.ipynb)" in README
        assert f"({stem}.ipynb)" in (HOME / "notebooks" / "README.md").read_text()


def _list(kinds) -> None:
    for what in kinds:
        main(["list", what, "--json"])
        print("---")


def test_the_counts_are_those_of_the_registries():
    """In a process of its own: other tests register things of theirs."""
    rows = dict(re.findall(r"^\| (\w+) \| (.*?) \|", README.split("## What is here")[1].split("##")[0], re.M))
    lists = [json.loads(text) for text in batches.Started(_list, LISTS).wait(120).split("---\n")[:-1]]
    counts = {what: sum("(METHOD)" not in row["name"] for row in rows) for what, rows in zip(LISTS, lists, strict=True)}
    for what, text in rows.items():
        assert text.split(",")[0].split(" ")[0] == str(counts[what]), what
    assert (
        f"and {counts['rankers']} rankers" in rows["metrics"]
        and f"{counts['perturbations']} perturbations" in rows["datasets"]
    )


def test_every_metric_is_in_the_folder_readme():
    from unlearnkit.metrics import metrics

    text = (HOME / "unlearnkit" / "metrics" / "README.md").read_text()
    assert not [name for name in metrics if f"[{name}]" not in text and f"`{name}`" not in text]


def test_the_ten_questions_name_paths_that_exist():
    text = (HOME / "unlearnkit" / "README.md").read_text().split("## Ten questions")[1]
    assert len(re.findall(r"^\*\*.*\?\*\*$", text, re.M)) == 10
    paths = re.findall(r"`([\w.-]+/[\w./-]+)`", text)
    assert len(paths) > 20 and not [path for path in paths if not (HOME / path).exists()]


def test_the_map_names_every_room():
    rooms = {path.parent.name for path in HOME.glob("unlearnkit/*/__init__.py")}
    for text in (README, (HOME / "unlearnkit" / "README.md").read_text()):
        assert not [room for room in rooms if f"[{room}](" not in text]


def test_the_examples_run(capsys):
    """A model of one's own is unlearned, and a method of one's own is registered, as the README shows."""
    from data_builders.task import Samples
    from unlearnkit.images.request import Request
    from unlearnkit.methods import methods

    torch.manual_seed(0)
    blocks = re.findall(r"```python\n(.*?)```", README, re.S)
    assert len(blocks) == 2 and all(len(block.splitlines()) <= 11 for block in blocks)
    gone, x, y = torch.arange(60) < 6, torch.rand(80, 1, 8, 8), torch.arange(80) % 10
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 10))
    names = {"model": model, "x": x[:60], "y": y[:60], "gone": gone, "test": (x[60:], y[60:])}
    try:
        for block in blocks:
            ast.parse(block)
            exec(block, names)
        assert type(names["unlearned"]) is nn.Sequential and names["unlearned"] is not model
        assert list(names["copies"].columns[:3]) == ["target", "retained", "similarity"]
        assert {"forgot?", "usable?", "moved?", "near retrain?", "not said"} == set(names["table"].index)
        assert "near retrain?" in capsys.readouterr().out
        samples = Samples(x[:6], y[:6]), Samples(x[6:], y[6:])
        request = Request(*samples, n_classes=10)
        after = methods["ascend"](model, request, seed=0)
        assert request.losses(after, request.forget).mean() > request.losses(model, request.forget).mean()
    finally:
        methods._entries.pop("ascend", None)


# --- queries ---


@pytest.fixture
def home(tmp_path, monkeypatch):
    return published.project(tmp_path, monkeypatch)


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("T2 phi:mean targets=canary method=scrub copies=5", "2.12"),
        ("T2 phi:mean:4 targets=canary method=scrub copies=5", "2.1167"),
        ("T2 phi:list:1 targets=canary method=scrub", "2.1, 2.1"),
        ("T2 phi:list:3 targets=canary method=scrub copies=0,5", "2.067, 2.117"),
        ("T2 count phi>3 method!=original", "4"),
        ("T2 count phi<3 targets=canary", "4"),
        ("T2 phi:max:1 targets=canary method!=original,retrain copies=5", "2.1 [1.8, 2.4]"),
        ("T2 method targets=canary copies=5 phi>4", "original"),
        ("T2 phi:mean copies=5 method=clean", "2 rows fit"),
        ("T2 count perturbation=none", "0"),
        ("T2 phi", "16 rows fit"),
        ("T2 phy method=scrub", "no column 'phy'"),
        ("T2 phi metod=scrub", "'metod=scrub' is no condition"),
        ("T9 phi method=scrub", "there is no T9"),
        ("T2", "should name a table, a column and a row"),
    ],
)
def test_queries(home, query, text):
    if (text[0].isdigit() and "fit" not in text) or text == "original":
        assert numbers.number(query) == text
    else:
        with pytest.raises(BadValue, match=text):
            numbers.number(query)


def test_a_value_that_holds_commas_is_one_value(tmp_path):
    (tmp_path / "tables").mkdir()
    rows = 'method,phi\n"scrub, once",1.0\n"scrub(epochs=2, lr=0.1)",2.0\nscrub,3.0\n'
    (tmp_path / "tables" / "T2.csv").write_text(rows)
    asked = ("method=scrub, once", "method=scrub(epochs=2, lr=0.1)", "method=scrub,retrain")
    assert [numbers.number(f"T2 phi:0 '{row}'", tmp_path) for row in asked] == ["1", "2", "3"]


# --- marks ---


def test_numbers_are_checked_then_filled(home, capsys):
    before = (home / "README.md").read_text()
    assert main(["readme"]) == 1
    said = capsys.readouterr().out
    assert "README.md: stays: 0.75 [0.70, 0.80] -> 3.12 [2.83, 3.40]" in said
    assert "README.md: findings: rendered anew" in said and "results/README.md: claims: rendered anew" in said
    assert main(["readme", "--write"]) == 0 and main(["readme"]) == 0
    after = (home / "README.md").read_text()
    bare = [readme.BLOCK.sub("", readme.MARKED.sub("", text)) for text in (before, after)]
    assert bare[0] == bare[1] and "0.75 [0.70" not in after  # the text around stays
    assert (
        "| It stays, in short | supported \\| so far | phi: 3.12 [2.83, 3.40], n = 2 ([00](notebooks/00_small.ipynb)) |"
        in after
    )
    full = (home / "results" / "README.md").read_text()
    assert "phi of retrain is 3.12 [2.83, 3.40], of scrub 2.12, 2.12" in full
    assert "[T2](tables/T2.csv), [F3](figures/F3.png), [00](../notebooks/00_small.ipynb)" in full


def test_a_mark_may_be_a_query_a_name_or_a_claim_and_stand_in_a_notebook(home):
    query = "T2 phi:mean targets=canary method=scrub copies=5"
    assert readme.told(query) == "2.12" and readme.told("left") == readme.told("stays") == "3.12 [2.83, 3.40]"
    file = home / "notebooks" / "00_small.ipynb"
    content = file.read_text()
    file.write_text(content.replace("# Does a", f"<!--n:{query}-->2.00<!--/n--> # Does a"))
    assert file in readme.files() and readme.stale(file) == [(query, "2.00", "2.12")]
    readme.fill(file)
    assert file.read_text() == content.replace("# Does a", f"<!--n:{query}-->2.12<!--/n--> # Does a")


@pytest.mark.parametrize(
    ("mark", "message"),
    [("lift", "unknown number of results/claims.yaml 'lift'. Did you mean 'left'"), ("T2 phi", "16 rows fit, not one")],
)
def test_a_mark_that_nothing_fills_is_named(home, capsys, mark, message):
    file = home / "README.md"
    file.write_text(file.read_text().replace("<!--n:stays-->", f"<!--n:{mark}-->"))
    assert main(["readme"]) == 2
    said = capsys.readouterr().err
    assert f"<!--n:{mark}-->" in said and message in said and said.count("\n") == 1


# --- claims.yaml ---


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("numbers:\n", "numbers: [\n", "is not valid YAML in line"),
        ("claims:\n", "claim:\n", "must have two parts, `numbers` and `claims`"),
        ("  left: T2 phi:max method=retrain copies=5", "  left: 3", "`numbers` must map names to queries"),
        ("  verdict: supported | so far\n", "", "claim stays has no verdict"),
        ("  verdict: supported | so far", "  verdict: true of all", "the verdict must begin with one of: supported"),
        ("  paper: P1", "  paper: P4", "claim stays: paper must be one of P1, P2, P3, synthesis, got 'P4'"),
        ("  basis: abstract", "  basis: hearsay", "claim stays: basis must be one of"),
        ("  measure: phi", "  measure: phi\n  mesure: phi", "has an unknown field mesure"),
        ("- id: stays", "- id: left", "this name stands twice: left"),
        ("  results: [T2, F3]", "  results: T2", "results must be a list"),
        ("phi of retrain is {left}", "{lift}", "stays: {lift}: unknown number"),
        ("phi of retrain is {left}", "{T2 phy method=scrub}", "stays: {T2 phy method=scrub}: no column 'phy'"),
    ],
)
def test_damaged_claims_are_one_clear_line(home, capsys, before, after, message):
    file = home / "results" / "claims.yaml"
    assert before in file.read_text()
    file.write_text(file.read_text().replace(before, after, 1))
    assert main(["readme"]) == 2
    said = capsys.readouterr().err
    assert "results/claims.yaml" in said and message in said and said.count("\n") == 1


def test_claims_of_the_study_are_attributed_with_care():
    """What a paper is said to claim has a basis; numbers that are measured say against what they are held."""
    found = claims.load(HOME / "results")
    assert {c.paper for c in found.claims} == set(claims.PAPERS) and len(found.claims) >= 35
    assert all((HOME / "notebooks" / f"{c.notebook}.ipynb").is_file() for c in found.claims)
    assert all(c.contrast and c.full and c.results for c in found.claims)
