"""Where users want things written: folders that they own, places that cannot be written, any locale."""

import ast
import io
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import batches
from data_builders import export as export_module
from data_builders import sources
from data_builders.export import export, load_export
from unlearnkit import cli
from unlearnkit.cli import main
from unlearnkit.core import paths
from unlearnkit.core.artefacts import Spec
from unlearnkit.core.errors import BadValue, StoreError, UnlearnkitError
from unlearnkit.core.own_files import folder_beside, replace_written
from unlearnkit.core.parameters import Parameters
from unlearnkit.core.registry import plugin_names
from unlearnkit.core.store import Store
from unlearnkit.report.site import MARK, Site
from unlearnkit.results import publish, write_whole
from unlearnkit.runner import batch, cluster, execution
from unlearnkit.texts import pretrained
from unlearnkit.tuning import search_space

PROJECT = Path(__file__).parents[1]
READERS = {"read_text", "write_text"}  # of Path: ruff's PLW1514 sees `open` alone


# ---- UTF-8 everywhere


def test_text_files_are_opened_as_utf8():
    bare = [
        f"{file.relative_to(PROJECT)}:{node.lineno}"
        for room in ("unlearnkit", "data_builders")
        for file in (PROJECT / room).rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") in READERS
        if "encoding" not in {keyword.arg for keyword in node.keywords}
    ]
    assert not bare


def test_the_command_line_speaks_utf8_in_an_ascii_locale(monkeypatch, capsys):
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, "ascii"))
    assert main(["list", "methods"]) == 0
    sys.stdout.flush()
    assert len(written.getvalue().decode().splitlines()) > 20


def test_a_name_that_is_no_text_can_be_printed(monkeypatch):
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, "utf-8"))
    main(["list", "methods"])
    print("a\udcff.png", flush=True)
    assert written.getvalue().decode().endswith("a\\udcff.png\n")


# ---- folders that the user owns


def files(folder: Path) -> dict[str, str]:
    return {p.relative_to(folder).as_posix(): p.read_text(encoding="utf-8") for p in folder.rglob("*") if p.is_file()}


def write(pages: dict[str, str], out: Path) -> None:
    with folder_beside(out) as beside:
        for name, content in pages.items():
            (beside / name).parent.mkdir(parents=True, exist_ok=True)
            (beside / name).write_text(content, encoding="utf-8")
        replace_written(out, beside, ".mark")


def test_only_what_was_written_before_is_replaced(tmp_path):
    out = tmp_path / "site"
    write({"index.html": "1", "old/page.html": "1"}, out)
    own = {".git/HEAD": "ref", "CNAME": "example.org", "old/mine.txt": "kept"}
    for name, content in own.items():
        (out / name).parent.mkdir(exist_ok=True)
        (out / name).write_text(content, encoding="utf-8")
    write({"index.html": "2", "new/page.html": "2"}, out)
    found = files(out)
    assert found.pop(".mark").split() == ["index.html", "new/page.html"]
    assert found == own | {"index.html": "2", "new/page.html": "2"}
    write({"index.html": "3"}, out)
    assert not (out / "new").exists(), "an empty folder of ours goes"


def test_a_file_of_the_users_own_is_not_replaced(tmp_path):
    out = tmp_path / "site"
    write({"index.html": "1"}, out)
    (out / "claims.html").write_text("mine", encoding="utf-8")
    with pytest.raises(BadValue, match="site/claims.html is not of an earlier report"):
        write({"index.html": "2", "claims.html": "2"}, out)
    assert files(out) == {"index.html": "1", "claims.html": "mine", ".mark": "index.html\n"}


def test_nothing_is_written_through_a_link(tmp_path):
    out, elsewhere = tmp_path / "site", tmp_path / "elsewhere"
    elsewhere.mkdir()
    write({"index.html": "1"}, out)
    (out / "data").symlink_to(elsewhere)
    with pytest.raises(BadValue, match="data/T1.csv is not of an earlier report"):
        write({"data/T1.csv": "2"}, out)
    assert not list(elsewhere.iterdir())


def test_a_failure_leaves_everything_as_it_was(tmp_path):
    out = tmp_path / "site"
    write({"index.html": "1"}, out)
    before = files(out)
    with pytest.raises(RuntimeError), folder_beside(out) as beside:
        (beside / "index.html").touch()
        raise RuntimeError
    assert files(out) == before and not [p for p in out.iterdir() if p.is_dir()]


