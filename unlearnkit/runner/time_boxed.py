"""A cut of the profile `paper` for half an hour with a GPU: `unlearnkit cut`, by the library alone.

No notebook, papermill, Dask or figure is needed. All that is computed goes through the store: a killed run goes on where it
was, and the notebooks of the profile `paper-cut` (notebooks/grids/paper_cut.yaml, the same values) find it there, on a
machine with a GPU; models made on a CPU are others. It works through its parts seed by seed - study I, then the
classical protocols - and begins no model that would outlast the minutes it was given, the time for scores taken off. Every
part that is told of is whole.

What it costs, by part and seed, in passes over 45,000 images, forward and backward (3.4 GFLOP an image with ResNet-18: 0.56
GMAC forward, twice that backward; 1.5e14 FLOP a pass):

    similar  9 models, 5 of them with copies: 144; four other methods, twice: 60; outputs of 17: 17    221 passes
    tenth    original, retrain twice, clean again: 64; seven other methods: 51; outputs of 11: 11      126
    class    the same                                                                                   126

At 35% of the 790 TFLOP/s that one H200 reaches in bf16 a pass takes 0.55 s, a seed 4 min and a half, three seeds 13. Small
maps and eager kernels seldom reach that: planned is 1.5 s a pass (100 TFLOP/s), at which a seed takes 12 min and all but a
part of two fits. Scoring, mostly the confidence attack on the CPU (5 to 7 s a model), is spread over processes, and a minute
kept for each seed. These are estimates: it has not been run on a GPU yet.
"""

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import get_context

import pandas as pd
import torch

from unlearnkit import results, study
from unlearnkit.analysis import literature as published
from unlearnkit.analysis import tables
from unlearnkit.core.progress import duration
from unlearnkit.images.config import Config, config_grid
from unlearnkit.methods import applies, methods
from unlearnkit.methods.tuned_options import resolve
from unlearnkit.metrics import metrics
from unlearnkit.study.protocols import protocols
from unlearnkit.study.reference_models import Trained, train_references

PASS = 1.5  # seconds that one pass over the training set is expected to take, until some have been seen
EVIDENCE = 1.0  # passes that it takes to see what a model says of all samples: without gradients, but in small batches
SCORING = 60.0  # seconds that are kept for the scores of each seed


@dataclass(frozen=True)
class Plan:
    """What is computed: the parameters of notebooks 41 and 50, by their names."""

    dataset: str = "cifar10"
    train_size: int = 45000  # of 50,000: a random tenth takes as many decoys as targets
    max_pool_images: int = 0
    test_size: int = 0
    model: str = "resnet18"
    recipe: Mapping = field(  # one steep cycle: 16 epochs bring ResNet-18 to about 94%, 60 to 95
        default_factory=lambda: (
            {"epochs": 16, "batch_size": 512, "lr": 0.4, "weight_decay": 0.0005}
            | {"augment": "flip_shift", "precision": "bf16"}
        )
    )
    options: Mapping = field(  # batches as papers have them: the defaults are for hundreds of images
        default_factory=lambda: {
            m: {"batch_size": 256} for m in ("finetune", "random_label", "salun", "l1_sparse", "scrub")
        }
    )
    tuned: bool = False
    seeds: int = 3
    protocols: Sequence[str] = ("tenth", "class")
    classical: Sequence[str] = (
        "retrain", "finetune", "gradient_ascent", "random_label", "salun", "l1_sparse", "scrub", "ssd",
    )  # fmt: skip
    targets: Sequence[str] = ("canary",)
    n_targets: int = 50
    copies: Sequence[int] = (0, 25)
    strength: Sequence[float] = (0.3,)
    similar: Sequence[str] = ("retrain", "finetune", "gradient_ascent", "random_label", "scrub")
    publish: str = "results/paper-cut"

    @property
    def common(self) -> dict:
        names = ("train_size", "max_pool_images", "test_size", "model")
        return {name: getattr(self, name) for name in names} | {"recipe": dict(self.recipe)}


