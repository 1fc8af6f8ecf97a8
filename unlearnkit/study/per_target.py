"""Per target, what a model still knows of it: the table that influence is inferred from, seeds and targets drawn anew."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
import torch

from data_builders.arms import arm_columns
from data_builders.task import WithRoles
from unlearnkit.core import divergence as divergence_module
from unlearnkit.core import paths
from unlearnkit.core.compute import processor
from unlearnkit.core.errors import BadValue, NonFiniteLoss, NotApplicable
from unlearnkit.core.progress import Progress
from unlearnkit.core.store import Spec
from unlearnkit.core.stored_tables import stored_table
from unlearnkit.images.config import MIXED, Config
from unlearnkit.images.half_data import HalfData
from unlearnkit.images.outputs import Outputs
from unlearnkit.metrics import accuracy as accuracy_module
from unlearnkit.metrics import standardised as standardised_module
from unlearnkit.metrics.accuracy import accuracy
from unlearnkit.metrics.standardised import rank_share, standardised
from unlearnkit.study import generation as generation_module
from unlearnkit.study.domains import domain, load_task, task_artefact
from unlearnkit.study.memory import Memory, in_kept_precision
from unlearnkit.study.reference_models import REFERENCES, Trained, references, train_references
from unlearnkit.study.rows import Names, Row, label, resolve_row
from unlearnkit.study.scoring import with_needs
from unlearnkit.study.unlearned_models import unlearn_row

AGAIN = "-again"  # a reference from other seeds: its noise floor
REFERENCE_ROWS = tuple(name + repeat for name in REFERENCES for repeat in ("", AGAIN))


def target_scores(
    configs: Sequence[Config],
    methods: Names = (),
    options: Mapping[str, Mapping] | None = None,
    *,
    tuned: bool = True,
    memory: str | Path = "",
    device: str = "auto",
) -> pd.DataFrame:
    """One row per mixed config, model and target: the six references of REFERENCE_ROWS, and each method that applies.

    Columns: those of the config and its arm; method, seed, target (the id of its raw sample); score, how well the model
    knows it (`familiarity` of its outputs), standardised by the decoys of its kind (unlearnkit.metrics.standardised); rank,
    the share of decoys below it; log_ratio, where half-data models exist, its log-likelihood ratio under those with it and
    without it, nats, and log_ratio_rank, the share of decoys below that; label_given, 1 if the model gives the label trained
    on, of texts if it tells the fact; divergence, of its probabilities from the original's, nats; of texts
    score_log_probability, min_k_rank, nats_per_token, exact_memorisation, extraction_strength, log_truth_ratio, said (the
    model's own answer), its rouge_l and its cosine with the true one; and of the model as a whole TA, RA (filler alone),
    RA_similar, utility, steps, seconds, n_decoys, processor, run. A method that diverged, or that refuses the config, has no
    rows; `refused` in the table's attrs says which, and why.

    methods: names, or pairs (name, options) where a method comes with several sets of options, which are then part of its
    name here. options: {name: options} that differ from the tuned ones without being named. memory: a folder of the
    project in which scores are kept as they are made, and looked up first (unlearnkit.study.memory). Raises BadValue for
    a config without arms.
    """
    if single := next((c for c in configs if c.targets != MIXED), None):
        raise BadValue(f"scores per target are of mixed tasks: give the config of {single.dataset} its `arms`")
    folder = paths.root() / memory if memory else None
    configs = [in_kept_precision(c, folder) for c in configs]
    rows = {c: _rows(c, methods, options or {}, tuned) for c in configs}  # checked before anything is trained
    memories = {c: Memory(folder, c) for c in configs}
    wanted = [Row(c, name) for c in configs for name in REFERENCE_ROWS]
    missing = [row for row in wanted if memories[row.config][row] is None]
    if folder:
        for config in dict.fromkeys(row.config for row in missing):
            domain(config).half_data(config, keep=True)
    train_references([(row.config, *_split(row.name)) for row in missing], device)  # together
    tables, refused = [], {}
    with Progress("scores per target", len(wanted) + sum(map(len, rows.values()))) as bar:
        for name, row in (pair for c in configs for pair in (*((r, Row(c, r)) for r in REFERENCE_ROWS), *rows[c])):
            table = memories[row.config][row]
            if table is None:
                try:
                    table = _measured(row, device)
                    memories[row.config][row] = table
                except (NotApplicable, NonFiniteLoss) as error:
                    refused[name] = str(error)
            if table is not None:
                tables.append(table.assign(method=name))
            bar.step()
    table = pd.concat(tables, ignore_index=True)
    table.attrs["refused"] = refused
    return table


def _rows(config: Config, methods: Names, options: Mapping[str, Mapping], tuned: bool) -> list[tuple[str, Row]]:
    """(what the table calls it, row) of each method."""
    rows = []
    for item in methods:
        name, own = (item, {}) if isinstance(item, str) else item
        rows.append((label(name, own), resolve_row(config, name, {**options.get(name, {}), **own}, tuned=tuned)))
    return rows


def _measured(row: Row, device: str) -> pd.DataFrame:
    """The scores of one row. Raises NotApplicable for a method that refuses the config, NonFiniteLoss for one that
    diverged."""
    original = references([row.config], ["original"], device=device)[0]["original"]
    if row.name in REFERENCE_ROWS:
        (model,) = train_references([(row.config, *_split(row.name))], device)
    else:
        model = unlearn_row(row, original, device=device)
    if model.diverged:
        raise NonFiniteLoss(model.artefact.info["diverged"])
    return _scored(row, model, original, device)


def _split(name: str) -> tuple[str, str]:
    """(reference, draw of its seeds)."""
    return name.removesuffix(AGAIN), "again" if name.endswith(AGAIN) else ""


def _scored(row: Row, model: Trained, original: Trained, device: str) -> pd.DataFrame:
    config = row.config
    roots = (
        of_targets,
        standardised_module,
        accuracy_module,
        divergence_module,
        *((generation_module,) if domain(config).TARGET_NEEDS else ()),
        domain(config).outputs_code(config)[0],
    )
    spec = Spec("target-scores", {}, roots, [model.key, original.key, task_artefact(config).key])

    def make() -> pd.DataFrame:
        own, before = (with_needs(m, domain(config).TARGET_NEEDS, device=device) for m in (model, original))
        return of_targets(load_task(config), own, before, domain(config).half_data(config))

    info = model.artefact.info
    cost = {name: float(info.get(name, "nan")) for name in ("steps", "seconds")} | {"processor": processor(device)}
    return stored_table(spec, make).assign(**config.condition(), seed=config.seed, **cost)


def of_targets(task: WithRoles, own: Outputs, before: Outputs, halves: HalfData | None = None) -> pd.DataFrame:
    """The part of `target_scores` that is measured on one model of a mixed task. before: the original's outputs; halves: of
    the task's pool, for likelihood ratios of samples with their true label."""
    assert task.arm is not None
    arms, tables = task.facts["arms"], []
    rows, decoys = task.index("target"), task.index("decoy")
    kind_of_decoy = [arms[i]["targets"] for i in task.arm[decoys]]
    moved, more = own.divergence(before, rows), own.more_of(rows)
    given = own.label_given(rows)
    for number, arm in enumerate(arms):
        place = (task.arm[rows] == number).nonzero().squeeze(1)
        own_decoys = decoys[torch.tensor([kind == arm["targets"] for kind in kind_of_decoy])]
        known, reference = own.familiarity[rows[place]], own.familiarity[own_decoys]
        values = {
            "target": task.source[rows[place]].numpy(),
            "label_given": given[place].numpy(),
            "divergence": moved[place].numpy(),
            "n_decoys": len(own_decoys),
        }
        for name, value in own.ranked.items():
            values[name] = rank_share(value[rows[place]], value[own_decoys]).numpy()
        for name, value in own.familiarities.items():
            values[name] = standardised(value[rows[place]], value[own_decoys]).numpy()
        if halves is not None and arm["targets"] != "canary":  # no half-data model saw a canary's label
            ratio, others = halves.log_ratios(known, task.source[rows[place]], reference, task.source[own_decoys])
            values |= {"log_ratio": ratio.numpy(), "log_ratio_rank": rank_share(ratio, others).numpy()}
        values |= {name: [value[i] for i in place.tolist()] for name, value in more.items()}
        tables.append(pd.DataFrame(values).assign(**arm_columns(arm)))
    similar = accuracy(own, "similar") if len(own.rows("similar")) else None
    return pd.concat(tables, ignore_index=True).assign(
        TA=accuracy(own, "test"), RA=accuracy(own, "filler"), RA_similar=similar, utility=own.utility
    )
