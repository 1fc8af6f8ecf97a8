"""The study as a static site: `unlearnkit report`. No page loads anything from another host.

Everything on it is found: results by their manifests, notebooks and their runs by their folders, methods, metrics and data
sets by their registries, claims in results/claims.yaml.
"""

from pathlib import Path

from unlearnkit.core import paths
from unlearnkit.report import sources
from unlearnkit.report.site import Site


def check(profile: str = "") -> list[str]:
    """Why the results should not be reported as they are, a line each: see unlearnkit.report.sources.problems."""
    return sources.problems(sources.gather(profile))


def build(out: Path | None = None, profile: str = "") -> Path:
    """Write the site; returns its first page. Every page marks the results on it that are stale, damaged or missing.

    out: the folder, results/report if not given; its pages are replaced.
    """
    return Site(out or paths.root() / "results" / "report", sources.gather(profile)).write()
