"""The models of a row: one, or an ensemble of models made the same way from other draws of the seeds; and their
margins."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import torch
from torch import Tensor

from unlearnkit.core.errors import BadValue, NonFiniteLoss, NotApplicable
from unlearnkit.images.config import Config
from unlearnkit.study.model_outputs import outputs
from unlearnkit.study.reference_models import INITIAL, Trained, train_references, untrained
from unlearnkit.study.rows import Row, resolve_row
from unlearnkit.study.unlearned_models import unlearn_row

MIN_MODELS = 4  # models of a kind that ensembles are compared by: two to fit a Gaussian on, two to test


def draws(n: int) -> list[str]:
    """Names of n draws of the seeds; the first is the one that everything else uses. Raises BadValue for less than
    one."""
    if n < 1:
        raise BadValue(f"an ensemble has at least one model, got {n}")
    return ["", *map(str, range(1, n))]


# --- one model -------------------------------------------------------------------------------------------------------


def model_of_row(row: Row, original: Trained | None = None, *, device: str = "auto") -> Trained:
    """The model of a row; one whose method diverged says so (`Trained.diverged`). original: the config's, if it is
    known.

    Raises NotApplicable if the method refuses the config, NonFiniteLoss if a reference model diverges.
    """
    if row.name == INITIAL:
        return untrained(row.config)
    if row.is_method:
        return unlearn_row(row, original, device=device)
    return train_references([(row.config, *_reference(row.name))], device)[0]


def model(
    config: Config, name: str, options: Mapping | None = None, *, tuned: bool = True, device: str = "auto"
) -> Trained:
    """The model that a method makes of a config's original, or that of one of BASELINES, or "initial"; see
    `model_of_row`."""
    return model_of_row(resolve_row(config, name, options, tuned=tuned), device=device)


def models_of_rows(rows: Iterable[Row], *, device: str = "auto") -> Iterator[tuple[Row, Trained | None]]:
    """Each row with its model; None for a method that refuses the config, or diverged."""
    for row in rows:
        try:
            made = model_of_row(row, device=device)
        except NotApplicable:
            yield row, None
        else:
            yield row, None if made.diverged else made


# --- several models --------------------------------------------------------------------------------------------------


def models_of_row(row: Row, n: int, *, device: str = "auto") -> list[Trained | None]:
    """n models of a row from other draws of the seeds, None for each that diverged; a method's k-th model comes from
    the k-th original. Raises BadValue for less than one model."""
    if row.name == INITIAL:
        return [untrained(row.config, repeat=draw) for draw in draws(n)]
    if not row.is_method:
        reference, prefix = _reference(row.name)
        return models_of_reference(row.config, reference, n, again=bool(prefix), device=device)
    originals = models_of_reference(row.config, "original", n, device=device)
    made = [
        original and unlearn_row(row, original, repeat=draw, device=device)
        for draw, original in zip(draws(n), originals)
    ]
    return [None if model is None or model.diverged else model for model in made]


def models_of_reference(
    config: Config, reference: str, n: int, *, again: bool = False, device: str = "auto"
) -> list[Trained | None]:
    """n models of one of REFERENCES from other draws of the seeds, None for each that diverged. again: from further
    draws, which makes a noise floor. Raises BadValue for less than one model."""
    prefix = "again" if again else ""
    return train_or_none([(config, reference, prefix + draw) for draw in draws(n)], device)


def train_or_none(asked: Sequence[tuple[Config, str, str]], device: str = "auto") -> list[Trained | None]:
    """`train_references`, with None for each model that diverges: since that stops all models that are trained beside
    it, they are then trained one by one."""
    try:
        return list(train_references(asked, device))
    except NonFiniteLoss:
        models: list[Trained | None] = []
        for one in asked:
            try:
                models += train_references([one], device)
            except NonFiniteLoss:
                models.append(None)
        return models


def _reference(name: str) -> tuple[str, str]:
    """(reference, draw of its seeds) of a row in BASELINES."""
    return name.removesuffix("-again"), "again" if name.endswith("-again") else ""


# --- margins ---------------------------------------------------------------------------------------------------------


def margins(models: Sequence[Trained | None], device: str = "auto") -> Tensor:
    """Outputs.phi of each model on every sample of the task, (models, samples) float64; NaN for a model that diverged.

    Raises NonFiniteLoss if all diverged.
    """
    values = [None if model is None else outputs(model, device=device)[1].phi for model in models]
    first = next((phi for phi in values if phi is not None), None)
    if first is None:
        raise NonFiniteLoss(f"all {len(values)} models diverged")
    return torch.stack([torch.full_like(first, torch.nan) if phi is None else phi for phi in values])


def drop_diverged(*ensembles: Tensor) -> list[Tensor]:
    """The ensembles, each (draws, samples), without the draws that diverged in one of them: what is compared has the
    same number of models, and a model stays beside the original that it was made from.

    Raises BadValue if fewer than MIN_MODELS draws stay.
    """
    whole = torch.stack([e.isfinite().all(1) for e in ensembles]).all(0)
    if whole.sum() < MIN_MODELS:
        raise BadValue(
            f"of {len(whole)} models only {int(whole.sum())} did not diverge, and at least {MIN_MODELS} are needed: "
            "ask for more, leave the method out, or change its options"
        )
    return [e[whole] for e in ensembles]


def ensemble(
    config: Config,
    name: str,
    n: int,
    options: Mapping | None = None,
    *,
    tuned: bool = True,
    reference: bool = False,
    device: str = "auto",
) -> Tensor:
    """Margins (Outputs.phi) of n models of one kind made from other seeds, on the same task: (n, samples) float64, NaN
    for a model that diverged.

    name: a method, one of BASELINES, or "initial"; with reference=True one of the reference models. A method's k-th
    model comes from the k-th original. Raises BadValue for less than one model.
    """
    if reference:
        return margins(models_of_reference(config, name, n, device=device), device)
    return margins(models_of_row(resolve_row(config, name, options, tuned=tuned), n, device=device), device)
