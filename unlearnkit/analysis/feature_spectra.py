"""Where features lie, in full: the eigen-spectra of what is kept and what is forgotten, and DA by each way to take it."""

import contextlib
from collections.abc import Mapping, Sequence

import pandas as pd
import torch
from torch import Tensor

from unlearnkit import study
from unlearnkit.core.alignment import alignment, directions, effective_rank, moment, spectrum
from unlearnkit.core.errors import NotApplicable
from unlearnkit.core.progress import Progress
from unlearnkit.core.statistics import mean_interval
from unlearnkit.images.config import Config
from unlearnkit.images.outputs import Outputs
from unlearnkit.methods import applies, methods
from unlearnkit.metrics.features import features
from unlearnkit.study.model_outputs import outputs
from unlearnkit.study.reference_models import Trained

SPECTRUM_GROUPS = ("retain", "target", "test")
N_EIGENVALUES = 40  # eigenvalues of a spectrum that are kept: the rest is rounding


def subspace_rules(classes: int) -> dict[str, dict]:
    """The ways to take the main directions, by name: 90%, 95% and 99% of the energy, one less than the number of classes
    as the rank; each uncentred and centred."""
    ranks = {"90%": {"energy": 0.9}, "95%": {"energy": 0.95}, "99%": {"energy": 0.99}, "K-1": {"rank": classes - 1}}
    return {
        f"{name}{', centred' if centred else ''}": {**options, "centred": centred}
        for centred in (False, True)
        for name, options in ranks.items()
    }


def eigenvalues(seen: Outputs) -> pd.DataFrame:
    """Columns group, place (from 1) and share: the eigenvalues of each group's uncentred second moment to their sum."""
    parts = []
    for group in (g for g in SPECTRUM_GROUPS if features(seen, g).any()):
        values = spectrum(moment(features(seen, group)))[:N_EIGENVALUES]
        share = (values / moment(features(seen, group)).trace()).tolist()
        parts.append(pd.DataFrame({"group": group, "place": range(1, len(share) + 1), "share": share}))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=["group", "place", "share"])


def alignment_by_rule(seen: Outputs) -> pd.DataFrame:
    """Columns way, rank and DA of the targets (and of test samples: DA_test), for each of `ways`; and effective_rank of
    the targets. A way by which some of these have no value, as of features that are all 0 or all alike, has no row."""
    kept, gone, test = (features(seen, g) for g in ("retain", "target", "test"))
    rows = []
    for name, how in subspace_rules(seen.logits.shape[1]).items():
        with contextlib.suppress(NotApplicable):
            main = directions(kept, **how)
            of = [alignment(v, main, centred=how["centred"]).item() for v in (gone, test)]
            rows.append({"way": name, "rank": main.shape[1], "DA": of[0], "DA_test": of[1]})
    return pd.DataFrame(rows, columns=["way", "rank", "DA", "DA_test"]).assign(
        effective_rank=effective_rank(moment(gone))
    )


