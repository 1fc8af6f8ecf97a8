"""Unlearning methods: `(model, task, *, seed, device, **options) -> model`, one file each.

A method gets a trained model and an `unlearnkit.task.Request` (forget set, retain set, number of classes, recipe), and
returns a new model; what it was given stays as it was. It never learns which retain samples are similar to a target.
"""

from unlearnkit.registry import Registry

methods = Registry("method", "unlearnkit.methods")


def method(name: str, *, source: str, reads_forget_set: bool = True):
    """Register a method. `source`: the paper or code that its definition and defaults come from; `reads_forget_set`:
    False for methods that must never look at a sample to be forgotten, which is then tested.
    """
    return methods.register(name, source=source, reads_forget_set=reads_forget_set)
