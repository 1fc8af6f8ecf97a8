"""Rows of a table: a config and a method, or a reference, whose options are checked and resolved once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from unlearnkit.core.errors import NotApplicable
from unlearnkit.images.config import Config
from unlearnkit.methods import applies
from unlearnkit.methods.tuned_options import resolve
from unlearnkit.study.domains import domain
from unlearnkit.study.reference_models import INITIAL

# rows of every table that are no methods: two references, and clean from other seeds, the noise floor beside it
BASELINES = ("original", "clean", "clean-again")
Names = Sequence[str | tuple[str, Mapping]]  # of rows; a pair gives a name its own options


@dataclass(frozen=True)
class Row:
    """One config, and what its model is made by: a method, one of BASELINES, or "initial", the untrained model.

    options: those of a method that were given; resolved: all its options, with defaults and tuned values; of: what else a
    measurement of it depends on (unlearnkit.study.memory).
    """

    config: Config
    name: str
    options: Mapping = field(default_factory=dict)
    resolved: Mapping = field(default_factory=dict)
    of: Mapping = field(default_factory=dict)

    @property
    def is_method(self) -> bool:
        return not _is_reference(self.name)

    @property
    def label(self) -> str:
        """What tables call the row: its name, with the options that were given."""
        return label(self.name, self.options)


def label(name: str, options: Mapping) -> str:
    """What tables call a method with these options."""
    return name if not options else f"{name}({', '.join(f'{k}={v}' for k, v in sorted(options.items()))})"


def resolve_row(config: Config, name: str, options: Mapping | None = None, *, tuned: bool = True) -> Row:
    """The row of a config and a name, whether or not the method has a meaning there.

    options: those that differ from the tuned values, or where there are none, or not `tuned`, from the defaults. Raises
    UnknownName for a method or an option that does not exist, BadValue for a value of the wrong type.
    """
    if _is_reference(name):
        return Row(config, name)
    given = dict(options or {})
    kwargs = {"tuned": tuned, "domain": domain(config).NAME}
    return Row(config, name, given, resolve(name, config.dataset, config.model, given, **kwargs))


def applicable_rows(
    configs: Sequence[Config],
    names: Names | Mapping[Config, Names],
    options: Mapping[str, Mapping] | None = None,
    *,
    tuned: bool = True,
) -> list[Row]:
    """The rows of every config and name, config by config, without methods that have no meaning for a config's targets.

    names: for all configs, or for each; options: {name: options}, for names that do not come with their own. Raises
    what `resolve_row` does, before anything runs, and NotApplicable if no row has a meaning.
    """
    rows, names_left_out = [], set()
    for config in configs:
        for item in names[config] if isinstance(names, Mapping) else names:
            name, given = (item, (options or {}).get(item, {})) if isinstance(item, str) else item
            if _is_reference(name) or applies(name, config.targets, domain(config).NAME):
                rows.append(resolve_row(config, name, given, tuned=tuned))
            else:
                names_left_out.add(name)
    if names_left_out and not rows:
        raise NotApplicable(f"no meaning for these targets: {', '.join(sorted(names_left_out))}")
    return rows


def _is_reference(name: str) -> bool:
    return name in (*BASELINES, INITIAL)
