"""The committed results: tables and figures, the data behind them, and where each came from."""

from unlearnkit.results.publishing import (
    folders,
    publish,
    published,
    published_figure,
    states,
    verify,
    write_whole,
)

__all__ = [
    "folders",
    "publish",
    "published",
    "published_figure",
    "states",
    "verify",
    "write_whole",
]
