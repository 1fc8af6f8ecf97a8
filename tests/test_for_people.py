"""Tables for people: the main tables in at most 16 columns, beside the whole ones for programs."""

import json
import shlex

import numpy as np
import pandas as pd
import pytest

from unlearnkit import results
from unlearnkit.analysis.for_people import for_people, number
from unlearnkit.analysis.influence import residual_influences
from unlearnkit.core.errors import BadValue, StoreError
from unlearnkit.core.parameters import Parameters
from unlearnkit.report import columns, leaderboard, result_pages, show, sources
from unlearnkit.report.site import Site
from unlearnkit.results import manifests, numbers, records, selection

LEVELS = {"original": (5.0, 1.0), "original-again": (5.0, 1.0), "retrain": (2.5, 0.6), "retrain-again": (2.5, 0.6),
          "clean": (0.0, 0.05), "clean-again": (0.0, 0.05), "scrub": (1.2, 0.3)}  # fmt: skip


def scores(texts: bool = False) -> pd.DataFrame:
    """Scores per target: canaries with 0 and 25 near-duplicates and a control, memorised targets that nobody learnt, and
    random ones without influence."""
    rng, rows = np.random.default_rng(0), []
    arms = [
        ("canary", "", 0, 0.0, ""),
        ("canary", "", 25, 0.3, ""),
        ("canary", "copies of other images", 25, 0.0, "ssim~0.5"),
        ("memorised", "", 0, 0.0, ""),
        ("memorised", "", 5, 0.3, ""),
        ("random", "", 5, 0.3, ""),
    ]
    for targets, control, copies, strength, level in arms:
        for name, (score, given) in LEVELS.items():
            for seed in (0, 1):
                known = {"canary": score, "memorised": score, "random": 0.0}[targets] + 0.3 * rng.standard_normal(10)
                row = {"target": np.arange(10) + 100 * seed, "score": known, "rank": 1 / (1 + np.exp(-known))}
                row |= {"label_given": {"canary": given, "memorised": 0.1, "random": 1.0}[targets]}
                row |= {"divergence": 0.4 if name == "scrub" else 0.01, "TA": 0.9, "RA": 0.98, "RA_similar": 0.7}
                row |= {
                    "steps": 12345.0 if name == "scrub" else 1860,
                    "method": name,
                    "seed": seed,
                    "run": f"{name}{seed}",
                }
                row |= {"seconds": 0.03125 if name == "scrub" else np.nan, "targets": targets, "control": control}
                row |= {"copies": copies, "perturbation": "block_mask", "strength": strength, "similarity_level": level}
                if texts:
                    row |= {
                        "rouge_l": 0.5,
                        "cosine": 0.6,
                        "nats_per_token": 1.25,
                        "exact_memorisation": 0.8,
                        "utility": 0.7,
                    }
                    row |= {"extraction_strength": 0.25, "log_truth_ratio": -1.0, "min_k_rank": 0.9}
                    row |= {"score_log_probability": known}
                rows.append(pd.DataFrame(row))
    models = {"dataset": "digits", "train_size": 1100, "architecture": "mlp", "augment": "none", "n_decoys": 50}
    return pd.concat(rows, ignore_index=True).assign(**models)


@pytest.fixture(scope="module")
def whole():
    return residual_influences(scores())


@pytest.fixture(scope="module")
def shown(whole):
    return for_people(whole)


def at(whole, shown, method, targets="canary", copies=25, control=""):
    fits = (whole.method == method) & (whole.targets == targets) & (whole.copies == copies) & (whole.control == control)
    (row,) = shown[fits].to_dict("records")
    return row


# --- its cells ---


def test_a_number_stands_with_its_interval_in_one_cell_of_few_columns(whole, shown):
    assert (
        len(shown) == len(whole)
        and len(shown.columns) <= 16
        and shown.map(lambda cell: isinstance(cell, str)).all(axis=None)
    )
    row, wanted = (
        at(whole, shown, "scrub"),
        whole[(whole.method == "scrub") & (whole.copies == 25) & (whole.control == "")],
    )
    (mean, low, high) = wanted.filter(regex=r"^residual_influence(_low|_high)?$").iloc[0]
    assert row["influence left"] == f"{mean:.2f} [{low:.2f}, {high:.2f}]" and (row["TA"], row["filler RA"]) == (
        "0.90",
        "0.98",
    )
    assert row["data and model"] == "digits (1,100), mlp" and row["near-duplicates"] == "25, block mask 0.3"
    assert row["steps, time"] == "12,300 steps, 0.0312 s" and row["n"] == "2 seeds, 20 targets"
    assert row["neighbour cost"] == "0.00" and row["verdict"] == "left"
    assert at(whole, shown, "retrain")["steps, time"] == "1,860 steps"  # not timed
    control = at(whole, shown, "scrub", control="copies of other images")
    assert control["near-duplicates"] == "25 of other images, block mask ssim~0.5"
    assert at(whole, shown, "scrub", copies=0)["near-duplicates"] == "none"


