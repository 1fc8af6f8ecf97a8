"""Prose as HTML that needs no other host: Markdown, formulas as MathML, links within the site."""

import html
import re
from collections.abc import Callable

import mistune
from latex2mathml.converter import convert
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

HEADING = re.compile(r"<(h[1-6])[^>]*>")


class _Renderer(IPythonRenderer):
    """Formulas become MathML, which browsers draw by themselves; headings lose nbconvert's ids and anchors."""

    def inline_math(self, body: str) -> str:
        return convert(body)

    def block_math(self, body: str) -> str:
        return block(body)

    def heading(self, text: str, level: int, **attributes) -> str:
        return f"<h{level}>{text}</h{level}>\n"


def notebook_markdown(source: str) -> str:
    """The Markdown of a notebook's cell as HTML."""
    return MarkdownWithMath(renderer=_Renderer(escape=False)).render(source)


_plain = mistune.create_markdown(escape=False, plugins=["table"])


def markdown(source: str) -> str:
    """Markdown as HTML."""
    return _plain(source)


def inline(source: str) -> str:
    """One paragraph of Markdown, without the paragraph."""
    return re.sub(r"^<p>|</p>\s*$", "", markdown(source.strip()))


def within(page: str, resolve: Callable[[str], str | None]) -> str:
    """HTML whose links all stay in the site.

    `resolve(address)` gives the new address of a link, or None if it leads elsewhere. Such a link becomes its text, with the
    address behind it if that is on the web.
    """

    def link(match: re.Match) -> str:
        address, label = html.unescape(match[1]), match[2]
        if new := resolve(address):
            return f'<a href="{html.escape(new)}">{label}</a>'
        shown = re.sub(r"^https?://", "", address)
        return f"{label} ({html.escape(shown)})" if address.startswith("http") and shown not in label else label

    return re.sub(r'<a\s[^>]*?href="([^"]*)"[^>]*>(.*?)</a>', link, page, flags=re.S)


def docstring(text: str) -> str:
    """A docstring as HTML: paragraphs, with code for what stands in backquotes."""
    parts = [" ".join(part.split()) for part in (text or "").split("\n\n")]
    coded = [re.sub("`([^`]+)`", r"<code>\1</code>", html.escape(p, quote=False)) for p in parts if p]
    return "".join(f"<p>{p}</p>" for p in coded)


def block(formula: str) -> str:
    """A formula in TeX as MathML, on a line of its own."""
    return f'<div class="math">{convert(formula.strip(), display="block")}</div>'
