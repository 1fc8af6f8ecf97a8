"""Unlearning methods, one file each: `(model, request, *, seed, device, **options) -> model`. README.md lists them.

A method gets a trained model and an `unlearnkit.images.request.Request` (forget set, retain set, number of classes,
recipe) and returns a new model; model and request stay as they were. It never learns which retained samples are similar
to a target.

Each option is `name: Annotated[type, source of the default] = default`, with a `Search` beside the source if
`unlearnkit tune` may choose its value.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from unlearnkit.core.errors import NotApplicable
from unlearnkit.core.registry import Entry, Registry, Wrapped
from unlearnkit.images.request import Request
from unlearnkit.wrappers import wrappers


class Methods(Registry):
    """The registered methods, and any of them in a wrapper, as in "expand(finetune)". See unlearnkit.wrappers."""

    @property
    def families(self) -> dict[str, Entry]:
        """Entries to list for names that are not registered one by one."""
        return {f"{name}(METHOD)": replace(entry, name=f"{name}(METHOD)") for name, entry in wrappers.items()}

    def __getitem__(self, name: str) -> Entry:
        if not (parts := re.fullmatch(r"(\w+)\((.+)\)", name)):
            return super().__getitem__(name)
        wrapper, base = wrappers[parts[1]], self[parts[2]]
        domains = tuple(d for d in base.info["domains"] if d in wrapper.info["domains"])
        return Wrapped(self.kind, name, wrapper.function, base.info | wrapper.info | {"domains": domains}, base)

    __contains__ = Mapping.__contains__


methods = Methods("method", "unlearnkit.methods")


@dataclass(frozen=True)
class Search:
    """The range that tuning may try; on a logarithmic scale if `log`, of whole numbers if both ends are whole."""

    low: float
    high: float
    log: bool = False


OURS = "ours"  # the source of a default that no paper states, or that was chosen for small data
BATCH = "ours, for forget and retain sets of tens to hundreds; papers: 64 to 256"

DOMAINS = ("image", "text")


def method(
    name: str,
    *,
    source: str,
    reads_forget_set: bool = True,
    whole_classes: bool | None = None,
    domains: tuple[str, ...] = ("image",),
    text: Mapping[str, object] | None = None,
    starts_anew: bool = False,
):
    """Register a method.

    source: the paper or code of its definition; reads_forget_set: False if it must never look at a sample to be
    forgotten, which is then tested; whole_classes: True if it only makes sense where whole classes are forgotten, False
    if it makes no sense there, None for both; domains: "image", "text" or both; text: {option: default} for language
    models where it differs, because their steps are Adam's (ours unless the method's paper is about language models);
    starts_anew: True if it takes nothing but the architecture from the model.
    """
    info = {"reads_forget_set": reads_forget_set, "whole_classes": whole_classes, "starts_anew": starts_anew}
    return methods.register(name, source=source, **info, domains=tuple(domains), text=dict(text or {}))


def applies(name: str, targets: str, domain: str = "image") -> bool:
    """Whether the method makes sense in this domain, "image" or "text", for targets of this kind
    (data_builders.select_targets)."""
    info = methods[name].info
    return domain in info["domains"] and info["whole_classes"] in (None, targets == "class")


def need_whole_classes(name: str, request: Request) -> list[int]:
    """The classes to be forgotten. Raises NotApplicable if samples of them are retained."""
    if not request.whole_classes:
        raise NotApplicable(
            f"{name} forgets whole classes, and some samples of the classes to be forgotten are to stay: use "
            "targets='class', or another method"
        )
    return request.whole_classes
