"""Grids, claims and other YAML and JSON files that people write: every wrong shape is one line that names the file."""

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import batches
from unlearnkit.core import documents
from unlearnkit.core.errors import MOST, BadValue, UnlearnkitError
from unlearnkit.results import claims
from unlearnkit.runner import forecast, grid

GOOD = {"profiles": {"smoke": {"n": [1, 2]}}, "jobs": [{"notebook": "1_first", "each": ["n"], "makes": ["T1"]}]}


@pytest.fixture
def home(tmp_path, monkeypatch):
    folder = batches.home(tmp_path, monkeypatch)
    batches.write(folder, "1_first")
    return folder


def refusal(call) -> str:
    """The message of the error, which is one short line."""
    with pytest.raises(UnlearnkitError) as caught:
        call()
    said = str(caught.value)
    assert "\n" not in said and len(said) <= MOST + 60
    return said


def test_a_grid_of_the_right_shape_is_read(home):
    batches.grids(home, json.dumps(GOOD))
    assert [job.parameters for job in grid.load("smoke")] == [{"n": 1}, {"n": 2}]


WRONG = {
    "profile without values": ("profiles: {smoke: }\njobs: [{notebook: 1_first}]", "profiles.smoke: must be a mapping"),
    "profiles that are a list": ("profiles: [smoke]\njobs: [{notebook: 1_first}]", "profiles: must be a mapping"),
    "unknown profile": ("profiles: {smok: {}}\njobs: []", "profiles: a profile must be one of smoke, small"),
    "another part": ("profiles: {smoke: {}}\njobs: []\njbos: []", "not a grid with `profiles` and `jobs`"),
    "no mapping": ("- 1", "not a grid"),
    "nothing": ("", "not a grid"),
    "jobs by name": ("profiles: {smoke: {}}\njobs: {notebook: 1_first}", "jobs: must be a list of jobs"),
    "a job that is a word": ("profiles: {smoke: {}}\njobs: [1_first]", 'jobs.0: must be a job.*got "1_first"'),
    "a job without a notebook": ("profiles: {smoke: {}}\njobs: [{makes: [T1]}]", "jobs.0: must be a job"),
    "a notebook that is a number": ("profiles: {smoke: {}}\njobs: [{notebook: 1}]", "jobs.0.notebook: must be .*got 1"),
    "one name": ("profiles: {smoke: {}}\njobs: [{notebook: 1_first, each: n}]", "jobs.0.each: must be a list of names"),
    "a number for a name": (
        "profiles: {smoke: {}}\njobs: [{notebook: 1_first, makes: [1]}]",
        "jobs.0.makes.0: must be",
    ),
    "set to a list": ("profiles: {smoke: {}}\njobs: [{notebook: 1_first, set: [n]}]", "jobs.0.set: must be a mapping"),
    "a key twice": ("profiles: {smoke: {}}\njobs: []\njobs: []", "in line 3: 'jobs' stands twice"),
    "a key that is no word": ("profiles: {smoke: {1: 2}}\njobs: []", "line 1: a key must be a word"),
    "a set": ("profiles: {smoke: {n: !!set {1}}}\njobs: []", "line 1: .*set is no plain value"),
    "code": ("profiles: !!python/object/apply:os.getcwd []\njobs: []", "line 1: .* is no plain value"),
    "itself": ("profiles: {smoke: &a {n: *a}}\njobs: []", "line 1: an alias stands for what it is in"),
    "half": ("profiles: {smoke: {", "not valid YAML"),
    "a tab": ("profiles:\n\tsmoke: {}", "line 2: "),
    "two documents": ("a: 1\n---\nb: 2", "not valid YAML"),
    "nested deeply": ("[" * 3000, "nested too deeply"),
    "a value that no job takes": (
        "profiles: {smoke: {n: 1, train_size: 500}}\njobs: [{notebook: 1_first, with: [n]}]",
        "no job takes 'train_size' of the profile",
    ),
    "a huge number": (f"profiles: {{smoke: {{n: {'9' * 5000}}}}}\njobs: []", "not valid YAML: .*digits"),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_grid_is_one_line(home, what):
    text, message = WRONG[what]
    batches.grids(home, text)
    said = refusal(lambda: grid.load("smoke"))
    with pytest.raises(UnlearnkitError, match=message):
        raise UnlearnkitError(said)
    assert said.startswith("g.yaml")


def test_a_small_grid_that_stands_for_billions_of_values_is_refused(home):
    lines = ["a0: &a0 [1]", *(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12))]
    batches.grids(home, "\n".join(lines))
    assert "more than 100,000 values" in refusal(lambda: grid.load("smoke"))


def test_a_grid_that_is_no_text_or_a_folder_is_refused(home):
    file = home / "notebooks" / "grids" / "g.yaml"
    file.write_bytes(b"profiles: {\xff}")
    assert "g.yaml is not valid YAML: it is not UTF-8, from byte 11 on" in refusal(lambda: grid.load("smoke"))
    file.unlink()
    file.mkdir()
    assert "g.yaml cannot be read" in refusal(lambda: grid.load("smoke"))


