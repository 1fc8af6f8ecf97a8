import json

import pytest

from data_builders.export import load_export
from unlearnkit.cli import main
from unlearnkit.listing import LISTS

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("what", LISTS)
def test_lists_for_people_and_for_programs(what, capsys):
    assert main(["list", what]) == 0
    plain = capsys.readouterr().out
    assert main(["list", what, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert rows and all(row["name"] in plain and row["summary"] for row in rows)


def test_options_are_listed_with_type_default_source_and_range(capsys):
    main(["list", "methods", "--json"])
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    source = "Kurmanji et al. 2023, official code"
    assert rows["scrub"]["options"]["temperature"] == {"default": 4.0, "type": "float", "source": source}
    assert rows["scrub"]["options"]["lr"]["search"] == {"low": 5e-4, "high": 0.05, "log": True}
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
        (["study", "--only", "30_unlern"], "Did you mean '30_unlearn'"),
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