def test_where_there_is_no_number_it_says_why(whole, shown):
    assert at(whole, shown, "scrub", "memorised", 5)["influence left"] == "not learnt"
    assert at(whole, shown, "scrub", "random", 5)["by rank"] == "masked"
    assert at(whole, shown, "scrub", copies=0)["more than with none"] == "is without"
    assert at(whole, shown, "retrain")["more than retrain"] == "is retrain"
    for method, why in (("scrub", "not run without"), ("retrain", "no arm without"), ("clean", "masked without")):
        part = whole[(whole.targets == "canary") & (whole.control == "")].copy()
        without = part.copies == 0
        if why == "masked without":
            part.loc[without, ["residual_influence", "residual_influence_low"]] = None
        part.loc[~without, [f"over_no_copies{end}" for end in ("", "_low", "_high")]] = None
        part = part[~without if why == "no arm without" else ~(without & (part.method == "scrub"))]
        assert at(part, for_people(part), method)["more than with none"] == why
    assert not shown.isin(["", "nan", "None", "-"]).any(axis=None) and not shown.map(lambda v: "nan" in v).any(
        axis=None
    )


def test_a_mean_of_too_few_seeds_says_so_and_is_a_number_all_the_same(whole):
    few = for_people(whole.assign(residual_influence_low=None, residual_influence_high=float("nan")))
    assert at(whole, few, "original")["influence left"] == "1.00 (no interval)"
    assert {c.name: c for c in show.columns(few)[0]}["influence left"].numbers


def test_texts_have_columns_of_their_own():
    table = residual_influences(scores(texts=True))
    texts = for_people(table)
    row = at(table, texts, "scrub")
    assert (row["ROUGE-L"], row["cosine"], row["utility"]) == (
        "0.50 [0.50, 0.50]",
        "0.60",
        "0.70",
    ) and "TA" not in texts
    long = table[table.method == "scrub"].iloc[0]
    assert (
        row["truth ratio"] == "0.37" and long.truth_ratio == pytest.approx(np.exp(-1)) and long.nats_per_token == 1.25
    )
    assert (long.min_k_AUC, long.PrivLeak, long.extraction_strength) == (pytest.approx(0.9), pytest.approx(0), 0.25)
    assert len(texts.columns) <= 16 and row["facts told"].startswith("0.30 [")


def test_it_is_the_same_from_the_published_table(whole, shown, tmp_path):
    records.write_parquet(whole, tmp_path / "whole.parquet")
    assert for_people(records.table(tmp_path / "whole.parquet")).equals(shown)


@pytest.mark.parametrize(
    ("values", "texts"),
    [((0.876, 0.8, 0.95), ["0.88", "0.80", "0.95"]), ((0.5, -40.86, 3.097), ["0.5", "-40.9", "3.1"]), ((-0.001,), ["0.00"]),
     ((9.994,), ["9.99"]), ((9.996,), ["10.0"]), ((99.96,), ["100"]), ((-123.4, -200.0, 0.2), ["-123", "-200", "0"])],
)  # fmt: skip
def test_numbers_have_at_most_three_significant_digits(values, texts):
    assert number(values) == texts


def test_every_column_is_explained(whole):
    names = {
        *for_people(whole),
        *for_people(whole.assign(rouge_l=0.5, cosine=0.6, truth_ratio=0.1, utility=0.9)),
    }
    assert len(names) > 16 and not {name for name in names if not columns.meaning(name)}


def test_every_row_of_a_table_has_a_command_that_selects_it_alone(whole, tmp_path):
    records.write_parquet(whole, tmp_path / "whole.parquet")
    table = records.table(tmp_path / "whole.parquet")
    for i, command in enumerate(selection.commands("T2", "", table)):
        where = dict(word.split("=", 1) for word in shlex.split(command)[4:])
        assert records.select(table, where, "T2").index.tolist() == [i], command


# --- published ---


@pytest.fixture
def folder(tmp_path, monkeypatch, whole, shown):
    monkeypatch.setenv("UNLEARNKIT_HOME", str(tmp_path))
    publish(whole, shown)
    return tmp_path / "results"


