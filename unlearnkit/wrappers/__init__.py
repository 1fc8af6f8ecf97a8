"""Wrappers: methods around methods, `(base, model, request, *, seed, device, **options) -> model`, one file each.

`base(model, request, seed=..., device=...)` is any unlearning method with its own options already set. A wrapper
changes the request that the base gets, or continues from the model that the base returns; as the base, it never learns
which retained samples are similar to a target. "expand(finetune)" is the wrapper `expand` around finetune, wherever a
method is named; its options are those of both. To add one, add a file here with a function under `@wrapper(...)`.
"""

from collections.abc import Callable, Mapping, Sequence

from unlearnkit.core.registry import Entry, Registry

wrappers = Registry("wrapper", "unlearnkit.wrappers")


def wrapper(
    name: str,
    *,
    source: str,
    domains: tuple[str, ...] = ("image",),
    uses: Callable[[Mapping], Sequence[Entry]] | None = None,
):
    """Register a wrapper. `source`: the paper or code of its definition; `domains`: as of a method; `uses`: the
    registry entries that its options name, on whose code its results depend, too."""
    named = {"uses": uses} if uses else {}
    return wrappers.register(name, source=source, reads_forget_set=True, domains=tuple(domains), **named)
