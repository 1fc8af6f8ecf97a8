"""Where users want things written: folders that they own, places that cannot be written, any locale."""

import ast
import io
import sys
from pathlib import Path

from unlearnkit.cli import main

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
