"""Imports without a part that is slow and that nothing here uses."""

import contextlib
import sys
from collections.abc import Iterator

IRIS = "rfc3987_syntax"


@contextlib.contextmanager
def without_iris() -> Iterator[None]:
    """Import jsonschema, and nbformat and papermill, which import it, without its check of internationalised addresses.

    The grammar of these takes 1.4 s in every process that reads a notebook, and no schema of a notebook or a grid has such
    a format. Does nothing where it has been imported already.
    """
    if IRIS in sys.modules:
        yield
        return
    sys.modules[IRIS] = None  # jsonschema goes on without it
    try:
        yield
    finally:
        sys.modules.pop(IRIS, None)
