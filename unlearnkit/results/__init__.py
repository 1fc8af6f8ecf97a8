"""The committed results: tables and figures, the data behind them, and where each came from."""

from unlearnkit.results.publishing import (
    EXPECTED,
    folders,
    publish,
    states,
    verify,
    write_whole,
)

__all__ = [
    "EXPECTED",
    "folders",
    "publish",
    "states",
    "verify",
    "write_whole",
]
