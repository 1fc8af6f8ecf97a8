import json
import subprocess
import sys
import time

import pytest

import batches
import unlearnkit
from data_builders.export import load_export
from unlearnkit.cli import CHECKOUT, main
from unlearnkit.listing import LISTS
from unlearnkit.runner.grid import PROFILES

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("what", LISTS)
def test_lists_for_people_and_for_programs(what, capsys):
    assert main(["list", what]) == 0
    plain = capsys.readouterr().out
    assert main(["list", what, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert rows and all(row["name"] in plain and row["summary"] for row in rows)
    assert max(map(len, plain.splitlines())) <= 80


def test_one_thing_is_shown_in_detail(capsys):
    assert main(["list", "method", "scrub"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("scrub\n") and "temperature: float, default 2.0; Kurmanji et al. 2023, official code" in said
    assert "tuned within 5e-05 to 0.005" in said and max(map(len, said.splitlines())) <= 80
    assert main(["list", "methods", "scrub", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["name"] == "scrub" and set(row["options"]) >= {"alpha", "gamma"}
    for name in (["wrapper", "expand"], ["notebook", "30_unlearn"], ["profile", "small"], ["metric", "KLoM"]):
        assert main(["list", *name]) == 0 and capsys.readouterr().out.startswith(f"{name[1]}\n")
    assert main(["list", "method", "scurb"]) == 2 and "Did you mean 'scrub'" in capsys.readouterr().err


def test_lists_outside_of_a_checkout_leave_nothing_behind(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("UNLEARNKIT_HOME", str(tmp_path))
    monkeypatch.delenv("UNLEARNKIT_CACHE", raising=False)
    assert main(["list", "methods"]) == 0 and "scrub" in capsys.readouterr().out
    assert main(["list", "notebooks"]) == 2 and "`list notebooks` needs" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_profiles_are_read_from_their_grids(capsys):
    assert main(["list", "profiles", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert list(rows) == list(PROFILES) and all(row["datasets"] and row["seeds"] for row in rows.values())
    assert rows["full"]["datasets"] == ["cifar10", "fashion_mnist", "fictional", "mnist", "orl_faces.npz", "tofu"]
    assert 0 not in rows["smoke"]["seeds"]
    assert rows["small"]["summary"].endswith("published to results")


def test_a_list_is_made_anew_when_code_changes_and_is_else_read_from_the_cache(tmp_path, monkeypatch, capsys):
    plugin = tmp_path / "mine.py"
    text = """from unlearnkit.methods import method

@method("mine_{0}", source="mine")
def mine(model, request, *, seed, device="auto"):
    "Do nothing."
    return model
"""
    plugin.write_text(text.format("first"))
    monkeypatch.setenv("UNLEARNKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("UNLEARNKIT_PLUGINS", str(plugin))
    assert "mine_first" in batches.command("list", "methods")[1]
    start = time.monotonic()
    listed = [sys.executable, "-X", "importtime", "-m", "unlearnkit.cli", "list", "methods"]
    quick = subprocess.run(listed, capture_output=True, text=True)
    assert "mine_first" in quick.stdout and " torch" not in quick.stderr and time.monotonic() - start < 10
    plugin.write_text(text.format("second"))
    assert "mine_second" in batches.command("list", "methods")[1]
    assert len(list((tmp_path / "cache" / "lists").iterdir())) == 1


def test_help_loads_nothing_heavy_and_the_version_is_said(capsys):
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "unlearnkit.cli", "--help"], capture_output=True, text=True
    )
    assert not {"torch", "pandas", "numpy", "yaml"} & {line.split("|")[-1].strip() for line in done.stderr.splitlines()}
    with pytest.raises(SystemExit) as stop:
        main(["--version"])
    assert stop.value.code == 0 and capsys.readouterr().out == f"unlearnkit {unlearnkit.__version__}\n"


def test_a_reader_that_has_seen_enough_is_no_error():
    command = f"{sys.executable} -m unlearnkit.cli list methods | head -1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert done.stdout.count("\n") == 1 and done.stderr == ""


@pytest.mark.parametrize("command", sorted(CHECKOUT))
def test_a_command_outside_of_a_checkout_says_what_it_needs(command, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("UNLEARNKIT_HOME", str(tmp_path))
    assert main([command, *(["T2"] if command == "reproduce" else [])]) == 2
    said = capsys.readouterr().err
    assert f"`{command}` needs the project's notebooks" in said and "UNLEARNKIT_HOME" in said and said.count("\n") == 1


def test_options_are_listed_with_type_default_source_and_range(capsys):
    main(["list", "methods", "--json"])
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    source = "Kurmanji et al. 2023, official code, small_scale_unlearning"
    assert rows["scrub"]["options"]["temperature"] == {"default": 2.0, "type": "float", "source": source}
    assert rows["scrub"]["options"]["lr"]["search"] == {"low": 5e-5, "high": 0.005, "log": True}
    assert rows["random_label"]["options"]["schedule"]["type"] == "Literal['alternate', 'union']"
    assert "Annotated" not in json.dumps(rows)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["study", "--profile", "smal"], "Did you mean 'small'"),
        (["study", "--profile", "smoke", "--only", "T22"], "Did you mean 'T2'"),
        (["list", "method"], "Did you mean 'methods'"),
        (["stduy"], "Did you mean 'study'"),
        (["cut"], "`cut` of version 0.1 is now `study --minutes`"),
        (["study", "--only", "50_dose_respons"], "Did you mean '50_dose_response'"),
        (["export", "x", "-p", "copis", "3"], "Did you mean 'copies'"),
        (["export", "x", "-p", "copies", "[1, 2]"], "these values make 2"),
    ],
)
def test_wrong_input_is_one_clear_line(arguments, message, capsys):
    assert main(arguments) == 2
    printed = capsys.readouterr()
    assert message in printed.err and printed.err.startswith("unlearnkit: ") and "Traceback" not in printed.err
    assert printed.out == "" and printed.err.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["study", "--workers", "0"],
        ["study", "--minutes", "-1"],
        ["study", "--minutes", "x"],
        ["study", "--profil", "smoke"],
        ["list"],
        [],
    ],
)
def test_wrong_usage(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2


@pytest.mark.parametrize("command", ["", "study", "tune", "list", "export", "verify", "report", "reproduce", "readme"])
def test_help_begins_with_a_sentence_and_fits_a_terminal(command, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit):
        main([*command.split(), "--help"])
    lines = capsys.readouterr().out.splitlines()
    about = lines[lines.index("") + 1]
    assert any(line.startswith("  unlearnkit ") for line in lines[lines.index("examples:") :])
    if command:  # every option says its default
        said = " ".join(" ".join(lines).split()).partition("options:")[2].partition("examples:")[0]
        assert said.count("(default") == sum(line.startswith("  -") for line in lines) - 1  # but --help
    assert about[0].isupper() and ". " in f"{about} " and max(map(len, lines)) <= 80


def test_verify_reports_and_fails(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("UNLEARNKIT_HOME", str(tmp_path))
    (tmp_path / "notebooks" / "grids").mkdir(parents=True)
    (tmp_path / "notebooks" / "grids" / "g.yaml").write_text(
        "profiles: {small: {}}\njobs: [{notebook: x, makes: [T1]}]"
    )
    assert main(["verify"]) == 1
    assert "T1                   missing" in capsys.readouterr().out


def test_a_task_is_exported_by_its_parameters(tmp_path, capsys):
    values = {"copies": "2", "perturbation": "noise", "similarity_level": "ssim~0.7", "n_targets": "3"}
    given = [word for name, value in values.items() for word in ("-p", name, value)]
    assert main(["export", str(tmp_path / "task"), *given]) == 0
    assert capsys.readouterr().out == "task: README.md, pairs.parquet, samples.parquet, task.json\n"
    task = load_export(tmp_path / "task")
    assert len(task.index("similar")) == 6 and (task.pairs.ssim - 0.7).abs().max() <= 0.02
    assert main(["export", str(tmp_path / "task"), *given]) == 2
    assert "nothing was overwritten" in capsys.readouterr().err
