"""The claims table, of which the README is the only source."""

import re
from dataclasses import dataclass
from pathlib import Path

from unlearnkit.core.errors import BadValue
from unlearnkit.results.readme import MARKED


@dataclass(frozen=True)
class Table:
    """Head and rows, as Markdown."""

    head: list[str]
    rows: list[list[str]]


def claims(readme: Path) -> Table:
    """The table of the README whose first column is "claim". Raises BadValue if there is none, or a row of another width."""
    lines = plain(readme.read_text()).splitlines()
    starts = [i for i, line in enumerate(lines) if cells(line)[:1] == ["claim"]]
    if not starts:
        raise BadValue("README.md has no table whose first column is `claim`")
    rows = []
    for line in lines[starts[0] :]:
        if not line.startswith("|"):
            break
        rows.append(cells(line))
    head, _, *body = rows
    for row in body:
        if len(row) != len(head):
            raise BadValue(f"README.md: this claim has {len(row)} cells, not {len(head)}: {row[0][:80]}")
    return Table(head, body)


def cells(line: str) -> list[str]:
    """The cells of one line of a Markdown table, [] for any other line."""
    if not line.startswith("|"):
        return []
    return [part.strip().replace(r"\|", "|") for part in re.split(r"(?<!\\)\|", line.strip()[1:-1])]


def plain(text: str) -> str:
    """Text without the marks around the numbers that a command fills in."""
    return MARKED.sub(r"\2", text)


def section(readme: Path, heading: str) -> str:
    """What stands below a heading of the second level, up to the next one, "" if there is none."""
    found = re.search(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", plain(readme.read_text()), re.M | re.S)
    return found[1].strip() if found else ""


def opening(readme: Path) -> tuple[str, str]:
    """(title, text) of the README up to its first section."""
    found = re.match(r"# (.+?)\n(.*?)(?=^## )", plain(readme.read_text()), re.M | re.S)
    if not found:
        raise BadValue("README.md does not start with a title")
    return found[1], found[2].strip()
