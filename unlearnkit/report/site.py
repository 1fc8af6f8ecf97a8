"""The pages of the report, and the links between them."""

import json
import os
import shutil
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import jinja2
import pandas as pd
from pygments.formatters import HtmlFormatter

from unlearnkit.core import code_digest as code
from unlearnkit.core import paths
from unlearnkit.core.errors import BadValue
from unlearnkit.report import cards, claims, leaderboard, notebooks, runs, show, sources, text
from unlearnkit.report.sources import Result
from unlearnkit.results.selection import commands
from unlearnkit.runner import notebook
from unlearnkit.study import BASELINES, INITIAL

REFERENCES = (*BASELINES, "retrain", INITIAL)  # rows of a board to judge the others by
MARK = ".unlearnkit-report"  # in a folder that a report was written to, and may be written to again
SHEETS = ("T1", "F1", "F2")  # what the study calls dataset cards, sample sheets and similarity as measured
CODE_STYLES = {"light": "friendly", "dark": "github-dark"}


class Site:
    """A site below the folder `out`. pages: {a file of the project: the page that stands for it}, for links."""

    def __init__(self, out: Path, results: Sequence[Result]):
        self.out, self.results = out, list(results)
        self.readme = paths.root() / "README.md"
        self.env = jinja2.Environment(
            loader=jinja2.PackageLoader("unlearnkit.report"), autoescape=True, trim_blocks=True, lstrip_blocks=True
        )
        self.env.filters |= {"inline": text.inline, "docstring": text.docstring}
        self.registries = cards.registries()
        runs.known.cache_clear()  # of an earlier site, and perhaps another cache
        runs.run.cache_clear()
        self.problems = sources.problems(results)
        self.rows_of: dict[str, str] = {}  # {run: the page of the first row that was made from it}
        self.costs: dict[str, list] = {}  # of methods, once the board is made
        self.pages = self._pages()

    # --- where things stand ---

    def _pages(self) -> dict[str, str]:
        """{a file of the project: the page, or the copy, that stands for it}."""
        pages = {f"notebooks/{p.name}": f"notebooks/{p.stem}.html" for p in notebook.notebooks()}
        for r in self.results:
            for file in r.entry.get("files", ()):
                copy = f"data/{r.profile or 'small'}/{PurePosixPath(file).name}"
                pages[f"{(r.folder / file).relative_to(paths.root())}"] = copy
        return pages | {"README.md": "index.html"}

    def page_of(self, r: Result) -> str:
        return f"results/{r.profile or 'small'}/{r.name}.html"

    def _links(self, page: str, base: str = ""):
        """For unlearnkit.report.text.within: the new address of each link in prose of the project's folder `base`."""

        def resolve(address: str) -> str | None:
            path, _, anchor = address.partition("#")
            if "://" in path or not path:
                return None
            there = os.path.normpath(os.path.join(base, path))
            target = self.pages.get(there)
            return None if target is None else self.relative(page, target) + (f"#{anchor}" if anchor and base else "")

        return resolve

    def relative(self, page: str, target: str) -> str:
        return os.path.relpath(target, os.path.dirname(page) or ".")

    # --- writing ---

    def write(self) -> Path:
        if self.out.exists() and any(self.out.iterdir()) and not (self.out / MARK).exists():
            raise BadValue(f"{self.out.name}/ holds something else than a report: name a new or an empty folder")
        shutil.rmtree(self.out, ignore_errors=True)
        (self.out / "static").mkdir(parents=True)
        (self.out / MARK).touch()
        self._static()
        for r in self.results:
            self._result(r)
        self._notebooks()
        self._board()
        for kind, registry in self.registries.items():
            self._cards(kind, cards.cards(kind, registry))
        self._page("results.html", "results.html", "Tables and figures", groups=self._by_profile())
        self._start()
        return self.out / "index.html"

    def _static(self) -> None:
        here = Path(__file__).parent / "static"
        styles = (here / "report.css").read_text()
        for scheme, name in CODE_STYLES.items():
            rules = HtmlFormatter(style=name).get_style_defs(".highlight")
            rules = "\n".join(line for line in rules.splitlines() if line.startswith(".highlight ."))
            styles += f"@media (prefers-color-scheme: {scheme}) {{\n{rules}\n}}\n"
        (self.out / "static" / "report.css").write_text(styles)
        shutil.copy(here / "report.js", self.out / "static" / "report.js")

    def _page(self, path: str, template: str, title: str, **values) -> None:
        nav = [("index.html", "Start"), ("leaderboard.html", "Leaderboard"), ("results.html", "Tables and figures")]
        nav += [(self.index_of(kind), f"{kind.capitalize()}s") for kind in self.registries]
        nav += [("notebooks.html", "Notebooks")]
        page = self.env.get_template(template).render(
            title=title, nav=nav, here=path, to=lambda target: self.relative(path, target), problems=self.problems,
            code=code.version(), page_of=self.page_of, **values,
        )  # fmt: skip
        (self.out / path).parent.mkdir(parents=True, exist_ok=True)
        (self.out / path).write_text(page)

    def _copy(self, file: Path) -> str:
        target = self.pages[str(file.relative_to(paths.root()))]
        (self.out / target).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, self.out / target)
        return target

    # --- the first page ---

    def _start(self) -> None:
        title, said = claims.opening(self.readme)
        found = claims.claims(paths.root())
        used = [file for file in self.pages if file.endswith(".png") and f"]({file})" in said]
        for file in used:
            said = said.replace(f"]({file})", f"]({self.pages[file]})")
        resolve = self._links("index.html")
        rows = [[text.within(text.inline(cell), resolve) for cell in row] for row in found.rows]
        run = text.within(text.markdown(claims.section(self.readme, "Quick start")), resolve)
        words = text.within(_formulas(claims.section(self.readme, "The setting")), resolve)
        self._page("index.html", "index.html", title, said=text.within(text.markdown(said), resolve),
                   head=found.head, rows=rows, run=run, words=words)  # fmt: skip

    # --- tables and figures ---

    def _by_profile(self) -> dict[str, list[Result]]:
        groups = defaultdict(list)
        for r in self.results:
            groups[r.profile or "small"].append(r)
        return groups

    def _result(self, r: Result) -> None:
        path, shown = self.page_of(r), {}
        csv, png = r.file(".csv"), r.file(".png")
        if csv:
            columns, constant = show.columns(r.table)
            shown = {"columns": columns, "constant": constant, "csv": self._copy(csv)}
            if r.name.startswith("T"):
                shown |= {"cells": show.cells(r.table, columns), "rows": self._rows(r, columns)}
        if png:
            shown["png"] = self._copy(png)
        if r.entry:
            for file in r.entry["files"]:
                if file.startswith("scores/") and (r.folder / file).is_file():
                    shown["scores"] = self._copy(r.folder / file)
            shown["executed"] = self._executed(r)
        self._page(
            path, "result.html", r.label, r=r, stem=r.entry.get("notebook", ""), question=self._question(r), **shown
        )

    def _question(self, r: Result) -> str:
        file = paths.root() / "notebooks" / f"{r.entry.get('notebook', '')}.ipynb"
        return notebook.title(file) if file.is_file() else ""

    def _executed(self, r: Result) -> str:
        """The page of the notebook that made a result, as it was run for it, or as it is stored with its defaults."""
        return f"runs/{r.executed.parent.name}.html" if r.executed else f"notebooks/{r.entry['notebook']}.html"

    def _rows(self, r: Result, columns) -> list[str]:
        """Write a page for each row whose runs are known; returns the addresses of all rows, "" for the others."""
        pages, folder = [], self.page_of(r).removesuffix(".html")
        names = [c.name for c in columns if show.names_a_run(r.table[c.name]) and f"{c.name}_low" not in r.table]
        names = [n for n in names if n not in show.COUNTS]
        texts, lines = show.cells(r.table, columns), commands(r.name, r.profile, r.table)
        for i, keys in enumerate(r.behind):
            pages.append(f"{folder}/{i + 1}.html" if keys else "")
            if not keys:
                continue
            for key in keys:
                self.rows_of.setdefault(key, pages[i])
            cells = [(c.name, value) for c, (value, _) in zip(columns, texts[i])]
            title = ", ".join(f"{n} {word}" for n in names if (word := show.text(r.table[n].iloc[i])))
            self._page(
                pages[i], "row.html", f"{r.label}: {title}", r=r, i=i, cells=cells, command=lines[i],
                executed=self._executed(r), runs=[runs.run(key) for key in keys], seeds=runs.seeds(r, keys),
                here_still=any(runs.known(key)[2] for key in keys),
            )  # fmt: skip
        return pages

    # --- the board ---

    def _board(self) -> None:
        board = leaderboard.board(self.results)
        if board is None:
            self._page("leaderboard.html", "leaderboard.html", "Leaderboard", board=None)
            return
        kinds = board.kinds()
        data = json.dumps({"kinds": kinds, "values": board.rounded()}, separators=(",", ":"), allow_nan=False)
        (self.out / "static" / "leaderboard.js").write_text(f"window.LEADERBOARD={data};\n")
        first = next(iter(board.values.values()))
        rows = [
            {"cells": [show.text(row[c]) for c in board.varying], "method": row["method"],
             "known": row["method"] in REFERENCES, "n_seeds": row["n_seeds"], "n_diverged": row["n_diverged"],
             "value": show.interval(*value), "sort": "" if pd.isna(value[0]) else f"{value[0]:.6g}",
             "page": next((self.rows_of[k] for k in sorted(row["runs"]) if k in self.rows_of), "")}
            for (_, row), value in zip(board.rows.iterrows(), first.tolist())
        ]  # fmt: skip
        start = {c: show.text(board.rows[c].mode().iloc[0]) for c in board.varying}
        cards_of = {m: f"{_slug('method')}/{m}.html" for m in self.registries["method"]}
        self._page("leaderboard.html", "leaderboard.html", "Leaderboard",
                   board=board, rows=rows, kinds=kinds, first=kinds[0], start=start, cards_of=cards_of)  # fmt: skip
        self.costs = board.costs()

    # --- notebooks ---

    def _notebooks(self) -> None:
        listed = []
        for file in notebook.notebooks():
            made = [r for r in self.results if r.entry.get("notebook") == file.stem]
            page = f"notebooks/{file.stem}.html"
            self._notebook(page, file, made, "with its default parameters, as stored")
            listed.append((page, file.stem, notebook.title(file), made))
        for executed in {r.executed for r in self.results if r.entry} - {None}:
            made = [r for r in self.results if r.entry and r.executed == executed]
            self._notebook(f"runs/{executed.parent.name}.html", executed, made, "as it was run for these results")
        self._page("notebooks.html", "notebooks.html", "Notebooks", listed=listed)

    def _notebook(self, page: str, file: Path, made: Sequence[Result], version: str) -> None:
        content = text.within(notebooks.body(file), self._links(page, "notebooks"))
        self._page(page, "notebook.html", notebook.title(file), content=content, made=made, version=version)

    # --- cards ---

    def index_of(self, kind: str) -> str:
        return f"{_slug(kind)}s.html"

    def _cards(self, kind: str, made: Sequence[cards.Card]) -> None:
        for card in made:
            page = f"{_slug(kind)}/{card.name}.html"
            self._page(page, "card.html", card.name, card=card, costs=self.costs.get(card.name, []),
                       sheets=self._sheets(card) if kind.endswith("dataset") else [])  # fmt: skip
        self._page(self.index_of(kind), "cards.html", f"{kind.capitalize()}s", made=made, slug=_slug(kind))

    def _sheets(self, card: cards.Card) -> list[dict]:
        """The dataset cards, sample sheets and similarity distributions that show this data set."""
        sheets = []
        for r in self.results:
            if r.name.split("-")[0] not in SHEETS or not r.file(".csv") or "dataset" not in r.table:
                continue
            part = r.table[r.table.dataset == card.name]
            if len(part):
                columns, constant = show.columns(part)
                sheet = {"r": r, "png": self.pages[_below(r.file(".png"))] if r.file(".png") else ""}
                if r.name.startswith("T1"):
                    sheet |= {"columns": columns, "constant": constant, "cells": show.cells(part, columns)}
                sheets.append(sheet)
        return sheets


def _below(file: Path) -> str:
    return str(file.relative_to(paths.root()))


def _slug(kind: str) -> str:
    return kind.replace(" ", "-")


def _formulas(source: str) -> str:
    """Markdown with $$formulas$$ as HTML."""
    parts = source.split("$$")
    return "".join(text.block(p) if i % 2 else text.markdown(p) for i, p in enumerate(parts))
