"""Methods around methods: `(base, model, request, *, seed, device, **options) -> model`, one file each.

`base(model, request, seed=..., device=...)` is any unlearning method, its own options already given. A wrapper changes what
the base is asked for, or goes on from what it returns; as the base, it never learns which retain samples are similar.
"expand(finetune)" names the wrapper `expand` around finetune wherever a method is named; its options are those of both.
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
    """Register a wrapper. `source`: the paper or code that its definition comes from; `domains`: as of a method; `uses`:
    which entries of registries its options name, whose code its results depend on, too."""
    named = {"uses": uses} if uses else {}
    return wrappers.register(name, source=source, reads_forget_set=True, domains=tuple(domains), **named)