PLAN = Plan()
TOY = Plan(  # seconds on a CPU: does everything run?
    dataset="digits", train_size=200, max_pool_images=4000, test_size=100, model="small_cnn",
    recipe={"epochs": 6, "batch_size": 32, "lr": 0.1}, options={}, seeds=1, protocols=("tenth", "class"),
    classical=("retrain", "ssd"), n_targets=6, copies=(0, 5), similar=("retrain", "gradient_ascent"),
    publish="results/runs/toy",
)  # fmt: skip


@dataclass(frozen=True)
class Part:
    """One seed of one protocol, or of study I ("similar"): its configs, and the methods that each is to have."""

    name: str
    seed: int
    configs: Sequence[Config]
    methods: Sequence[str]

    def rows(self) -> list[tuple[Config, str]]:
        """Each row of its table: a config and a method, or one of study.BASELINES."""
        return [
            (c, n)
            for c in self.configs
            for n in (*study.BASELINES, *(m for m in self.methods if applies(m, c.targets)))
        ]


@dataclass(frozen=True)
class Piece:
    """One model: how many passes over the training set it takes, about, and what makes it on a device."""

    label: str
    passes: float
    make: Callable[[str], Trained]


def parts(plan: Plan) -> list[Part]:
    """Seed by seed, so that whatever is finished first has all kinds."""
    found = []
    doses = {"targets": list(plan.targets), "copies": list(plan.copies), "strength": list(plan.strength)}
    for seed in range(plan.seeds):
        common = plan.common | {"seeds": [seed]}
        grid = config_grid(dataset=plan.dataset, n_targets=plan.n_targets, **common, **doses)
        found.append(Part("similar", seed, grid, plan.similar))
        for name, grid in protocols(plan.protocols, plan.dataset, **common).items():
            found.append(Part(name, seed, grid, plan.classical))
    return found


def pieces(part: Part, plan: Plan) -> Iterator[Piece]:
    """All models of a part, each once; without copies `clean` is `retrain`."""
    for config in part.configs:
        again = [("original", ""), ("retrain", ""), *([("clean", "")] if config.copies else []), ("clean", "again")]
        for name, repeat in again:
            make = partial(_reference, config, name, repeat)
            yield Piece(
                _said(part, config, f"reference {name} {repeat}".strip()), config.recipe.epochs + EVIDENCE, make
            )
    for config, name in part.rows():
        if name not in study.BASELINES:
            options = plan.options.get(name)
            epochs = resolve(name, config.dataset, config.model, options, tuned=plan.tuned).get("epochs", 1)
            passes = config.recipe.epochs if methods[name].info["starts_anew"] else epochs
            yield Piece(
                _said(part, config, name), passes + EVIDENCE, partial(_unlearned, config, name, options, plan.tuned)
            )


def _said(part: Part, config: Config, what: str) -> str:
    return f"{part.name}, {f'{config.copies} copies, ' if part.name == 'similar' else ''}seed {config.seed}: {what}"


def _reference(config: Config, name: str, repeat: str, device: str) -> Trained:
    return train_references([(config, name, repeat)], device)[0]


def _unlearned(config: Config, name: str, options: Mapping | None, tuned: bool, device: str) -> Trained:
    return study.unlearn(config, name, options, tuned=tuned, device=device)


def run(
    plan: Plan = PLAN, *, minutes: float = 25.0, device: str = "auto", workers: int = 0, to: str = ""
) -> pd.DataFrame | None:
    """Compute what fits into `minutes` and publish T2-protocols, T2 and T10-published (unlearnkit.analysis.literature) to the results
    folder `to`, the plan's if empty. Returns the tidy score table, whose column `protocol` names the part; None if no part
    was finished.

    A table holds the parts that are whole, perhaps fewer seeds than planned: its n says how many. What is in the store
    takes no time. workers: processes that score, one per core if 0. Prints a line per model with the time left. Raises
    BadValue where the data set is not there.
    """
    todo, done = parts(plan), []
    made = {part.name + str(part.seed): list(pieces(part, plan)) for part in todo}
    clock = _Clock(minutes, sum(piece.passes for found in made.values() for piece in found))
    for part in todo:
        if not _made(made[part.name + str(part.seed)], part.seed, clock, device):
            clock.say(f"{part.name} of seed {part.seed} does not end in time: the same command goes on there")
            break
        done.append(part)
    if not done:
        return None
    scores = _scores(done, plan, device, workers)
    clock.say(f"{len(scores):,} scores of {len(done)} of {len(todo)} parts")
    publish(scores, plan, to or plan.publish)
    return scores


