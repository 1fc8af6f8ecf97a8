"""How much influence is left, arm by arm and method by method, with what may be said of it.

Input everywhere is the table of unlearnkit.study.target_scores. Intervals are those of unlearnkit.core.bootstrap: seeds,
then their targets, are drawn anew; methods are compared on the same targets, doses by the same seeds.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from unlearnkit.analysis.matched_controls import is_matched_control, matched_control
from unlearnkit.core import bootstrap
from unlearnkit.core.errors import BadValue
from unlearnkit.core.statistics import GUESSED, LEARNT, interval_columns
from unlearnkit.metrics.standardised import exposure
from unlearnkit.study import REFERENCE_ROWS

CONDITION = ["dataset", "train_size", "architecture", "augment"]  # of the models
ARM = ["targets", "control", "copies", "perturbation", "strength", "similarity_level"]  # of the targets
USABLE = 0.05  # utility, which is test accuracy for images, that a model may lose against retrain of the same seeds
OF_ANSWERS = ("cosine", "nats_per_token", "exact_memorisation", "extraction_strength")  # of texts, means
OF_MODELS = ("TA", "RA_filler", "neighbour_cost", "utility", "steps", "seconds")  # of a model as a whole
NEGATIVE_CONTROLS = ("classifier_only", "cmf_head")  # they keep every feature: no metric may call them unlearned
NOT_COUNTED = ("not learnt", "masked", "negative control", "not usable", "not moved")  # verdicts
FALSE_POSITIVES = 0.01  # share of decoys that a likelihood-ratio test may take for targets
MARGIN = 0.1  # of residual influence: what counts as equal to clean, in tests of equivalence
OF_TARGETS = (  # columns of the scores that are of each target; texts have more than images
    "score", "rank", "label_given", "divergence", "log_ratio", "log_ratio_rank", "score_log_probability", "rouge_l",
    "log_truth_ratio", "min_k_rank", *OF_ANSWERS,
)  # fmt: skip
SHARES = {  # of targets: of which values, and which count
    "taken_for_member": ("log_ratio", lambda values: values > 0),
    "above_decoys": ("log_ratio_rank", lambda values: values >= 1 - FALSE_POSITIVES),
}
ROW_ORDER = ("original", "original-again", "retrain", "retrain-again", "", "clean", "clean-again")


def residual_influences(scores: pd.DataFrame) -> pd.DataFrame:
    """One row per condition, arm and method: what is left of the influence, from 1, `original`, to 0, `clean`.

    residual_influence: ratio of differences of mean standardised margins; residual_influence_rank: the same of ranks
    among decoys; label_given: share of targets given the label trained on; MIA_AUC: of the attack that tells targets from
    decoys by their margin, the mean rank among decoys, 0.5 by chance; exposure: in bits; over_no_copies: residual
    influence less that of the same kind's arm without near-duplicates; minus_retrain: less retrain's in the same arm;
    minus_control: of a search for neighbours, less that of its matched control; each with _low and _high. Their p_ are
    two-sided, p_as_clean is of the test that it is MARGIN or more away from clean's, none adjusted. Where half-data models
    exist, and labels are true, also residual_influence_likelihood_ratio, likelihood_ratio_accuracy, of telling the model
    from clean by its targets (0.5: not at all), and likelihood_ratio_tpr, at FALSE_POSITIVES, each with its interval (after
    U-LiRA, Hayes et al. 2024, arXiv 2403.01218; the Gaussians are of half-data models, and not of unlearned ones). Of texts
    also rouge_l and residual_influence_log_probability, with their intervals, the means of OF_ANSWERS, truth_ratio (the
    geometric mean), min_k_AUC and PrivLeak, in percent. Of the models, means over seeds: OF_MODELS, as far as measured;
    neighbour_cost is the accuracy on near-duplicates that was lost against the original. Gates: learnt (LEARNT; random
    targets that are GUESSED are exempt), usable (USABLE), moved (its outputs on these targets are farther from the
    original's than those of a second original). verdict: see
    `_verdict`. Residual influences are masked, None, where original and clean do not differ beyond noise, and where it is
    not learnt.
    """
    _check(scores)
    parts = [_of_condition(part, keys) for keys, part in scores.groupby(CONDITION, sort=False)]
    table = pd.concat(parts, ignore_index=True)
    place = {name: i for i, name in enumerate(ROW_ORDER)}
    table = table.assign(_place=table.method.map(lambda method: place.get(method, place[""])))
    return table.sort_values([*CONDITION, *ARM, "_place", "method"], ignore_index=True).drop(columns="_place")


def _check(scores: pd.DataFrame) -> None:
    for keys, part in scores.groupby(CONDITION):
        if missing := set(REFERENCE_ROWS) - set(part.method):
            raise BadValue(
                f"{keys[0]}: residual influence needs the references, and {', '.join(sorted(missing))} are not there"
            )
        if part.duplicated([*ARM, "seed", "target", "method"]).any():
            raise BadValue(f"{keys[0]}: a target of one seed has two rows of one method: options belong into its name")
        targets = {key: frozenset(rows.target) for key, rows in part.groupby([*ARM, "seed", "method"])}
        for key, own in targets.items():
            if own != targets[(*key[:-1], "original")]:
                raise BadValue(
                    f"{keys[0]}, seed {key[-2]}: {key[-1]} was measured on other targets than original: delete the "
                    "remembered scores of this seed, and measure all of it anew"
                )


def _of_condition(scores: pd.DataFrame, keys: tuple) -> pd.DataFrame:
    utility = scores.get("utility", scores.TA).fillna(scores.TA)  # of images they are the same
    models = scores.assign(utility=utility).rename(columns={"RA": "RA_filler"})
    if "RA_similar" in models:
        before = models[models.method == "original"].groupby("seed").RA_similar.first()
        models["neighbour_cost"] = models.seed.map(before) - models.RA_similar
    kept = models.groupby("method")[[c for c in OF_MODELS if c in models]].mean()
    by_seed = models.groupby(["method", "seed"]).utility.first().unstack("seed")
    lost = (by_seed.loc["retrain"] - by_seed).mean(axis=1)  # on the seeds that a method was measured on
    shown = [c for c in kept if c != "utility" or (utility != scores.TA).any()]
    arms = {arm: _Arm(part, arm) for arm, part in scores.groupby(ARM, sort=False)}
    rows = []
    for arm, drawn in arms.items():
        named = dict(zip(ARM, arm, strict=True))
        base = arms.get(_without_copies(named, arms))
        base = None if base is drawn else base
        for method in drawn.methods:
            row = dict(zip(CONDITION, keys, strict=True)) | named | {"method": method} | drawn.row(method, base)
            row |= kept.loc[method, shown].to_dict()
            row["usable"] = bool(lost[method] <= USABLE)
            rows.append(row | {"verdict": _verdict(row)})
    return pd.DataFrame(rows)


def _without_copies(arm: Mapping, arms: Mapping) -> tuple | None:
    """The arm of the same kind without near-duplicates."""
    same = (k for k in arms if k[0] == arm["targets"] and k[ARM.index("copies")] == 0)
    return next(same, None)


class _Arm:
    """The bootstrap draws of one arm. Values are (targets of all seeds,) for each name and method; a method that was not
    measured on some of the seeds is compared with the references on those where it was."""

    def __init__(self, part: pd.DataFrame, name: tuple):
        self.methods = list(dict.fromkeys(part.method))
        names = [column for column in OF_TARGETS if column in part]
        wide = part.pivot(index=["seed", "target"], columns="method", values=names)
        self.seeds = wide.index.get_level_values("seed")
        self.weights = bootstrap.weights(self.seeds, arm=str(name))
        # all columns at once: one of `wide` by its name takes a hundred times as long
        columns = np.ascontiguousarray(wide.to_numpy(dtype=float).T)
        self.wide, self.n_decoys = dict(zip(wide.columns, columns)), int(part.n_decoys.iloc[0])
        self.names = {column for (column, _), values in self.wide.items() if not np.isnan(values).all()}
        there = {m: ~np.isnan(self.wide["score", m]) for m in self.methods}
        self.partly = {m: rows for m, rows in there.items() if not rows.all()}
        self._known: dict[tuple, tuple[float, np.ndarray]] = {}
        self.kind = name[0]
        guessed = self.kind == "random" and self.value("label_given", "clean") > GUESSED
        self.learnt = guessed or self.value("label_given", "original") >= LEARNT

    def has(self, name: str) -> bool:
        """Whether there are values of this name: texts have more than images."""
        return name in self.names

    def value(self, name: str, method: str) -> float:
        values = self.wide[name, method]
        return float("nan") if np.isnan(values).all() else float(np.nanmean(values))

    def _mean(self, name: str, method: str, beside: str = "") -> tuple[float, np.ndarray]:
        """(estimate, draws) of a column or of one of SHARES, of the targets on which the method `beside` was measured."""
        key = (name, method, beside if beside in self.partly else "")
        if key not in self._known:
            column, counts = SHARES.get(name, (name, lambda values: values))
            values = self.wide[column, method]
            values = np.where(np.isnan(values), np.nan, counts(values))
            if key[2]:
                values = np.where(self.partly[beside], values, np.nan)
            self._known[key] = float(np.nanmean(values)), bootstrap.means(values, self.weights)
        return self._known[key]

    def residual(self, method: str, name: str = "score", beside: str = "") -> tuple[float, np.ndarray] | None:
        """(estimate, draws) of residual influence by the values of this name; None where it is masked. beside: on whose
        targets, by default the method's own."""
        own, before, clean = (self._mean(name, m, beside or method) for m in (method, "original", "clean"))
        below = before[1] - clean[1]
        if not self.learnt or bootstrap.holds_zero(below) or before[0] <= clean[0]:
            return None
        return (own[0] - clean[0]) / (before[0] - clean[0]), bootstrap.ratio(own[1] - clean[1], below)

    def row(self, method: str, base: "_Arm | None") -> dict:
        own, given = self.residual(method), self._mean("label_given", method)
        row = _columns("residual_influence", own) | _columns("residual_influence_rank", self.residual(method, "rank"))
        row |= _columns("label_given", given) | _columns("MIA_AUC", self._mean("rank", method))
        if self.has("log_ratio"):
            row |= _columns("residual_influence_likelihood_ratio", self.residual(method, "log_ratio"))
            taken, of_clean = (self._mean("taken_for_member", m, beside=method) for m in (method, "clean"))
            balanced = (taken[0] + 1 - of_clean[0]) / 2, (taken[1] + 1 - of_clean[1]) / 2
            row |= _columns("likelihood_ratio_accuracy", balanced)
            row |= _columns("likelihood_ratio_tpr", self._mean("above_decoys", method))
        if self.has("score_log_probability"):
            row |= _columns("residual_influence_log_probability", self.residual(method, "score_log_probability"))
        if self.has("rouge_l"):
            row |= _columns("rouge_l", self._mean("rouge_l", method))
        row |= {name: self.value(name, method) for name in OF_ANSWERS if self.has(name)}
        if self.has("log_truth_ratio"):
            row["truth_ratio"] = float(np.exp(self.value("log_truth_ratio", method)))
        if self.has("min_k_rank"):
            row |= self._min_k(method)
        n = ~np.isnan(self.wide["score", method])
        ranks = self.wide["rank", method]
        row["exposure"] = exposure(ranks[~np.isnan(ranks)], self.n_decoys)
        control = matched_control(method)
        for name, other in (
            ("over_no_copies", base and base.residual(method) if base and method in base.methods else None),
            ("minus_retrain", self.residual("retrain", beside=method) if method != "retrain" else None),
            ("minus_control", self.residual(control, beside=method) if control in self.methods else None),
        ):
            difference = None if own is None or other is None else (own[0] - other[0], own[1] - other[1])
            row |= _columns(name, difference)
            row[f"p_{name}"] = None if difference is None else bootstrap.p_value(_finite(difference[1]))
        row["p_as_clean"] = None if own is None else bootstrap.p_equivalent(_finite(own[1]), MARGIN)
        row["learnt"] = self.learnt
        row["moved"] = self.value("divergence", method) > self.value("divergence", "original-again")
        return row | {"n_seeds": self.seeds[n].nunique(), "n_targets": int(n.sum()), "n_decoys": self.n_decoys}

    def _min_k(self, method: str) -> dict:
        """AUC of Min-20% (Shi et al. 2024, arXiv 2310.16789), and PrivLeak against retrain (MUSE, arXiv 2407.06460; see
        unlearnkit.metrics.likelihoods), on the same targets."""
        there = ~np.isnan(self.wide["min_k_rank", method])
        auc, expected = (float(np.nanmean(self.wide["min_k_rank", m][there])) for m in (method, "retrain"))
        return {"min_k_AUC": auc, "PrivLeak": None if expected == 1 else 100 * (auc - expected) / (1 - expected)}


def _finite(draws: np.ndarray) -> np.ndarray:
    return draws[np.isfinite(draws)]


def _columns(name: str, estimate: tuple[float, np.ndarray] | None) -> dict:
    return interval_columns(name, {} if estimate is None else bootstrap.interval(*estimate))


def _verdict(row: Mapping) -> str:
    """What may be said: "not learnt" by the original; "masked", nothing to remove beyond noise; "not usable" or "not
    moved", so not called unlearned; "depends on the measure", where margin and rank disagree; "left", more than clean by
    both; "below clean", less by both, so that targets stand out from decoys on the other side; "as clean", equivalent within
    MARGIN; else "undecided". The ends of the scale are a "reference", and what is there to compare others with a "negative
    control" or a "matched control" of a search for neighbours."""
    if row["method"] in ("original", "clean"):
        return "reference"
    if not row["learnt"]:
        return "not learnt"
    if row["residual_influence"] is None:
        return "masked"
    if row["method"] in NEGATIVE_CONTROLS:
        return "negative control"
    if row["method"] not in REFERENCE_ROWS:
        for gate in ("usable", "moved"):
            if not row[gate]:
                return f"not {gate}"
    if is_matched_control(row["method"]):
        return "matched control"
    ends = [(row[f"{name}_low"], row[f"{name}_high"]) for name in ("residual_influence", "residual_influence_rank")]
    if any(low is None for low, _ in ends):
        return "depends on the measure"
    above, below = ({low > 0 for low, _ in ends}, {high < 0 for _, high in ends})
    if len(above) == 2 or len(below) == 2:
        return "depends on the measure"
    if above == {True}:
        return "left"
    if below == {True}:
        return "below clean"
    return "as clean" if row["p_as_clean"] < 0.05 else "undecided"


def primary_contrasts(table: pd.DataFrame, families: Mapping[str, Mapping]) -> pd.DataFrame:
    """The contrasts that were named before the run, adjusted within their family by Holm's method.

    table: of `residual_influences`; families: {name: {"contrast": "over_no_copies", "minus_retrain" or "minus_control", and
    any columns of the table that its rows must have}}, a list for one of several values; rows that a gate leaves out are not
    counted.
    Columns: family, those of condition and arm, method, difference with its interval, p, p_adjusted, n_seeds, n_targets.
    """
    parts = []
    for family, wanted in families.items():
        contrast, rows = wanted["contrast"], table
        for column, value in wanted.items():
            if column != "contrast":
                rows = rows[rows[column].isin(value if isinstance(value, list) else [value])]
        counted = rows[~rows.verdict.isin(NOT_COUNTED) & rows[f"p_{contrast}"].notna()]
        p = bootstrap.holm(dict(counted[f"p_{contrast}"]))
        columns = {contrast: "difference", f"{contrast}_low": "difference_low", f"{contrast}_high": "difference_high",
                   f"p_{contrast}": "p"}  # fmt: skip
        kept = counted[[*CONDITION, *ARM, "method", *columns, "n_seeds", "n_targets"]].rename(columns=columns)
        parts.append(kept.assign(family=family, contrast=contrast, p_adjusted=pd.Series(p)))
    out = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()
    return out[["family", "contrast", *(c for c in out if c not in ("family", "contrast"))]] if len(out) else out