def test_a_report_leaves_what_the_user_has_there(tmp_path, monkeypatch):
    out = tmp_path / "site"
    (out / ".git").mkdir(parents=True)
    (out / MARK).touch()  # as version 0.1 left it
    (out / "CNAME").write_text("example.org", encoding="utf-8")
    site = Site(out, [])
    with site.written():
        site.put("index.html", "page")
    assert files(out)["CNAME"] == "example.org" and (out / ".git").is_dir() and files(out)["index.html"] == "page"
    assert "index.html" in files(out)[MARK].split()


def test_an_export_into_an_empty_folder_leaves_the_folder_itself(task, tmp_path):
    out = tmp_path / "here"
    out.mkdir()
    before = out.stat().st_ino
    export(task, out)
    assert out.stat().st_ino == before and load_export(out).digest() == task.digest()
    assert sorted(p.name for p in out.iterdir()) == ["README.md", "pairs.parquet", "samples.parquet", "task.json"]


def test_who_comes_second_to_an_empty_folder_overwrites_nothing(task, tmp_path, monkeypatch):
    def other(*args):
        (tmp_path / "task.json").write_text("theirs", encoding="utf-8")
        return ""

    monkeypatch.setattr(export_module, "card", other)
    with pytest.raises(BadValue, match="exists and is not empty"):
        export(task, tmp_path)
    assert files(tmp_path) == {"task.json": "theirs"}


def test_publishing_deletes_no_table_of_the_users_own(tmp_path):
    (tmp_path / "scores").mkdir()
    (tmp_path / "scores" / "mine.parquet").write_text("mine", encoding="utf-8")
    for value in (1.0, 2.0):
        scores = pd.DataFrame({"run": ["0" * 20], "metric": ["UA"], "value": [value], "seed": [0]})
        publish("T1", scores, parameters=Parameters({"publish": str(tmp_path)}, "x"), runs=scores, roots=[])
    kept = sorted(p.name for p in (tmp_path / "scores").iterdir())
    assert "mine.parquet" in kept and len(kept) == 2


def test_sweeping_the_cache_deletes_no_lock_of_others(tmp_path):
    (tmp_path / "locks").mkdir()
    (tmp_path / "locks" / "poetry.lock").write_text("mine", encoding="utf-8")
    Store(tmp_path).get(Spec("thing", {}, (files,), []), lambda folder: (folder / "f").write_text("1") and None)
    assert (tmp_path / "locks" / "poetry.lock").read_text(encoding="utf-8") == "mine"


# ---- places that cannot be written


@pytest.fixture
def nowhere(tmp_path):
    """Three paths that no user can write to, root included."""
    (tmp_path / "file").touch()
    return [tmp_path / "file" / "x", Path("/proc/nowhere/x"), tmp_path / ("x" * 300)]


def test_an_export_that_cannot_be_written_is_one_line(task, nowhere):
    for place in nowhere:
        with pytest.raises(StoreError, match="cannot write to the export"):
            export(task, place)


def test_a_report_that_cannot_be_written_is_one_line(nowhere):
    for place in nowhere:
        with (
            pytest.raises(StoreError, match="cannot write to the report .* set --out to another folder"),
            Site(place, []).written(),
        ):
            pass


