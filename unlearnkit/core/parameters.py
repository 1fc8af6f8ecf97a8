"""The parameters that a notebook ran with: checked by unlearnkit.runner.notebook, recorded by unlearnkit.results."""

import copy
from collections.abc import Mapping


class Parameters(dict):
    """{name: value}, copied; `notebook` is the name of the notebook, "" where it is not known."""

    def __init__(self, values: Mapping[str, object], notebook: str = ""):
        super().__init__(copy.deepcopy(dict(values)))
        self.notebook = notebook
