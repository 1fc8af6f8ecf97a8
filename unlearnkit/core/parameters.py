"""The parameters that a notebook ran with: checked by unlearnkit.runner.notebook, recorded by unlearnkit.results."""

import copy
from collections.abc import Mapping
from dataclasses import fields


class Parameters(dict):
    """{name: value}, copied; `notebook` is the name of the notebook, "" where it is not known; `defaults`: whether the
    values are those of its file, about which its text may state what comes out."""

    def __init__(self, values: Mapping[str, object], notebook: str = "", defaults: bool = False):
        super().__init__(copy.deepcopy(dict(values)))
        self.notebook, self.defaults = notebook, defaults

    def of(self, config_type: type) -> dict:
        """Those that make a grid of configs of this type: `config_grid(**parameters.of(Config))`."""
        names = {field.name for field in fields(config_type)} | {"seeds", "extra_conditions"}
        return {name: value for name, value in self.items() if name in names}
