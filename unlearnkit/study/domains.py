"""Images and texts through one study: which of the two wings serves a config."""

from types import ModuleType

from unlearnkit.core.errors import unknown
from unlearnkit.core.store import Artefact
from unlearnkit.images import domain as images
from unlearnkit.texts import domain as texts

DOMAINS = {wing.NAME: wing for wing in (images, texts)}  # two modules with the same names


def domain(config) -> ModuleType:
    """The wing that serves a config, unlearnkit.images.domain or unlearnkit.texts.domain. Raises UnknownName for a
    config of another domain."""
    if config.domain not in DOMAINS:
        raise unknown("domain", config.domain, DOMAINS)
    return DOMAINS[config.domain]


def load_task(config):
    """The task of a config; built at the first call."""
    return domain(config).load_task(config)


def task_artefact(config) -> Artefact:
    """The stored task of a config. `info` holds its digest, and that of each reference's training set."""
    return domain(config).task_artefact(config)
