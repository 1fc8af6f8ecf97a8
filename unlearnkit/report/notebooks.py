"""Notebooks as pages. Outputs are sanitised: what a notebook ran must not run again in a reader's browser."""

import base64
import re
from functools import cache
from pathlib import Path

import nbformat
from bleach import clean
from jinja2 import pass_context
from nbconvert import HTMLExporter

from unlearnkit.report.pictures import small
from unlearnkit.report.text import notebook_markdown

OWN = re.compile(r"<style.*?</style>|<script.*?</script>", re.S)  # of data frames: the site has its own
KEPT = ("text/html", "text/plain", "image/png")  # kinds of output; what runs or draws by itself (script, SVG) goes
TAGS = {"table", "thead", "tbody", "tfoot", "tr", "th", "td", "caption", "div", "span", "p", "br", "b", "i", "em"}
TAGS |= {"strong", "code", "pre", "ul", "ol", "li", "sub", "sup", "h1", "h2", "h3", "h4"}
ATTRIBUTES = {"*": ["class", "colspan", "rowspan", "scope", "title"]}


class _Exporter(HTMLExporter):
    @pass_context
    def markdown2html(self, context, source: str) -> str:
        return notebook_markdown(source)


@cache
def _exporter() -> _Exporter:
    """One for all notebooks: its templates take longer to read than a notebook."""
    return _Exporter(template_name="basic", exclude_input_prompt=True, exclude_output_prompt=True)


def body(path: Path) -> tuple[str, dict[str, bytes]]:
    """(HTML, pictures by their names in it) of a notebook's cells and outputs, without their own styles and scripts; each
    table scrolls in a box."""
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        cell.pop("attachments", None)
        for output in cell.get("outputs", ()):
            if "data" in output:
                output["data"] = {kind: safe(kind, value) for kind, value in output["data"].items() if kind in KEPT}
    page, _ = _exporter().from_notebook_node(notebook)
    page = OWN.sub("", page)
    page = re.sub(
        r"<table.*?</table>",
        r'<div class="box" tabindex="0" role="region" aria-label="Table">\g<0></div>',
        page,
        flags=re.S,
    )
    pictures: dict[str, bytes] = {}

    def filed(found: re.Match) -> str:
        name = f"{path.stem}-{len(pictures) + 1}.png"
        pictures[name] = base64.b64decode(found[1])
        return f'src="{name}" loading="lazy"'

    return re.sub(r'src="data:image/png;base64,([^"]*)"', filed, page), pictures


def safe(kind: str, value: str) -> str:
    """One output of a cell, fit for a page: HTML with TAGS and ATTRIBUTES alone, a picture with few colours."""
    if kind == "text/html":
        return clean(OWN.sub("", value), tags=TAGS, attributes=ATTRIBUTES, strip=True)
    if kind == "image/png":
        return base64.b64encode(small(base64.b64decode(value))).decode()
    return value
