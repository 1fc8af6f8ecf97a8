"""The eigen-spectra of the features of the retain and the forget set, dimensional alignment (DA) by each rule to take
the main subspace, and features in two dimensions."""

import contextlib
from collections.abc import Mapping, Sequence

import pandas as pd
import torch
from torch import Tensor

from unlearnkit import study
from unlearnkit.core.alignment import alignment, directions, effective_rank, moment, principal, spectrum
from unlearnkit.core.errors import NotApplicable
from unlearnkit.core.progress import Progress
from unlearnkit.core.statistics import interval_columns
from unlearnkit.images.config import Config
from unlearnkit.images.outputs import Outputs
from unlearnkit.metrics.features import features
from unlearnkit.metrics.subsample import drawn
from unlearnkit.study.ensembles import models_of_rows
from unlearnkit.study.memory import Kept
from unlearnkit.study.rows import Row, applicable_rows

SPECTRUM_GROUPS = ("retain", "target", "test")
SHOWN = {"retain": 2000, "target": 400}  # points of a plane, at most
N_EIGENVALUES = 40  # eigenvalues of a spectrum that are kept: the rest is rounding


def subspace_rules(classes: int) -> dict[str, dict]:
    """The rules to take the main subspace, by name: 90%, 95% and 99% of the energy, one less than the number of classes
    as the rank; each uncentred and centred."""
    ranks = {"90%": {"energy": 0.9}, "95%": {"energy": 0.95}, "99%": {"energy": 0.99}, "K-1": {"rank": classes - 1}}
    return {
        f"{name}{', centred' if centred else ''}": {**options, "centred": centred}
        for centred in (False, True)
        for name, options in ranks.items()
    }


def eigenvalues(outputs: Outputs) -> pd.DataFrame:
    """Columns group, eigenvalue_index (from 1) and eigenvalue_share: the eigenvalues of each group's uncentred second
    moment as shares of their sum."""
    parts = []
    for group in (g for g in SPECTRUM_GROUPS if features(outputs, g).any()):
        of_group = moment(features(outputs, group))
        share = (spectrum(of_group)[:N_EIGENVALUES] / of_group.trace()).tolist()
        index = range(1, len(share) + 1)
        parts.append(pd.DataFrame({"group": group, "eigenvalue_index": index, "eigenvalue_share": share}))
    names = ["group", "eigenvalue_index", "eigenvalue_share"]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=names)


def alignment_by_rule(outputs: Outputs) -> pd.DataFrame:
    """Columns subspace_rule, subspace_rank and DA of the targets (and of test samples: DA_test), for each of
    `subspace_rules`; and effective_rank of the targets. A rule by which some of these have no value, as of features
    that are all 0 or all alike, has no row."""
    kept, gone, test = (features(outputs, g) for g in ("retain", "target", "test"))
    moments = {centred: moment(kept, centred=centred) for centred in (False, True)}
    rows = []
    for name, rule in subspace_rules(outputs.logits.shape[1]).items():
        with contextlib.suppress(NotApplicable):
            main = principal(moments[rule["centred"]], **{k: v for k, v in rule.items() if k != "centred"})
            da, da_test = (alignment(v, main, centred=rule["centred"]).item() for v in (gone, test))
            rows.append({"subspace_rule": name, "subspace_rank": main.shape[1], "DA": da, "DA_test": da_test})
    table = pd.DataFrame(rows, columns=["subspace_rule", "subspace_rank", "DA", "DA_test"])
    return table.assign(effective_rank=effective_rank(moment(gone)))


