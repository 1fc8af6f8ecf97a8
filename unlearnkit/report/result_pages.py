"""The pages of tables and figures, and the index of them."""

import gzip
from collections import defaultdict

from unlearnkit.core import paths
from unlearnkit.report import gates, pictures, rows, show
from unlearnkit.report.site import Site
from unlearnkit.report.sources import Result
from unlearnkit.results.selection import commands
from unlearnkit.runner import notebook

WORDS = 60  # characters; longer texts in a table break into lines


def write(site: Site, r: Result) -> None:
    """The page of one result, with its picture and its data."""
    path, shown = site.page_of(r), {}
    csv, png = r.file(".csv"), r.file(".png")
    if csv and r.whole:
        shown = {"csv": _copy_data(site, csv)}
        if r.whole != csv:
            shown["whole"] = _copy_data(site, r.whole)
        if r.name.startswith("T"):
            columns, constant = show.columns(r.shown)
            shown |= {"columns": columns, "constant": constant, "cells": show.cells(r.shown, columns)}
            shown |= {"apart": gates.apart(r.table), "runs": [bool(keys) for keys in r.behind]}
            if any(shown["runs"]):
                shown["data"] = path.removesuffix(".html") + ".js"
                found = rows.data(r, commands(r.name, r.profile, r.table))
                site.put(shown["data"], rows.script(found))
                for i, keys in enumerate(r.behind):
                    for key in keys:
                        site.rows_of.setdefault(key, f"{path}#row={i + 1}")
    if png:
        content = pictures.small(png.read_bytes())
        shown["png"] = site.pictures[content] = site.put(site.pages[site.name_of(png)], content)
    if r.entry:
        scores = [f"results/{r.profile}/{f}".replace("//", "/") for f in r.entry["files"] if f.startswith("scores/")]
        executed = f"runs/{r.executed.parent.name}.html" if r.executed else f"notebooks/{r.entry['notebook']}.html"
        shown |= {"scores": scores[0] if scores else "", "executed": executed}
    file = paths.root() / "notebooks" / f"{r.entry.get('notebook', '')}.ipynb"
    question = notebook.title(file) if file.is_file() else ""
    stem = r.entry.get("notebook", "")
    site.page(path, "result.html", r.label, "table" if r.name[0] == "T" else "figure", question,
              r=r, stem=stem, question=question, WORDS=WORDS, **shown)  # fmt: skip


def index(site: Site) -> None:
    """The page that lists all results by their profile."""
    groups = defaultdict(list)
    for r in site.results:
        groups[r.profile or "small"].append(r)
    site.page("results.html", "results.html", "Tables and figures", groups=groups)


def _copy_data(site: Site, csv) -> str:
    content, target = csv.read_bytes(), site.pages[site.name_of(csv)]
    if target.endswith(".gz"):
        content = gzip.compress(content, mtime=0)
    return site.put(target, content)