def _made(part: Sequence[Piece], seed: int, clock: "_Clock", device: str) -> bool:
    """Make the models of a part, each if it fits into the time; False at the first that does not."""
    for piece in part:
        if not clock.fits(piece.passes, seed + 1):
            return False
        begun = clock.gone()
        model = piece.make(device)
        if "diverged" not in model.artefact.info:
            study.outputs(model, device=device)
        clock.tell(piece, model, clock.gone() - begun)
    return True


class _Clock:
    """Lines that a person watches, and what fits into the time."""

    def __init__(self, minutes: float, passes: float):
        self.start, self.end, self.left = time.monotonic(), minutes * 60, passes
        self.passes = self.seconds = 0.0  # of the models so far; those found say how long they took when they were made

    def gone(self) -> float:
        return time.monotonic() - self.start

    def rate(self) -> float:
        return self.seconds / self.passes if self.passes else PASS

    def fits(self, passes: float, seeds: int) -> bool:
        return self.gone() + passes * self.rate() + seeds * SCORING <= self.end

    def tell(self, piece: Piece, model: Trained, seconds: float) -> None:
        took = max(seconds, model.artefact.manifest["made"]["seconds_since_start"])
        self.passes, self.seconds, self.left = self.passes + piece.passes, self.seconds + took, self.left - piece.passes
        self.say(f"{piece.label} ({took:.0f} s), about {duration(self.left * self.rate())} left in all")

    def say(self, text: str) -> None:
        print(f"[{duration(self.gone())}] {text}", flush=True)


def _scores(done: Sequence[Part], plan: Plan, device: str, workers: int) -> pd.DataFrame:
    """The tidy table of whole parts, by the metrics that need no more than a model's outputs, which is there."""
    rows = [(part.name, config, name) for part in done for config, name in part.rows()]
    score = partial(_score, options=dict(plan.options), tuned=plan.tuned, device=device)
    workers = min(workers or os.cpu_count() or 1, len(rows))
    if workers == 1:
        found = [score(row) for row in rows]
    else:
        with ProcessPoolExecutor(workers, get_context("spawn"), torch.set_num_threads, (1,)) as max_pool_images:
            found = list(max_pool_images.map(score, rows))
    return pd.concat(found, ignore_index=True)


def _score(row: tuple[str, Config, str], *, options: Mapping, tuned: bool, device: str) -> pd.DataFrame:
    part, config, name = row
    return study.scores([config], [name], options, tuned=tuned, options_in_name=False, device=device).assign(
        protocol=part
    )


def publish(scores: pd.DataFrame, plan: Plan, to: str) -> None:
    """Write the tables, as notebooks 41 and 50 would, and the published figures beside ours."""
    same = plan.common | {
        "dataset": plan.dataset,
        "seeds": plan.seeds,
        "options": dict(plan.options),
        "tuned": plan.tuned,
    }
    classical, similar = scores[scores.protocol != "similar"], scores[scores.protocol == "similar"]
    if len(classical):
        more = {"protocols": list(plan.protocols), "methods": list(plan.classical)}
        origin = {"to": to, "notebook": "41_classical_protocols", "parameters": same | more}
        table = tables.protocols_table(classical)
        results.publish("T2-protocols", table, runs=classical, roots=[study.scores, tables.protocols_table], **origin)
        beside, mine = published.published_beside_ours(classical), published.comparable(classical)
        results.publish(
            "T10-published", beside, runs=mine, roots=[study.scores, published.published_beside_ours], **origin
        )
    if len(similar):
        similar = similar.drop(columns="protocol")
        doses = {"targets": plan.targets, "copies": plan.copies, "strength": plan.strength, "methods": plan.similar}
        more = {"n_targets": plan.n_targets} | {name: list(values) for name, values in doses.items()}
        origin = {"to": to, "notebook": "50_dose_response", "parameters": same | more}
        roots = [tables.dose_response_table, *(methods[m] for m in plan.similar), *metrics.values()]
        results.publish("T2", tables.dose_response_table(similar), runs=similar, roots=roots, **origin)
