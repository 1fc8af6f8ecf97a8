from pathlib import Path

import pytest

import published
from unlearnkit.cli import main
from unlearnkit.core.errors import BadValue
from unlearnkit.results import readme

HOME = Path(__file__).resolve().parent.parent


def test_the_readme_and_the_results_agree():
    """`unlearnkit readme --write` fills the numbers in."""
    text = (HOME / "README.md").read_text()
    wrong = readme.stale(text, HOME / "results")
    assert not wrong, "\n".join(f"{mark}: {now} -> {then}" for mark, now, then in wrong)


@pytest.fixture
def home(tmp_path, monkeypatch):
    return published.project(tmp_path, monkeypatch)


@pytest.mark.parametrize(
    ("mark", "text"),
    [
        ("T2 phi:mean targets=canary method=scrub copies=5", "2.12"),
        ("T2 phi:mean:4 targets=canary method=scrub copies=5", "2.1167"),
        ("T2 phi:list:1 targets=canary method=scrub", "2.1, 2.1"),
        ("T2 phi:list:3 targets=canary method=scrub copies=0,5", "2.067, 2.117"),
        ("T2 count phi>3 method!=original", "4"),
        ("T2 count phi<3 targets=canary", "4"),
        ("T2 phi:max:1 targets=canary method!=original,retrain copies=5", "2.1 [1.8, 2.4]"),
        ("T2 method targets=canary copies=5 phi>4", "original"),
        ("F3 rho:mean copies=5 method=clean", "2 rows fit"),
        ("T2 count perturbation=none", "0"),
        ("T2 phi", "16 rows fit"),
        ("T2 phy method=scrub", "no column 'phy'"),
        ("T2 phi metod=scrub", "'metod=scrub' is no condition"),
        ("T9 phi method=scrub", "there is no T9"),
        ("T2", "should name a table, a column and a row"),
    ],
)
def test_marks(home, mark, text):
    if (text[0].isdigit() and "fit" not in text) or text == "original":
        assert readme.told(mark) == text
    else:
        with pytest.raises(BadValue, match=text):
            readme.told(mark)


def test_numbers_are_checked_then_filled(home, capsys):
    before = (home / "README.md").read_text()
    assert main(["readme"]) == 2  # two rows fit: random and canary
    assert "2 rows fit, not one" in capsys.readouterr().err
    (home / "README.md").write_text(before.replace("method=retrain", "method=retrain targets=canary"))
    assert main(["readme"]) == 1
    assert "0.75 [0.70, 0.80] -> " in capsys.readouterr().out
    assert main(["readme", "--write"]) == 0 and main(["readme"]) == 0
    after = (home / "README.md").read_text()
    assert readme.MARKED.sub("", after) == readme.MARKED.sub("", before)  # the text around stays
    assert readme.stale(after) == [] and "0.75 [0.70" not in after
