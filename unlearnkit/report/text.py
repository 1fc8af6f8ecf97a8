"""Prose as HTML that needs no other host: Markdown, formulas as MathML, links within the site."""

import html
import re
from collections.abc import Callable

import mistune
from latex2mathml.converter import convert
from markupsafe import Markup
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

COMMENT = re.compile(r"<!--.*?-->", re.S)  # marks around numbers that a command fills in
ARXIV = re.compile(r"(?:https?://)?(?:www\.)?arxiv\.org/abs/(\d{4}\.\d{4,5})$")
NAMED = re.compile(r"\b(arXiv[: ]+)(\d{4}\.\d{4,5})\b")


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
    return MarkdownWithMath(renderer=_Renderer(escape=True)).render(COMMENT.sub("", source))


_plain = mistune.create_markdown(escape=True, plugins=["table"])


def markdown(source: str) -> str:
    """Markdown as HTML, its tables in boxes that scroll. HTML in it becomes text."""
    box = '<div class="box" tabindex="0" role="region" aria-label="Table">'
    return _plain(source).replace("<table>", f"{box}<table>").replace("</table>", "</table></div>")


def inline(source: str) -> str:
    """One paragraph of Markdown, without the paragraph."""
    return re.sub(r"^<p>|</p>\s*$", "", markdown(source.strip()))


def within(page: str, resolve: Callable[[str], str | None]) -> str:
    """HTML whose links stay in the site, or lead to a paper on arXiv.

    `resolve(address)` gives the new address of a link, or None if it leads elsewhere. Such a link becomes its text, with the
    address behind it if that is on the web.
    """

    def link(match: re.Match) -> str:
        address, label = html.unescape(match[1]), match[2]
        if new := resolve(address):
            return f'<a href="{html.escape(new)}">{label}</a>'
        if paper := ARXIV.match(address):
            return arxiv(paper[1], label)
        shown = re.sub(r"^https?://", "", address)
        return f"{label} ({html.escape(shown)})" if address.startswith("http") and shown not in label else label

    return re.sub(r'<a\s[^>]*?href="([^"]*)"[^>]*>(.*?)</a>', link, page, flags=re.S)


def arxiv(number: str, label: str) -> str:
    """A link to a paper. It loads nothing until a reader follows it."""
    return f'<a href="https://arxiv.org/abs/{number}" rel="external noreferrer">{label}</a>'


def papers(page: str) -> Markup:
    """HTML in which every "arXiv 2407.17710" is a link to that paper."""
    return Markup(NAMED.sub(lambda match: arxiv(match[2], match[0]), page))


def linked(value: str) -> Markup:
    """Plain text as HTML, with its papers as links."""
    return papers(html.escape(value))


def docstring(text: str) -> str:
    """A docstring as HTML: paragraphs, with code for what stands in backquotes."""
    parts = [" ".join(part.split()) for part in (text or "").split("\n\n")]
    coded = [re.sub("`([^`]+)`", r"<code>\1</code>", html.escape(p, quote=False)) for p in parts if p]
    return papers("".join(f"<p>{p}</p>" for p in coded))


def block(formula: str) -> str:
    """A formula in TeX as MathML, on a line of its own."""
    return f'<div class="math">{convert(formula.strip(), display="block")}</div>'
