"""Errors that a user can act on: each message names the cause and the way out."""

import difflib
from collections.abc import Iterable

from unlearnkit.core.renamed import NAMES

MOST = 1600  # characters of a message about an input: what is wrong and what to do stand at its ends


class UnlearnkitError(Exception):
    """Base of all errors that are the input's or the machine's, not a bug of ours. The CLI prints only its message."""


class InputError(UnlearnkitError):
    """Base of errors that quote what was given: a message of more than MOST characters is cut in its middle."""

    def __init__(self, message: str = "", *rest: object):
        text = str(message)
        if len(text) > MOST:
            half = MOST // 2
            text = f"{text[:half]} [... {len(text) - 2 * half:,} characters ...] {text[-half:]}"
        super().__init__(text, *rest)


class UnknownName(InputError, KeyError):
    """A method, metric, dataset, parameter ... that does not exist."""

    __str__ = Exception.__str__  # KeyError would print the message in quotes


class BadValue(InputError, ValueError):
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
