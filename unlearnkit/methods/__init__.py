"""Unlearning methods: `(model, task, *, seed, device, **options) -> model`, one file each.

A method gets a trained model and an `unlearnkit.task.Request` (forget set, retain set, number of classes, recipe), and
returns a new model; what it was given stays as it was. It never learns which retain samples are similar to a target.
"""

from unlearnkit.registry import Registry

methods = Registry("method", "unlearnkit.methods")


def method(name: str, *, source: str):
    """Register a method. `source`: the paper or code that its definition and defaults come from."""
    return methods.register(name, source=source)
