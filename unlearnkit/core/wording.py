"""Lists in messages, which do not grow with what they are of."""

from collections.abc import Sequence


def some(names: Sequence[str], most: int = 4) -> str:
    """Names in a line: all, or the first of many and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most + 1 else ""
    return ", ".join(names[:most] if more else names) + more