def feature_spectra(
    grids: Mapping[str, Sequence[Config]], names: Sequence[str], *, tuned: bool = True, device: str = "auto"
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(`eigenvalues`, `aligned`) of every row of `names` in the configs of each protocol; one row per seed, with the columns
    protocol, method, seed, run. A method that has no meaning for a protocol, or diverged, is left out there."""
    found: tuple[list, list] = ([], [])
    wanted = [(p, c, n) for p, grid in grids.items() for c in grid for n in names]
    study.references([c for _, c, _ in wanted], device=device)  # together
    with Progress("spectra", len(wanted)) as bar:
        for protocol, config, name in wanted:
            of = config.columns() | {"protocol": protocol, "method": name}
            if (model := _made(config, name, tuned, device)) is not None:
                key, seen = outputs(model, features=True, device=device)
                for parts, table in zip(found, (eigenvalues(seen), alignment_by_rule(seen)), strict=True):
                    parts += [table.assign(**of, run=key)] if len(table) else []
            bar.step()
    return tuple(pd.concat(parts, ignore_index=True) for parts in found)


def _made(config: Config, name: str, tuned: bool, device: str) -> Trained | None:
    """The model of a row, None if its method has no meaning in the config or diverged: T5 counts these."""
    if name in methods and not applies(name, config.targets):
        return None
    try:
        model = study.model(config, name, tuned=tuned, device=device)
    except NotApplicable:
        return None
    return None if "diverged" in model.artefact.info else model


def spectra_table(by_seed: pd.DataFrame) -> pd.DataFrame:
    """DA by each way to take it: one row per data set, protocol, method and way, means over seeds with 95% intervals.

    by_seed: the second table of `looked_at`. from_retrain: DA less retrain's of the same seed, for how well the way tells
    them apart.
    """
    of = ["dataset", "protocol", "method", "way"]
    retrain = by_seed[by_seed.method == "retrain"].set_index(["dataset", "protocol", "way", "seed"]).DA
    at = pd.MultiIndex.from_frame(by_seed[["dataset", "protocol", "way", "seed"]])
    table = by_seed.assign(from_retrain=by_seed.DA.to_numpy() - retrain.reindex(at).to_numpy())
    for name in ("method", "protocol", "dataset"):  # in the order asked for, also where the first seeds have no row
        place = {value: i for i, value in enumerate(dict.fromkeys(by_seed[name]))}
        table = table.sort_values(name, key=lambda v, place=place: v.map(place), kind="stable")
    rows = []
    for index, part in table.groupby(of, sort=False):
        row = dict(zip(of, index, strict=True)) | {"n": len(part)}
        for name in ("DA", "from_retrain", "DA_test", "rank", "effective_rank"):
            if part[name].notna().any():
                values = mean_interval(part[name].dropna())
                row |= {name: values["mean"], f"{name}_low": values["low"], f"{name}_high": values["high"]}
        rows.append(row | {"run": " ".join(part.run)})
    return pd.DataFrame(rows)


def plane(models: Mapping[str, Outputs], onto: str = "original") -> dict[str, tuple[Tensor, float]]:
    """{name: (coordinates (n, 2) of all samples, share of the training samples' covariance in the plane)}, the same plane
    for all: the first two principal components of the features of the training set by `onto`.

    A basis of features is arbitrary, and so is their scale: each model's features, centred and at unit mean square over
    the retained samples, are first turned onto those of `onto` by the rotation that brings retained samples closest
    (orthogonal Procrustes), which changes no distance and no metric here. Widths must be equal. Features of nothing but 0
    stay in the middle.
    """
    seen = models[onto]
    kept = seen.rows("retain")
    trained = torch.cat([kept, seen.rows("target")])
    even = {name: _evened(e.features.double(), kept) for name, e in models.items()}
    axes = directions(even[onto][trained], rank=2, centred=True)
    found = {}
    for name, v in even.items():
        u, _, w = torch.linalg.svd(v[kept].T @ even[onto][kept])
        xy = v @ (u @ w) @ axes
        whole, held = (t[trained].var(0).sum().item() for t in (v, xy))
        found[name] = xy.float(), held / whole if whole else 0.0
    return found


def planes(
    configs: Sequence[Config], names: Sequence[str], *, tuned: bool = True, device: str = "auto"
) -> pd.DataFrame:
    """`plane` of each config and row: one row per retained or forgotten sample (group "retain" or "target"), with its label,
    x, y, held (the share of the model's covariance that the plane holds), the columns of the config, method and run.

    A method that has no meaning in a config, or diverged, is left out there. names must hold "original".
    """
    parts = []
    for config in configs:
        made = {name: model for name in names if (model := _made(config, name, tuned, device)) is not None}
        found = {name: outputs(model, features=True, device=device) for name, model in made.items()}
        for name, (xy, held) in plane({name: seen for name, (_, seen) in found.items()}).items():
            key, seen = found[name]
            for group in ("retain", "target"):
                rows = seen.rows(group)
                part = pd.DataFrame(xy[rows].numpy(), columns=["x", "y"]).assign(label=seen.labels[rows].numpy())
                parts.append(part.assign(**config.columns(), method=name, group=group, held=held, run=key))
    return pd.concat(parts, ignore_index=True)


def _evened(v: Tensor, rows: Tensor) -> Tensor:
    v = v - v[rows].mean(0)
    size = v[rows].square().sum(1).mean().sqrt()
    return v / size if size > 0 else v
