"""Numbers in prose, filled from the results: `unlearnkit readme --write` fills them, `unlearnkit readme` checks them.

In a Markdown file, or a Markdown cell of a notebook, a number stands between two marks that do not show. The first says
where it comes from: a query (unlearnkit.results.numbers), a name of results/claims.yaml, or the id of a claim there:

    <!--n:influence_left-->0.94 [0.90, 0.98]<!--/n-->

A table of findings stands between <!--findings--> and <!--/findings-->, all claims in full between <!--claims--> and
<!--/claims-->: both are rendered from results/claims.yaml.
"""

import os
import re
from pathlib import Path

from unlearnkit.core import paths
from unlearnkit.core.errors import BadValue, UnlearnkitError
from unlearnkit.results import claims
from unlearnkit.results.numbers import check_tables, number
from unlearnkit.results.publishing import write_whole

MARKED = re.compile(r"<!--n: *(.*?) *-->(.*?)<!--/n-->", re.S)
BLOCK = re.compile(r"(<!--(findings|claims)-->\n)(.*?)(\n<!--/\2-->)", re.S)
BLOCKS = {"findings": claims.findings, "claims": claims.in_full}
PROSE = ("*.md", "*/*.md", "*/*/*.md", "notebooks/*.ipynb")


def files(root: Path | None = None) -> list[Path]:
    """The Markdown files and notebooks of the project that hold a mark."""
    root = root or paths.root()
    places = sorted({file for pattern in PROSE for file in root.glob(pattern)})
    visible = [f for f in places if not any(part.startswith(".") for part in f.relative_to(root).parts)]
    return [f for f in visible if "<!--n:" in (text := f.read_text(encoding="utf-8")) or BLOCK.search(text)]


def told(mark: str, root: Path | None = None) -> str:
    """The number that a mark asks for. Raises BadValue, with the mark, if the results do not have it."""
    root = root or paths.root()
    try:
        if re.search(r"\s", mark):
            return number(mark, root / "results")
        return claims.load(root / "results").value(mark)
    except UnlearnkitError as error:
        raise BadValue(f"<!--n:{mark}-->: {error}") from error


def stale(file: Path, root: Path | None = None) -> list[tuple[str, str, str]]:
    """(mark, what stands there, what should) of each number and rendered block of a file that is not as the results say."""
    root, text = root or paths.root(), file.read_text(encoding="utf-8")
    numbers = [(mark, now, told(mark, root)) for mark, now in MARKED.findall(text)]
    blocks = [(name, now, BLOCKS[name](file.parent, root)) for _, name, now, _ in BLOCK.findall(text)]
    return [row for row in numbers + blocks if row[1] != row[2]]


def fill(file: Path, root: Path | None = None) -> None:
    """Write a file with every number and block as the results have it; the text around them stays."""
    root = root or paths.root()
    text = MARKED.sub(lambda m: f"<!--n:{m[1]}-->{told(m[1], root)}<!--/n-->", file.read_text(encoding="utf-8"))
    text = BLOCK.sub(lambda b: b[1] + BLOCKS[b[2]](file.parent, root) + b[4], text)
    write_whole(file, lambda path: path.write_text(text, encoding="utf-8"))


def report(write: bool = False) -> tuple[list[str], int]:
    """(a line for each number or block that was not as the results say, how many marks there are); `write` fills them.

    Raises BadValue for a mark that the results do not have, and for a table that is damaged: nothing is filled from it.
    """
    root, lines, marks = paths.root(), [], 0
    for file in files(root):
        wrong = stale(file, root)
        check_tables(root / "results")
        for mark, now, then in wrong:
            change = "rendered anew" if mark in BLOCKS else f"{now} -> {then}"
            lines.append(f"{os.path.relpath(file, root)}: {mark}: {change}")
        if write and wrong:
            fill(file, root)
        text = file.read_text(encoding="utf-8")
        marks += len(MARKED.findall(text)) + len(BLOCK.findall(text))
    return lines, marks
