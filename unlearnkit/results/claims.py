"""The claims of the three papers and of this study: results/claims.yaml, rendered into README.md and results/README.md.

The file has two parts. `numbers` gives short names to queries (unlearnkit.results.numbers); `claims` lists the claims, each
with the fields of `Claim`. Where a text holds {a query} or {a name}, rendering puts the number there.
"""

import os
import re
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path

from unlearnkit.core import paths
from unlearnkit.core.documents import check_shape, read_yaml
from unlearnkit.core.errors import BadValue, UnlearnkitError, unknown
from unlearnkit.results.numbers import number

PAPERS = {"P1": "Study I: similar samples (P1)", "P2": "Study II: features and metrics (P2)",
          "P3": "Study III: order and risk (P3)", "synthesis": "Synthesis"}  # fmt: skip
BASES = {
    "abstract": "the paper's abstract",
    "asked": "a question of the paper's abstract",
    "digest": "a digest of the paper",
    "ours": "ours",
}
VERDICTS = ("supported", "not supported", "depends on", "not testable here")
TEXT = {"type": ["string", "number", "boolean", "null"], "description": "must be a text"}
SHAPE = {  # the JSON schema of claims.yaml, but for what must stand in a claim
    "properties": {
        "numbers": {
            "type": ["object", "null"],
            "description": "`numbers` must map names to queries",
            "additionalProperties": TEXT,
        },
        "claims": {
            "type": ["array", "null"],
            "description": "must be a list of claims",
            "items": {
                "type": "object",
                "description": "must be a mapping of fields",
                "additionalProperties": TEXT,
                "properties": {
                    "results": {
                        "type": "array",
                        "items": TEXT | {"type": "string"},
                        "description": "results must be a list of tables and figures",
                    }
                },
            },
        },
    }
}
FILLED = re.compile(r"\{([^{}]+)\}")


@dataclass(frozen=True)
class Claim:
    """One claim and its verdict.

    basis: who says so, a key of BASES; only what stands in a paper's abstract or digest is attributed to it.
    verdict: begins with one of VERDICTS. measure: what `number` is, in a few words. number, n: queries, or names of
    `numbers`. contrast: what it is held against. results: tables and figures, full/T2 for those of another profile.
    full: the measured numbers. short: the claim in one line of README's findings, "" for results/README.md alone.
    """

    id: str
    paper: str
    basis: str
    claim: str
    verdict: str
    measure: str
    number: str
    n: str
    contrast: str
    notebook: str
    results: list[str]
    full: str
    short: str = ""


@dataclass(frozen=True)
class Claims:
    """All claims in the file's order, and {name: query}."""

    claims: list[Claim]
    numbers: dict[str, str]
    home: Path = field(repr=False)

    def value(self, mark: str) -> str:
        """The number of a query, of a name of `numbers`, or of a claim by its id. Raises UnknownName for any other word."""
        if not re.search(r"\s", mark):
            names = self.numbers | {c.id: c.number for c in self.claims}
            if mark not in names:
                raise unknown("number of results/claims.yaml", mark, names)
            mark = names[mark]
        return number(self.numbers.get(mark, mark), self.home)

    def text(self, template: str, where: str) -> str:
        """A text with every {mark} replaced by its number. Raises BadValue, naming claim and mark, if that is not there."""

        def fill(part: re.Match) -> str:
            try:
                return self.value(part[1])
            except UnlearnkitError as error:
                raise BadValue(f"results/claims.yaml: {where}: {{{part[1]}}}: {error}") from error

        return FILLED.sub(fill, " ".join(template.split()))

    def measured(self, claim: Claim, form: str) -> str:
        """form: "key" for the key number and its n, or the name of a field, filled."""
        template = "{%s}, n = {%s}" % (claim.number, claim.n) if form == "key" else getattr(claim, form)  # noqa: UP031
        return self.text(template, claim.id)


_read: dict[tuple[Path, int], Claims] = {}


def load(home: Path | None = None) -> Claims:
    """The claims in a results folder. Raises BadValue, in one line, for a file that is missing or damaged."""
    file = (home or paths.root() / "results") / "claims.yaml"
    if not file.is_file():
        raise BadValue("results/claims.yaml is not there: restore it from git")
    version = (file, file.stat().st_mtime_ns)
    if version not in _read:
        _read[version] = _checked(read_yaml(file, "results/claims.yaml"), file.parent)
    return _read[version]


