"""The study as a static site: `unlearnkit report`. No page loads anything from another host.

Everything on it is found: results by their manifests, notebooks and their runs by their folders, methods, metrics and data
sets by their registries, claims in results/claims.yaml.
"""

from pathlib import Path

from unlearnkit.core import paths
from unlearnkit.core.progress import Progress
from unlearnkit.report import board_page, card_pages, leaderboard, prose_pages, result_pages, sources
from unlearnkit.report.site import Site
from unlearnkit.runner import notebook


def check(profile: str = "") -> list[str]:
    """Why the results should not be reported as they are, a line each: see unlearnkit.report.sources.problems."""
    return sources.problems(sources.gather(profile))


def build(out: Path | None = None, profile: str = "") -> Path:
    """Write the site; returns its first page. Every page marks the results on it that are stale, damaged or missing.

    out: the folder, results/report if not given; its pages are replaced. Raises BadValue if it holds something else.
    """
    site = Site(out or paths.root() / "results" / "report", sources.gather(profile))
    pages = len(site.results) + len(notebook.notebooks()) + len(site.registries) + 8
    with site.written(), Progress("report", pages) as bar:
        prose_pages.start(site)
        prose_pages.all_claims(site)  # a claim whose table is gone ends the report at once
        for r in site.results:
            result_pages.write(site, r)
            bar.step()
        result_pages.index(site)
        board = leaderboard.board(site.results)
        board_page.write(site, board)
        bar.step(8)  # it takes as long as so many results
        for kind in site.registries:
            card_pages.write(site, kind, board.costs() if board and kind == "method" else {})
            bar.step()
        prose_pages.all_notebooks(site, bar.step)
        prose_pages.glossary(site)
        prose_pages.search(site)
    return site.out / "index.html"