def publish(table, people=None):
    parameters = Parameters({"publish": "results"}, "50_x")
    return results.publish("T2", table, parameters=parameters, runs=scores(), roots=[for_people], shown=people)


def test_people_get_the_csv_and_programs_the_whole_table(folder, whole, shown):
    assert pd.read_csv(folder / "tables" / "T2.csv", dtype=str, keep_default_na=False).equals(shown)
    entry = manifests.read(folder)["T2"]
    assert {"tables/T2.csv", "tables/T2.parquet"} < set(entry["files"]) and entry["rows"] == len(whole)
    found = results.published("T2")
    records.write_csv(whole, folder / "plain.csv")
    assert found.equals(records.table(folder / "plain.csv")) and list(found) == list(whole)  # as a CSV would hold it
    query = "T2 residual_influence targets=canary copies=25 control=none method=scrub"
    assert numbers.number(query, folder) == at(whole, shown, "scrub")["influence left"]
    where = {"targets": "canary", "copies": "25", "control": "", "method": "scrub"}
    assert set(selection.find("T2", where, folder).runs.run) == {"scrub0", "scrub1"}


def test_a_table_for_people_has_the_same_rows_and_few_columns(folder, whole, shown):
    for wrong in (shown.iloc[1:], shown.assign(one_more="")):
        with pytest.raises(
            BadValue, match=f"T2: a table for people has the {len(whole)} rows of the whole one and at most 16"
        ):
            publish(whole, wrong)


def test_without_a_table_for_people_the_csv_is_the_whole_one_again(folder, whole):
    publish(whole)
    assert sorted(p.name for p in (folder / "tables").iterdir()) == ["T2.csv"]
    assert list(results.published("T2")) == list(whole) and {s for _, s, _ in results.verify(folder)} == {"ok"}


def test_a_whole_table_that_is_damaged_or_gone_is_read_by_nobody(folder):
    file = folder / "tables" / "T2.parquet"
    content = file.read_bytes()
    for state, damage in (("damaged", lambda: file.write_bytes(content[:-9])), ("missing", file.unlink)):
        damage()
        numbers._read.clear()
        (row,) = results.verify(folder)
        assert row[1] == state and "tables/T2.parquet" in row[2]
        with pytest.raises(StoreError, match=r"tables/T2\.parquet is not "):
            results.published("T2")
        with pytest.raises(StoreError, match=f"T2 is {state}"):
            selection.find("T2", {}, folder)
        with pytest.raises((BadValue, StoreError), match=r"T2\.parquet is no table|there is no T2"):
            numbers.number("T2 count", folder)
        (broken,) = [r for r in sources.gather() if r.name == "T2"]
        assert broken.whole is None and leaderboard.board([broken]) is None


def test_a_whole_table_that_the_manifest_does_not_list_is_refused(folder):
    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest["T2"]["files"]["tables/T2.parquet"], manifest["T2"]["digest"]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    numbers.number("T2 count", folder)
    with pytest.raises(BadValue, match=r"T2\.parquet is not as manifest\.json lists it"):
        numbers.check_tables(folder)


# --- in the report ---


def test_the_report_shows_what_people_read_and_gives_programs_the_rest(folder, whole, shown, tmp_path):
    (result,) = [r for r in sources.gather() if r.name == "T2"]
    made = Site(tmp_path / "site", [result])
    with made.written():
        result_pages.write(made, result)
    page = (tmp_path / "site" / "results" / "small" / "T2.html").read_text()
    assert f"<td>{at(whole, shown, 'scrub')['influence left']}</td>" in page and "residual_influence_low" not in page
    assert 'href="../../data/small/T2.parquet" download>all columns, for programs (Parquet)</a>' in page
    assert records.table(tmp_path / "site" / "data" / "small" / "T2.parquet").equals(results.published("T2"))
    place = int(np.flatnonzero((whole.method == "scrub") & (whole.copies == 25) & (whole.control == ""))[0])
    rows = json.loads((tmp_path / "site" / "results" / "small" / "T2.js").read_text()[len("window.ROWS=") : -2])["rows"]
    command = "unlearnkit reproduce T2 --where method=scrub targets=canary copies=25 control="  # by the whole table
    assert rows[place][0] == command


def test_cells_of_numbers_sort_as_numbers_and_texts_filter(shown):
    told = {c.name: c for c in show.columns(shown)[0]}
    assert told["influence left"].numbers and told["more than with none"].numbers and not told["influence left"].choice
    assert not told["steps, time"].choice
    for name in ("targets", "near-duplicates", "method", "verdict"):
        assert told[name].choice and not told[name].numbers
