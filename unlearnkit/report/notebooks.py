"""Notebooks as pages."""

import re
from pathlib import Path

import nbformat
from jinja2 import pass_context
from nbconvert import HTMLExporter

from unlearnkit.report.text import notebook_markdown

OWN = re.compile(r"<style.*?</style>|<script.*?</script>", re.S)  # of data frames: the site has its own


class _Exporter(HTMLExporter):
    @pass_context
    def markdown2html(self, context, source: str) -> str:
        return notebook_markdown(source)


def body(path: Path) -> str:
    """The cells and outputs of a notebook as HTML, without their own styles and scripts; each table scrolls in a box."""
    exporter = _Exporter(template_name="basic", exclude_input_prompt=True, exclude_output_prompt=True)
    page, _ = exporter.from_notebook_node(nbformat.read(path, as_version=4))
    page = OWN.sub("", page).replace('<table border="1" class="dataframe">', '<table class="dataframe">')
    return re.sub(
        r'<table class="dataframe">.*?</table>',
        r'<div class="box" tabindex="0" role="region" aria-label="Table">\g<0></div>',
        page,
        flags=re.S,
    )
