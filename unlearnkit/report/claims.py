"""What the report's first page takes from results/claims.yaml and from the README."""

import re
from dataclasses import dataclass
from pathlib import Path

from unlearnkit.core.errors import BadValue
from unlearnkit.results.claims import BASES, links, load
from unlearnkit.results.readme import MARKED


@dataclass(frozen=True)
class Table:
    """Head and rows, as Markdown."""

    head: list[str]
    rows: list[list[str]]


def claims(root: Path) -> Table:
    """All claims of a project in full, with links relative to its root. Raises BadValue if claims.yaml is damaged."""
    found = load(root / "results")
    rows = [
        [
            c.claim,
            f"{c.paper}: {BASES[c.basis]}",
            c.verdict,
            f"{c.measure}: {found.measured(c, 'key')}",
            found.measured(c, "full"),
            found.measured(c, "contrast"),
            links(c, root, root),
        ]
        for c in found.claims
    ]
    return Table(["claim", "source", "verdict", "key number", "measured", "held against", "where"], rows)


def plain(text: str) -> str:
    """Text without the marks around the numbers that a command fills in."""
    return re.sub(r"<!--/?[a-z]+-->\n?", "", MARKED.sub(r"\2", text))


def section(readme: Path, heading: str) -> str:
    """What stands below a heading of the second level, up to the next one, "" if there is none."""
    found = re.search(
        rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", plain(readme.read_text(encoding="utf-8")), re.M | re.S
    )
    return found[1].strip() if found else ""


def opening(readme: Path) -> tuple[str, str]:
    """(title, text) of the README up to its first section."""
    found = re.match(r"# (.+?)\n(.*?)(?=^## )", plain(readme.read_text(encoding="utf-8")), re.M | re.S)
    if not found:
        raise BadValue("README.md does not start with a title")
    return found[1], found[2].strip()