def test_a_date_stays_text_and_merge_keys_work(tmp_path):
    (tmp_path / "f.yaml").write_text("a: &a {b: 2026-01-02}\nc: {<<: *a, d: 1}", encoding="utf-8")
    assert documents.read_yaml(tmp_path / "f.yaml") == {"a": {"b": "2026-01-02"}, "c": {"b": "2026-01-02", "d": 1}}


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)
PLACES = [(), ("profiles",), ("jobs",), ("profiles", "smoke"), ("profiles", "smoke", "n"), ("jobs", 0)]
PLACES += [("jobs", 0, name) for name in ("notebook", "each", "with", "set", "after", "makes")]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.sampled_from(PLACES), value=VALUES)
def test_any_value_anywhere_in_a_grid_is_read_or_named(home, place, value):
    content = json.loads(json.dumps(GOOD))
    *path, last = place or (None,)
    part = content
    for name in path:
        part = part[name]
    if place:
        part[last] = value
    batches.grids(home, json.dumps(content if place else value))
    try:
        assert all(isinstance(job, grid.Job) for job in grid.load("smoke"))
    except UnlearnkitError as error:
        assert "\n" not in str(error)


JSON = {
    "cut": ('{"a": 1', "f.json is not valid JSON in line 1: Expecting"),
    "the second line": ('{\n"a": }', "in line 2"),
    "a key twice": ('{"a": 1, "a": 2}', "'a' stands twice in one mapping"),
    "nested deeply": ("[" * 200_000, "nested too deeply"),
    "a huge number": ("9" * 5000, "not valid JSON: .*digits"),
    "no text": (b"\xff", "not UTF-8, from byte 0 on"),
}


@pytest.mark.parametrize("what", JSON)
def test_a_wrong_json_file_is_one_line(tmp_path, what):
    content, message = JSON[what]
    (tmp_path / "f.json").write_bytes(content if isinstance(content, bytes) else content.encode())
    said = refusal(lambda: documents.read_json(tmp_path / "f.json"))
    with pytest.raises(BadValue, match=message):
        raise BadValue(said)


def test_a_json_file_that_is_not_there_is_named(tmp_path):
    assert refusal(lambda: documents.read_json(Path(tmp_path / "f.json"))).startswith("f.json cannot be read: No such")


def test_a_message_does_not_grow_with_what_it_quotes():
    said = str(BadValue(f"got {'x' * 10**6}: use a smaller one"))
    assert len(said) < MOST + 60 and said.startswith("got x") and said.endswith(": use a smaller one")


CLAIMS = {
    "claims by name": ("numbers: {}\nclaims: {a: 1}", "claims: must be a list of claims"),
    "a number of claims": ("numbers: {}\nclaims: 3", "claims: must be a list of claims, got 3"),
    "a claim that is a word": ("numbers: {}\nclaims: [stays]", 'claims.0: must be a mapping of fields, got "stays"'),
    "a field that is a list": ("numbers: {}\nclaims: [{id: a, paper: [P1]}]", "claims.0.paper: must be a text"),
    "a field twice": ("numbers: {}\nclaims:\n- id: a\n  id: b", "in line 4: 'id' stands twice"),
    "no numbers": ("numbers: [1]\nclaims: []", "`numbers` must map names to queries"),
}


@pytest.mark.parametrize("what", CLAIMS)
def test_wrong_claims_are_one_line(tmp_path, what):
    text, message = CLAIMS[what]
    (tmp_path / "claims.yaml").write_text(text, encoding="utf-8")
    said = refusal(lambda: claims.load(tmp_path))
    assert said.startswith("results/claims.yaml") and message in said


PARAMETERS = {
    "n: int = 2 ** 3": "must hold plain values",
    "n: int": "must hold plain values",
    "n: int = = 3": "line 1: invalid syntax",
    "home.n: int = 3": "must hold plain values",
}


@pytest.mark.parametrize("cell", PARAMETERS)
def test_a_wrong_parameters_cell_is_one_line(home, cell):
    file = home / "notebooks" / "1_first.ipynb"
    file.write_text(file.read_text(encoding="utf-8").replace("n: int = 0  # which", cell), encoding="utf-8")
    batches.grids(home, json.dumps(GOOD))
    said = refusal(lambda: grid.load("smoke"))
    assert "1_first.ipynb: the parameters cell" in said and PARAMETERS[cell] in said


@pytest.mark.parametrize("text", ["", "[]", "[" * 100_000, '{"cells": 3}', '{"cells": [1]}', '{"cells": [{}]}'])
def test_what_is_no_notebook_is_one_line(home, text):
    (home / "notebooks" / "1_first.ipynb").write_text(text, encoding="utf-8")
    batches.grids(home, json.dumps(GOOD))
    assert "1_first.ipynb is not a notebook" in refusal(lambda: grid.load("smoke"))


@pytest.mark.parametrize(
    "text", ["a,b\n1,2\n", "profile,notebook,seconds\nsmoke,1_first,long\n", "profile,notebook\nsmoke,x\n"]
)
def test_wrong_seconds_are_one_line(home, text):
    (home / "notebooks" / "grids" / "seconds.csv").write_text(text, encoding="utf-8")
    assert "seconds.csv must have the columns" in refusal(lambda: forecast._reference("smoke"))


def test_lists_that_stand_for_any_number_of_jobs_are_refused(home):
    values = {name: list(range(1000)) for name in ("n", "m", "k")}
    jobs = [{"notebook": "1_first", "each": ["n", "m", "k"]}]
    batches.grids(home, json.dumps({"profiles": {"smoke": values}, "jobs": jobs}))
    assert "`each` makes 1,000,000,000 jobs of n, m, k, more than 10,000" in refusal(lambda: grid.load("smoke"))
