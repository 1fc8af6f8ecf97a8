"""Rows whose search for neighbours stands beside as many random samples, by the names that score tables give them."""

import re

from unlearnkit.wrappers import wrappers
from unlearnkit.wrappers.neighbours import NEAR

SEARCH = re.compile(r"\bnear=[^,)]+")  # in the name of a row that looks for neighbours
CONTROL = " control"  # after a search


def split(method: str) -> dict[str, str]:
    """{base, wrapper, options} of a method as the score table calls it; wrapper "" for a bare one."""
    parts = re.fullmatch(r"(\w+)\(([\w-]+(?:\([\w-]+\))?)\)(?:\((.*)\))?", method)
    if parts and parts[1] in wrappers:
        return {"base": parts[2], "wrapper": parts[1], "options": parts[3] or ""}
    bare = re.fullmatch(r"([\w-]+)(?:\((.*)\))?", method)
    return {"base": bare[1] if bare else method, "wrapper": "", "options": (bare and bare[2]) or ""}


def matched_control(method: str) -> str:
    """The name of the row that takes as many random samples as this row's search for neighbours finds: that of
    "weigh(npo)(near=text top 9, power=2.0)" is "weigh(npo)(near=text top 9 control, power=2.0)", and that of
    "expand(retrain)", which searches as its wrapper does by default, "expand(retrain)(near=feature+label top 10 control)".
    "" for a row that searches for nothing, and for a control itself."""
    search = SEARCH.search(method)
    if search and not search[0].endswith(CONTROL):
        return f"{method[: search.end()]}{CONTROL}{method[search.end() :]}"
    parts = split(method)
    if search or not parts["wrapper"] or "near" not in wrappers[parts["wrapper"]].options():
        return ""
    options = sorted([*filter(None, parts["options"].split(", ")), f"near={NEAR}{CONTROL}"])
    return f"{parts['wrapper']}({parts['base']})({', '.join(options)})"


def is_matched_control(method: str) -> bool:
    """Whether a row takes random samples, as many as another's search for neighbours."""
    search = SEARCH.search(method)
    return search is not None and search[0].endswith(CONTROL)
