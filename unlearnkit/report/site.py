"""The frame of the report: its folder, the addresses of its pages, the links between them."""

import os
from collections.abc import Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

import jinja2
from pygments.formatters import HtmlFormatter

from unlearnkit.core import code_digest as code
from unlearnkit.core import paths
from unlearnkit.core.disk import explained
from unlearnkit.core.errors import BadValue
from unlearnkit.core.own_files import folder_beside, replace_written, strangers
from unlearnkit.report import cards, sources, text
from unlearnkit.report.sources import Result
from unlearnkit.runner import notebook

MARK = ".unlearnkit-report"  # in a folder that a report was written to, and may be written to again
CODE_STYLES = {"light": "friendly", "dark": "github-dark"}
LARGE = 20_000  # bytes; longer data is copied compressed


class Site:
    """A site below the folder `out`.

    pages: {a file of the project: the page, or the copy, that stands for it}, for links; rows_of: {run: the first row of a
    table that was made from it}; found: (address, kind, title, summary) of each page, for the search.
    """

    def __init__(self, out: Path, results: Sequence[Result]):
        self.out, self.results = out.resolve(), list(results)
        self.beside = self.out  # where pages are put, see `written`
        self.env = jinja2.Environment(
            loader=jinja2.PackageLoader("unlearnkit.report"), autoescape=True, trim_blocks=True, lstrip_blocks=True
        )
        self.env.filters |= {"inline": text.inline, "docstring": text.docstring, "linked": text.linked}
        self.registries = cards.registries()
        self.problems = sources.problems(results)
        self.rows_of: dict[str, str] = {}
        self.pictures: dict[bytes, str] = {}  # their addresses by their content
        self.found: list[tuple[str, str, str, str]] = []
        self.pages = self._pages()

    def _pages(self) -> dict[str, str]:
        pages = {f"notebooks/{p.name}": f"notebooks/{p.stem}.html" for p in notebook.notebooks()}
        for r in self.results:
            for file in r.entry.get("files", ()):
                large = file.endswith(".csv") and (f := r.file(".csv")) and f.stat().st_size > LARGE
                copy = f"data/{r.profile or 'small'}/{PurePosixPath(file).name}{'.gz' * bool(large)}"
                if r.file(file) and not file.startswith("scores/"):  # too large for a site
                    pages[self.name_of(r.folder / file)] = copy
        return pages | {"README.md": "index.html", "results/README.md": "claims.html"}

    def name_of(self, file: Path) -> str:
        """A file of the project by its path there."""
        return str(file.relative_to(paths.root()))

    def page_of(self, r: Result) -> str:
        return f"results/{r.profile or 'small'}/{r.name}.html"

    def index_of(self, kind: str) -> str:
        """The page that lists all registered things of a kind."""
        return f"{slug(kind)}s.html"

    def links(self, page: str, base: str = ""):
        """For unlearnkit.report.text.within: the new address of each link in prose of the project's folder `base`."""

        def resolve(address: str) -> str | None:
            path, _, anchor = address.partition("#")
            if "://" in path or not path:
                return None
            there = os.path.normpath(os.path.join(base, path))
            target = self.pages.get(there)
            return None if target is None else relative(page, target) + (f"#{anchor}" if anchor and base else "")

        return resolve

    # --- writing ---

    @contextmanager
    def written(self):
        """A context in which pages are put beside the folder; at its end they replace those of the last report there.

        Nothing else in the folder is touched, and nothing at all if a page cannot be written. Raises BadValue for a folder
        that holds something else than a report, or a file of the user's own in a page's place, StoreError for one that
        cannot be written.
        """
        with explained("the report", self.out, "--out"):
            if self.out.exists() and not self.out.is_dir():
                raise BadValue(f"{self.out.name} is a file: name a new or an empty folder")
            if strangers(self.out) and not (self.out / MARK).exists():
                raise BadValue(f"{self.out.name}/ holds something else than a report: name a new or an empty folder")
            with folder_beside(self.out) as self.beside:
                self._styles()
                yield
                replace_written(self.out, self.beside, MARK)

    def _styles(self) -> None:
        here = Path(__file__).parent / "static"
        styles = (here / "report.css").read_text(encoding="utf-8")
        for scheme, name in CODE_STYLES.items():
            rules = HtmlFormatter(style=name).get_style_defs(".highlight")
            rules = "\n".join(line for line in rules.splitlines() if line.startswith(".highlight ."))
            styles += f"@media (prefers-color-scheme: {scheme}) {{\n{rules}\n}}\n"
        self.put("static/report.css", styles)
        for file in here.glob("*.js"):
            self.put(f"static/{file.name}", file.read_text(encoding="utf-8"))

    def put(self, address: str, content: str | bytes) -> str:
        """Write a file of the site, in `written` alone; returns its address. Raises BadValue for one that would leave the
        folder."""
        path = Path(os.path.normpath(self.beside / address))
        if not path.is_relative_to(self.beside):
            raise BadValue(f"the report would write {address!r}, which is outside of its folder")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return address

    def page(self, path: str, template: str, title: str, kind: str = "page", summary: str = "", **values) -> None:
        """Write a page by its template. kind, summary: what the search says of it."""
        nav = [("index.html", "Start"), ("leaderboard.html", "Leaderboard"), ("claims.html", "Claims")]
        nav += [("results.html", "Tables and figures")]
        nav += [(self.index_of(of), f"{of.capitalize()}s") for of in self.registries]
        nav += [("notebooks.html", "Notebooks"), ("glossary.html", "Glossary")]
        self.found.append((path, kind, title, summary))
        page = self.env.get_template(template).render(
            title=title, nav=nav, here=path, to=lambda target: relative(path, target), problems=self.problems,
            code=code.version(), page_of=self.page_of, found=self.found, **values,
        )  # fmt: skip
        self.put(path, page)


def relative(page: str, target: str) -> str:
    """The address of `target` on a page."""
    return os.path.relpath(target, os.path.dirname(page) or ".")


def slug(kind: str) -> str:
    return kind.replace(" ", "-")
