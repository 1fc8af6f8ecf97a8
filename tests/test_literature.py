"""Published figures beside ours: in their unit, and only where the setting is the same."""

from pathlib import Path

import pandas as pd
import pytest

from unlearnkit.analysis import literature
from unlearnkit.metrics import metrics


def row(**more) -> dict:
    setting = {"dataset": "cifar10", "train_size": 45000, "architecture": "resnet18", "protocol": "tenth", "seed": 0}
    score = {"method": "salun", "metric": "UA", "group": "target", "reference": "", "value": 0.03, "run": "r"}
    return setting | score | more


def test_ours_stand_beside_theirs_in_their_unit():
    scores = pd.DataFrame([row(value=0.02), row(value=0.04, seed=1), row(metric="seconds", group="all", value=90.0)])
    table = literature.published_beside_ours(scores)
    salun = table[table.method == "salun"].set_index("metric")
    assert salun.published["UA"] == 2.85 and salun.ours["UA"] == pytest.approx(3.0) and salun.n["UA"] == 2
    assert salun.ours_low["UA"] < 3 < salun.ours_high["UA"] and pd.isna(salun.ours_low["seconds"])
    assert salun.ours["seconds"] == pytest.approx(1.5) and salun.ours["TA"] == literature.NOT_RUN
    assert (table.ours != literature.NOT_RUN).sum() == 2


@pytest.mark.parametrize(
    "other", [{"train_size": 640}, {"dataset": "digits"}, {"architecture": "small_cnn"}, {"protocol": "class"}]
)
def test_another_setting_is_not_set_beside_theirs(other):
    assert set(literature.published_beside_ours(pd.DataFrame([row(**other)])).ours) == {literature.NOT_RUN}


def test_every_published_figure_names_what_there_is():
    from unlearnkit.methods import methods

    figures = literature.figures()
    assert len(figures) == 9 * 6 + 3 * 3 + 7 * 2 and set(figures.source) == set(literature.DIFFERENCES)
    assert set(figures.metric) <= set(metrics) and set(figures.method) - {"original"} <= set(methods)
    assert set(figures.unit) == set(literature.UNITS) and set(figures.checked) == {"one source", "two sources"}
    assert Path(literature.__file__).with_suffix(".csv").is_file()
