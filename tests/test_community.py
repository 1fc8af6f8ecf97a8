"""What others bring: templates of a method and a metric, rows of the leaderboard, links that start the notebooks."""

import re
import shutil
import tomllib

import pytest
import yaml

import published
from unlearnkit.analysis.tables import dose_response_table
from unlearnkit.core import paths, registry
from unlearnkit.core.errors import BadValue
from unlearnkit.images.config import config_grid
from unlearnkit.methods import contracts as method_contracts
from unlearnkit.methods import methods
from unlearnkit.metrics import contracts as metric_contracts
from unlearnkit.metrics import metrics
from unlearnkit.report import board_page
from unlearnkit.results import community

GITHUB = paths.root() / ".github"
GOOD = {
    "method": "my_method",
    "dataset": "digits",
    "condition": "canary, 25 near-duplicates",
    "config": "0123456789ab",
    "code": "0123456",
    "n": 5,
    "numbers": {"residual_influence": [0.93, 0.85, 1.01]},
    "by": "A. Author",
    "link": "https://example.org/code",
}


@pytest.fixture
def templates(tmp_path, monkeypatch):
    """Copies of both templates, as plugins; what they register is gone afterwards."""
    before = [(r, {name: r[name] for name in r}) for r in (methods, metrics)]
    files = [shutil.copy(GITHUB / f"{kind}_template.py", tmp_path / f"my_{kind}.py") for kind in ("method", "metric")]
    monkeypatch.setenv("UNLEARNKIT_PLUGINS", ",".join(map(str, files)))
    registry.load_plugins()
    yield
    for r, entries in before:
        r._entries.clear()
        r._entries.update(entries)


def test_the_templates_are_listed_and_keep_all_contracts(templates, models, request_, all_outputs, capsys):
    from unlearnkit import listing

    for registered, name in ((methods, "my_method"), (metrics, "my_metric")):
        assert name in registered and "A. Author 2026" in registered[name].info["source"] and registered[name].summary
    listing.show("method", "my_method")
    listing.show("metrics")
    assert re.search(r"(?s)my_method.*forget_weight.*\n.*my_metric", capsys.readouterr().out)
    held = method_contracts.check(methods["my_method"], models["original"], request_)
    held |= metric_contracts.check(metrics["my_metric"], all_outputs)
    assert set(held.values()) == {"holds"} and len(held) > 10


def test_the_communitys_leaderboard_is_one():
    assert isinstance(community.rows(), list)  # or it says which row is wrong


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"numbers": {"residual_influence": [0.93, 0.95, 1.01]}}, "0.numbers.residual_influence: the mean 0.93 is not"),
        ({"numbers": {"TA": [0.9, 0.8]}}, r"0.numbers.TA: \[mean, low, high\] of a 95% interval are needed"),
        ({"numbers": {"accuracy": [0.9, 0.8, 1]}}, "0.numbers: 'accuracy' is not one of"),
        ({"numbers": {"TA": [float("nan")] * 3}}, "0.numbers.TA: the mean nan is not between"),
        ({"n": 1}, "0.n: the number of seeds is needed, at least 2: one has no interval, got 1"),
        ({"link": "javascript:alert(1)"}, "0.link: an address is needed that begins with https://"),
        ({"code": "0123456-dirty"}, "0.code: a commit of this project is needed"),
        ({"config": 123456789012}, "0.config: a config's digest is needed"),
        ({"by": ""}, "0.by: text of at most 200 characters is needed"),
        ({"note": "x"}, "0: Additional properties are not allowed"),
        ({"method": None}, "0.method: text of at most 200"),
    ],
)  # fmt: skip
def test_a_bad_row_is_one_line(tmp_path, change, message):
    (file := tmp_path / "c.yaml").write_text(yaml.safe_dump([GOOD | change]))
    with pytest.raises(BadValue, match=f"results/community.yaml: {message}") as caught:
        community.rows(file)
    assert "\n" not in str(caught.value)


def test_rows_that_are_missing_parts_or_stand_twice(tmp_path):
    file = tmp_path / "c.yaml"
    assert community.rows(file) == []  # no file, no rows
    for name in GOOD:
        file.write_text(yaml.safe_dump([GOOD, {k: v for k, v in GOOD.items() if k != name}]))
        with pytest.raises(BadValue, match=f"1: '{name}' is a required property"):
            community.rows(file)
    file.write_text(yaml.safe_dump([GOOD, GOOD | {"n": 3}]))
    with pytest.raises(BadValue, match="1: row 0 has the same method, config and code"):
        community.rows(file)
    file.write_text("- {method: [")
    with pytest.raises(BadValue, match="community.yaml is not valid YAML in line 1"):
        community.rows(file)


def test_a_row_is_made_from_a_table_and_is_valid(tmp_path, monkeypatch):
    table = dose_response_table(published.scores(["canary"], [5]))
    configs = config_grid(seeds=3, targets="canary", copies=5, train_size=64)
    monkeypatch.setattr(community.code_digest, "version", lambda: "0123456789ab")
    given = {"by": "A. Author", "link": "https://example.org"}
    (tmp_path / "c.yaml").write_text(community.entry(table, configs, "scrub", **given))
    (row,) = community.rows(tmp_path / "c.yaml")
    assert row["n"] == 3 and row["config"] == community.config_digest(configs[2]) and row["dataset"] == "digits"
    low, high = row["numbers"]["residual_influence"][1:]
    assert 0 < low <= high < 1
    with pytest.raises(BadValue, match="one condition and one row of 'scurb' are needed, got 1 and 0"):
        community.entry(table, configs, "scurb", **given)
    with pytest.raises(BadValue, match="got 2 and 1"):
        community.entry(table, config_grid(seeds=1, targets="canary", copies=[0, 5]), "scrub", **given)


def test_the_report_shows_the_communitys_rows(monkeypatch):
    monkeypatch.setattr(community, "rows", lambda: [GOOD])
    (row,) = board_page._others()
    assert row["numbers"]["residual_influence"].split() == ["0.93", "[0.85,", "1.01]"] and row["by"] == "A. Author"


def test_the_guide_names_only_what_is_there():
    guide = (GITHUB / "CONTRIBUTING.md").read_text()
    for target in re.findall(r"\]\(([^)#:]+)\)", guide):
        assert (GITHUB / target).exists(), target
    for form in (GITHUB / "ISSUE_TEMPLATE").glob("*.yml"):
        content = yaml.safe_load(form.read_text())
        assert form.stem == "config" or {"name", "description", "body"} <= set(content)


def test_binder_and_colab_start_a_notebook_that_is_there_with_packages_that_are_named():
    text = (paths.root() / "notebooks" / "README.md").read_text()
    started = re.findall(r"(?:mybinder|colab)\S+?/(notebooks/\w+\.ipynb)`", text)
    assert len(started) == 2 and all((paths.root() / file).exists() for file in started)
    project = tomllib.loads((paths.root() / "pyproject.toml").read_text())["project"]
    environment = yaml.safe_load((paths.root() / "environment.yml").read_text())["dependencies"]
    assert f"python{project['requires-python']}" in environment
    for extras in re.findall(r"-e \"?(?:unlearnkit|\.)\[([\w,]+)\]", f"{environment} {text}"):
        assert {"notebooks", "text"} <= set(extras.split(",")) <= set(project["optional-dependencies"])