def feature_spectra(
    grids: Mapping[str, Sequence[Config]],
    names: Sequence[str],
    options: Mapping[str, Mapping] | None = None,
    *,
    tuned: bool = True,
    memory: str = "",
    device: str = "auto",
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(`eigenvalues`, `alignment_by_rule`) of every row of `names` in the configs of each protocol; one row per seed,
    with the columns protocol, method, seed, run. A method that has no meaning for a protocol, or diverged, is left out
    there. options: {method: options} that are to differ from the tuned ones; memory: see unlearnkit.study.memory.Kept."""
    parts: tuple[list, list] = ([], [])
    kept = Kept(memory, "eigenvalues"), Kept(memory, "alignment")
    rows = {protocol: applicable_rows(grid, names, options, tuned=tuned) for protocol, grid in grids.items()}
    missing = kept[1].missing([row for of_protocol in rows.values() for row in of_protocol])
    study.references(list(dict.fromkeys(row.config for row in missing)), ["original"], device=device)  # together
    with Progress("spectra", sum(len(of_protocol) for of_protocol in rows.values())) as bar:
        for protocol, of_protocol in rows.items():
            for row in of_protocol:
                columns = row.config.columns() | {"protocol": protocol, "method": row.name}
                for tables, table in zip(parts, _spectra(row, kept, device)):
                    tables += [table.assign(**columns)] if len(table) else []
                bar.step()
    return tuple(pd.concat(tables, ignore_index=True) for tables in parts)


def _spectra(row: Row, kept: tuple[Kept, Kept], device: str) -> tuple[pd.DataFrame, ...]:
    """(eigenvalues, alignment by rule) of a row; none for a method that refuses the config, or diverged."""
    tables = tuple(k[row] for k in kept)
    if any(table is None for table in tables):
        ((_, model),) = models_of_rows([row], device=device)
        if model is None:
            return ()
        key, outputs = study.outputs(model, features=True, device=device)
        tables = tuple(table.assign(run=key) for table in (eigenvalues(outputs), alignment_by_rule(outputs)))
        for k, table in zip(kept, tables, strict=True):
            k[row] = table
    return tables


def spectra_table(by_seed: pd.DataFrame) -> pd.DataFrame:
    """DA by each rule: one row per data set, protocol, method and rule, means over n_seeds seeds with 95% intervals.

    by_seed: the second table of `feature_spectra`. da_minus_retrain: DA less retrain's of the same seed, for how well
    the rule tells the two apart.
    """
    keys = ["dataset", "protocol", "method", "subspace_rule"]
    without_method = ["dataset", "protocol", "subspace_rule", "seed"]
    retrain = by_seed[by_seed.method == "retrain"].set_index(without_method).DA
    index = pd.MultiIndex.from_frame(by_seed[without_method])
    table = by_seed.assign(da_minus_retrain=by_seed.DA.to_numpy() - retrain.reindex(index).to_numpy())
    for name in ("method", "protocol", "dataset"):  # in the order asked for, also where the first seeds have no row
        place = {value: i for i, value in enumerate(dict.fromkeys(by_seed[name]))}
        table = table.sort_values(name, key=lambda v, place=place: v.map(place), kind="stable")
    rows = []
    for index, part in table.groupby(keys, sort=False):
        row = dict(zip(keys, index, strict=True)) | {"n_seeds": len(part)}
        for name in ("DA", "da_minus_retrain", "DA_test", "subspace_rank", "effective_rank"):
            row |= interval_columns(name, part[name])
        rows.append(row | {"run": " ".join(part.run)})
    return pd.DataFrame(rows)


def plane(models: Mapping[str, Outputs], onto: str = "original") -> dict[str, tuple[Tensor, float]]:
    """{name: (coordinates (n, 2) of all samples, share of the training samples' covariance in the plane)}, the same
    plane for all: the first two principal components of the features of the training set by `onto`.

    A basis of features is arbitrary, and so is their scale: each model's features, centred and at unit mean square over
    the retained samples, are first turned onto those of `onto` by the rotation that brings retained samples closest
    (orthogonal Procrustes), which changes no distance and no metric here. Widths must be equal. Features of nothing but
    0 stay in the middle.
    """
    outputs = models[onto]
    kept = outputs.rows("retain")
    trained = torch.cat([kept, outputs.rows("target")])
    scaled = {name: _centred_and_scaled(o.features.double(), kept) for name, o in models.items()}
    axes = directions(scaled[onto][trained], rank=2, centred=True)
    planes = {}
    for name, v in scaled.items():
        u, _, w = torch.linalg.svd(v[kept].T @ scaled[onto][kept])
        xy = v @ (u @ w) @ axes
        whole, held = (t[trained].var(0).sum().item() for t in (v, xy))
        planes[name] = xy.float(), held / whole if whole else 0.0
    return planes


def planes(
    configs: Sequence[Config],
    names: Sequence[str],
    options: Mapping[str, Mapping] | None = None,
    *,
    tuned: bool = True,
    memory: str = "",
    device: str = "auto",
) -> pd.DataFrame:
    """`plane` of each config and row: one row per retained or forgotten sample (group "retain" or "target"), with its
    label, x, y, variance_explained (the share of the model's covariance that the plane holds), the columns of the
    config, method and run. Of groups of more samples as many as SHOWN says are drawn, for plane and points alike.

    A method that has no meaning in a config, or diverged, is left out there. names must hold "original". options, memory:
    as of `feature_spectra`.
    """
    tables = []
    for config in configs:
        rows = applicable_rows([config], names, options, tuned=tuned)
        asked = {"rows": [[row.name, dict(row.resolved)] for row in rows]}
        table = Kept(memory, "planes", **asked).get(
            Row(config, "original"), lambda rows=rows: _plane_points(rows, device)
        )
        tables.append(table.assign(**config.columns()))
    return pd.concat(tables, ignore_index=True)


def _plane_points(rows: Sequence[Row], device: str) -> pd.DataFrame:
    """The points of one config's rows in one plane."""
    parts, known = [], {}
    for row, model in models_of_rows(rows, device=device):
        if model is not None:
            key, outputs = study.outputs(model, features=True, device=device)
            shown = torch.cat([drawn(outputs.rows(group), most, "plane") for group, most in SHOWN.items()])
            known[row.name] = key, outputs.select(shown)
    if known:
        for name, (xy, share) in plane({name: outputs for name, (_, outputs) in known.items()}).items():
            key, outputs = known[name]
            columns = {"method": name, "variance_explained": share, "run": key}
            for group in SHOWN:
                points = outputs.rows(group)
                part = pd.DataFrame(xy[points].numpy(), columns=["x", "y"]).assign(label=outputs.labels[points].numpy())
                parts.append(part.assign(**columns, group=group))
    return pd.concat(parts, ignore_index=True)


def _centred_and_scaled(v: Tensor, rows: Tensor) -> Tensor:
    v = v - v[rows].mean(0)
    size = v[rows].square().sum(1).mean().sqrt()
    return v / size if size > 0 else v