def _checked(content: object, home: Path) -> Claims:
    if not isinstance(content, dict) or set(content) != {"numbers", "claims"}:
        raise BadValue("results/claims.yaml must have two parts, `numbers` and `claims`")
    check_shape(content, SHAPE, "results/claims.yaml")
    numbers, rows = content["numbers"] or {}, content["claims"] or []
    if not all(" " in str(q) for q in numbers.values()):
        raise BadValue("results/claims.yaml: `numbers` must map names to queries")
    claims = [_claim(row, i) for i, row in enumerate(rows, 1)]
    ids = [c.id for c in claims]
    if twice := sorted({name for name in ids if ids.count(name) > 1 or name in numbers}):
        raise BadValue(f"results/claims.yaml: this name stands twice: {', '.join(twice)}")
    return Claims(claims, numbers, home)


def _claim(row: dict, place: int) -> Claim:
    where = f"results/claims.yaml: claim {row.get('id', place)}"
    known = {f.name: f for f in fields(Claim)}
    if missing := [name for name, f in known.items() if f.default is MISSING and not row.get(name)]:
        raise BadValue(f"{where} has no {', '.join(missing)}")
    if extra := sorted(set(row) - set(known)):
        raise BadValue(f"{where} has an unknown field {', '.join(extra)}; the fields are: {', '.join(known)}")
    for name, values in (("paper", PAPERS), ("basis", BASES)):
        if row[name] not in values:
            raise BadValue(f"{where}: {name} must be one of {', '.join(values)}, got {row[name]!r}")
    if not str(row["verdict"]).startswith(VERDICTS):
        raise BadValue(f"{where}: the verdict must begin with one of: {', '.join(VERDICTS)}; got {row['verdict']!r}")
    return Claim(**{name: value if name == "results" else str(value) for name, value in row.items()})


# --- rendering ---


def links(claim: Claim, folder: Path, root: Path) -> str:
    """Links to the tables, figures and notebook of a claim, relative to `folder`."""
    made = [f"[{name}]({os.path.relpath(_file(name, root), folder)})" for name in claim.results]
    return ", ".join([*made, _notebook(claim, folder, root)])


def _file(name: str, root: Path) -> Path:
    *profile, key = name.split("/")
    kind, ending = ("tables", "csv") if key.startswith("T") else ("figures", "png")
    file = root.joinpath("results", *profile, kind, f"{key}.{ending}")
    return file if file.is_file() else file.with_suffix(".csv")


def _notebook(claim: Claim, folder: Path, root: Path) -> str:
    path = os.path.relpath(root / "notebooks" / f"{claim.notebook}.ipynb", folder)
    return f"[{claim.notebook.split('_')[0]}]({path})"


def findings(folder: Path, root: Path) -> str:
    """README's table: one line for each claim that has a short form."""
    found = load(root / "results")
    lines = ["| claim | verdict | key number, notebook |", "|---|---|---|"]
    for c in found.claims:
        if c.short:
            key = f"{c.measure}: {found.measured(c, 'key')} ({_notebook(c, folder, root)})"
            lines.append("| " + " | ".join(cell.replace("|", r"\|") for cell in (c.short, c.verdict, key)) + " |")
    return "\n".join(lines)


def in_full(folder: Path, root: Path) -> str:
    """All claims with what was measured, for results/README.md."""
    found = load(root / "results")
    parts = []
    for paper, heading in PAPERS.items():
        of_paper = [c for c in found.claims if c.paper == paper]
        parts += [f"## {heading}"] if of_paper else []
        for c in of_paper:
            parts += [
                f"### {c.claim}",
                f"**{c.verdict[0].upper()}{c.verdict[1:]}.** {c.measure[0].upper()}{c.measure[1:]}: "
                f"{found.measured(c, 'key')}. Source of the claim: {BASES[c.basis]}.",
                found.measured(c, "full"),
                f"*Held against:* {found.measured(c, 'contrast')}",
                links(c, folder, root),
            ]
    return "\n" + "\n\n".join(parts) + "\n"
