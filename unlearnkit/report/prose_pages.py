"""The pages of prose: start, claims, notebooks, glossary and search."""

from collections.abc import Sequence
from pathlib import Path

from unlearnkit.core import paths
from unlearnkit.report import claims, columns, notebooks, text
from unlearnkit.report.site import Site, relative
from unlearnkit.report.sources import Result
from unlearnkit.runner import notebook


def start(site: Site) -> None:
    """The first page: what the README opens with, and its findings."""
    readme = paths.root() / "README.md"
    title, said = claims.opening(readme)
    resolve = site.links("index.html")

    def html(source: str) -> str:
        for file in [f for f in site.pages if f.endswith(".png") and f"]({f})" in source]:
            source = source.replace(f"]({file})", f"]({site.pages[file]})")
        return text.papers(text.within(_formulas(source), resolve))

    parts = {name: html(claims.section(readme, heading)) for name, heading in
             {"minute": "In one minute", "words": "The setting", "run": "Quick start"}.items()}  # fmt: skip
    question, mark, figure = said.partition("\n![")  # the findings stand between the two
    site.page("index.html", "index.html", title, question=html(question), figure=html(mark + figure), **parts)


def all_claims(site: Site) -> None:
    """All claims in full, with their verdicts."""
    found, resolve = claims.claims(paths.root()), site.links("claims.html")
    rows = [[text.papers(text.within(text.inline(cell), resolve)) for cell in row] for row in found.rows]
    site.page("claims.html", "claims.html", "Claims and verdicts", head=found.head, rows=rows)


def all_notebooks(site: Site, step) -> None:
    """A page for each notebook as stored, one for each that was run for these results, and their index."""
    listed = []
    for file in notebook.notebooks():
        made = [r for r in site.results if r.entry.get("notebook") == file.stem]
        page = f"notebooks/{file.stem}.html"
        _notebook(site, page, file, made, "with its default parameters, as stored")
        listed.append((page, file.stem, notebook.title(file), made))
        step()
    for executed in sorted({r.executed for r in site.results if r.entry} - {None}):
        made = [r for r in site.results if r.entry and r.executed == executed]
        _notebook(site, f"runs/{executed.parent.name}.html", executed, made, "as it was run for these results")
    site.page("notebooks.html", "notebooks.html", "Notebooks", listed=listed)


def _notebook(site: Site, page: str, file: Path, made: Sequence[Result], version: str) -> None:
    body, pictures = notebooks.body(file)
    for name, content in pictures.items():
        address = site.pictures.setdefault(content, f"{page.rpartition('/')[0]}/{name}")  # many are published figures
        if not (site.beside / address).exists():
            site.put(address, content)
        body = body.replace(f'src="{name}"', f'src="{relative(page, address)}"')
    content = text.papers(text.within(body, site.links(page, "notebooks")))
    site.page(page, "notebook.html", notebook.title(file), "notebook", file.stem,
              content=content, made=made, version=version)  # fmt: skip


def glossary(site: Site) -> None:
    """Terms, and every column of the tables here."""
    tables = [t for r in site.results if r.name.startswith("T") and r.whole for t in (r.table, r.shown)]
    used = {c for table in tables for c in table}
    ends = {f"{c}{end}" for c in used for end in ("_low", "_high")}
    known = {c: meaning for c in sorted(used - ends, key=str.lower) if (meaning := columns.meaning(c))}
    site.page("glossary.html", "glossary.html", "Glossary", terms=columns.TERMS, columns=known)


def search(site: Site) -> None:
    """All pages with a line each, which a script cuts down to those that are looked for. The last page to be written."""
    site.page("search.html", "search.html", "Search")


def _formulas(source: str) -> str:
    """Markdown with $$formulas$$ as HTML."""
    parts = source.split("$$")
    return "".join(text.block(p) if i % 2 else text.markdown(p) for i, p in enumerate(parts))
