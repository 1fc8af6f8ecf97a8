"""Published numbers beside ours."""

from pathlib import Path

import pandas as pd
import pytest

from unlearnkit.analysis import literature
from unlearnkit.methods import methods
from unlearnkit.metrics import metrics


def row(**more) -> dict:
    of = {"dataset": "cifar10", "train_size": 45000, "architecture": "resnet18", "protocol": "tenth", "method": "salun"}
    return of | {"metric": "UA", "group": "target", "reference": "", "seed": 0, "value": 0.03, "run": "r"} | more


def test_ours_stand_beside_theirs_in_their_unit():
    seconds = row(metric="seconds", group="all", value=90.0)
    scores = pd.DataFrame([row(value=0.02), row(value=0.04, seed=1), row(seed=2), seconds])
    found = literature.published_beside_ours(scores)
    salun = found[found.method == "salun"].set_index("metric")
    assert salun.published["UA"] == 2.85 and salun.ours["UA"] == pytest.approx(3.0) and salun.n_seeds["UA"] == 3
    assert salun.ours_low["UA"] < 3 < salun.ours_high["UA"] and pd.isna(salun.ours_low["seconds"])
    assert salun.ours["seconds"] == pytest.approx(1.5) and salun.ours["TA"] == literature.NOT_RUN
    assert (found.ours != literature.NOT_RUN).sum() == 2


@pytest.mark.parametrize(
    "other", [{"train_size": 640}, {"dataset": "digits"}, {"architecture": "small_cnn"}, {"protocol": "class"}]
)
def test_another_setting_is_not_set_beside_theirs(other):
    assert set(literature.published_beside_ours(pd.DataFrame([row(**other)])).ours) == {literature.NOT_RUN}


def test_every_published_number_names_what_there_is():
    found = literature.published_numbers()
    assert len(found) == 9 * 6 + 3 * 3 + 7 * 2 and set(found.source) == set(literature.DIFFERENCES)
    assert set(found.metric) <= set(metrics) and set(found.method) - {"original"} <= set(methods)
    assert set(found.unit) == set(literature.UNITS) and set(found.verification) == {"one source", "two sources"}
    assert Path(literature.__file__).with_suffix(".csv").is_file()