COMMANDS = {"_study": ["study"], "_tune": ["tune", "scrub"], "_list": ["list", "methods"], "_export": ["export", "x"]}
COMMANDS |= {"_verify": ["verify"], "_report": ["report"], "_reproduce": ["reproduce", "T2"], "_readme": ["readme"]}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_says_what_it_cannot_write_in_one_line(name, monkeypatch, capsys, tmp_path):
    def run(given):
        (tmp_path / "file" / "x").touch()

    (tmp_path / "file").touch()
    monkeypatch.setattr(cli, name, run)
    assert main(COMMANDS[name]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "file/x: a part of its path is a file" in said


# ---- ~ in settings and arguments


def test_a_tilde_is_the_home_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    for setting in ("HOME", "CACHE", "DATA", "RUNS", "TUNED"):
        monkeypatch.setenv(f"UNLEARNKIT_{setting}", f"~/{setting} of {{mine}}")
    found = [paths.root(), paths.cache(), paths.data(), paths.runs(), paths.tuned()]
    assert [p.parent for p in found] == [tmp_path] * 5 and found[0].name == "HOME of {mine}"
    assert paths.at("~nobody-of-this-name/x") == Path("~nobody-of-this-name/x")
    monkeypatch.setenv("UNLEARNKIT_PLUGINS", "~/mine.py")
    assert plugin_names() == [str(tmp_path / "mine.py")]


def test_a_tilde_in_the_parameter_publish_is_the_home_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    table = pd.DataFrame({"run": ["0" * 20], "value": [1.0]})
    publish("T1", table, parameters=Parameters({"publish": "~/kept"}, "x"), runs=["0" * 20], roots=[])
    assert (tmp_path / "kept" / "tables" / "T1.csv").is_file()


@pytest.fixture
def project(tmp_path, monkeypatch):
    home = batches.home(tmp_path / "home of {n}", monkeypatch)
    batches.write(home, "1_first")
    batches.grids(home, "profiles: {smoke: {}}\njobs: [{notebook: 1_first}]")
    (tmp_path / "file").touch()
    return home


@pytest.mark.parametrize("setting", ["RUNS", "CACHE", "TUNED"])
def test_a_setting_that_cannot_be_written_is_one_line_before_anything_runs(project, monkeypatch, capsys, setting):
    monkeypatch.setenv(f"UNLEARNKIT_{setting}", str(project.parent / "file" / "x"))
    monkeypatch.setattr(batch, "local_cluster", None)
    monkeypatch.setattr(search_space, "protocol", None)
    assert main(["tune", "scrub"] if setting == "TUNED" else ["study", "--profile", "smoke"]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "a part of its path is a file" in said and f"UNLEARNKIT_{setting}" in said


# ---- machines


@pytest.mark.parametrize("error", [FileNotFoundError(2, "No such file or directory"), ImportError("no sem_open")])
def test_missing_shared_memory_is_one_line(monkeypatch, error):
    def lock(context):
        raise error

    monkeypatch.setattr("multiprocessing.context.BaseContext.Lock", lock)
    message = r"workers share memory, .* \((No such file or directory|no sem_open)\): mount /dev/shm writable"
    with pytest.raises(UnlearnkitError, match=message):
        cluster.check_shared_memory()


def test_workers_that_do_not_start_are_one_line(monkeypatch):
    def fail(**settings):
        raise RuntimeError("Nanny failed to start.") from OSError(12, "Cannot allocate\nmemory")

    monkeypatch.setattr("distributed.LocalCluster", fail)
    message = r"the 3 workers could not be started: OSError: \[Errno 12\] Cannot allocate memory"
    with pytest.raises(UnlearnkitError, match=message), cluster.local_cluster(3):
        pass


def test_papermill_takes_a_path_with_braces_and_spaces_as_it_is(tmp_path):
    from papermill.parameterize import parameterize_path

    path = tmp_path / "a {n} b" / "{}" / "x.ipynb"
    assert parameterize_path(execution._as_it_is(path), {"n": 3}) == str(path)


def test_a_tilde_in_the_name_of_data_and_models_is_the_home_folder(monkeypatch, tmp_path, task):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}", encoding="utf-8")
    assert list(pretrained.fingerprint("hf:~/model")) == ["config.json"]
    export(task, "~/task")
    assert load_export("~/task").digest() == task.digest() and (tmp_path / "task").is_dir()
    np.savez(tmp_path / "mine.npz", x=np.zeros((4, 8, 8), np.uint8), y=[0, 0, 1, 1])
    assert len(sources.load("~/mine.npz").x) == 2
    assert paths.dataset_id("~/mine.npz") == paths.dataset_id(str(tmp_path / "mine.npz"))


def test_a_file_that_is_replaced_stays_behind_its_link_and_keeps_its_mode(tmp_path):
    (tmp_path / "real.md").write_text("1", encoding="utf-8")
    (tmp_path / "real.md").chmod(0o600)
    (tmp_path / "link.md").symlink_to(tmp_path / "real.md")
    write_whole(tmp_path / "link.md", lambda path: path.write_text("2", encoding="utf-8"))
    assert (tmp_path / "link.md").is_symlink() and (tmp_path / "real.md").read_text(encoding="utf-8") == "2"
    assert (tmp_path / "real.md").stat().st_mode & 0o777 == 0o600
