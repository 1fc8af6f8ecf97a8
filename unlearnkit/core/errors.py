"""Errors that a user can act on: each message names the cause and the way out."""

import difflib
from collections.abc import Iterable

from unlearnkit.core.renamed import NAMES


class UnlearnkitError(Exception):
    """Base of all errors that are the input's or the machine's, not a bug of ours. The CLI prints only its message."""


class UnknownName(UnlearnkitError, KeyError):
    """A method, metric, dataset, parameter ... that does not exist."""

    __str__ = Exception.__str__  # KeyError would print the message in quotes


class BadValue(UnlearnkitError, ValueError):
    """A value of the wrong type or out of its range."""


class NotApplicable(BadValue):
    """A method or metric that has no meaning for this task or model."""


class NonFiniteLoss(UnlearnkitError, ArithmeticError):
    """Training diverged."""


class StoreError(UnlearnkitError, OSError):
    """The cache or the results folder cannot be read or written."""


def unknown(kind: str, name: object, names: Iterable[str], hint: str = "") -> UnknownName:
    """The error for `name`, which is none of `names`: with what it is called now, or else the nearest one."""
    names = sorted(names)
    if NAMES.get(str(name)) in names:
        return UnknownName(f"unknown {kind} {name!r}: it is now called {NAMES[str(name)]!r}.")
    near = difflib.get_close_matches(str(name), names, n=1, cutoff=0.5)
    guess = f" Did you mean {near[0]!r}?" if near else ""
    return UnknownName(
        f"unknown {kind} {name!r}.{guess} Known: {', '.join(names) or 'none'}.{' ' + hint if hint else ''}"
    )
