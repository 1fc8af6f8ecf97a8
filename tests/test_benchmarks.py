"""The benchmarks are not run by the tests, but what they import must still be there."""

import runpy
from pathlib import Path

import pytest

SCRIPTS = sorted((Path(__file__).parent / "benchmarks").glob("*.py"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_benchmark_still_loads(script, monkeypatch):
    monkeypatch.syspath_prepend(script.parent)  # two take a function of another
    runpy.run_path(str(script), run_name="loaded")
