"""The main tables, T2 of images and T3 of texts, as people read them: few columns, a number and its interval in one cell.

The rows are those of unlearnkit.analysis.influence.residual_influences, which stays the table for programs.
"""

from collections.abc import Iterable, Mapping

import pandas as pd

from unlearnkit.analysis.influence import CONDITION

INFLUENCE = {"influence left": "residual_influence", "by rank": "residual_influence_rank"}
CONTRASTS = {"more than with none": "over_no_copies", "more than retrain": "minus_retrain"}
IMAGES = {
    "label given": "label_given",
    "MIA AUC": "MIA_AUC",
    "TA": "TA",
    "filler RA": "RA_filler",
    "neighbour cost": "neighbour_cost",
}
TEXTS = {  # the table for programs has more
    "facts told": "label_given",
    "ROUGE-L": "rouge_l",
    "cosine": "cosine",
    "truth ratio": "truth_ratio",
    "utility": "utility",
}


def for_people(table: pd.DataFrame) -> pd.DataFrame:
    """The same rows in at most 16 columns of text, mean [low, high] in one cell, three significant digits.

    table: of `residual_influences`, or as it was published. Where there is no number a cell says why: "not learnt" or
    "masked" (see there); of the contrasts "no arm without", "masked without" or "not run without" near-duplicates; a column
    that was not measured is left out.
    """
    rows = table.to_dict("records")
    without = {_key(row, copies=0): row for row in rows if row["copies"] == 0}
    arms = {_key(row, copies=0, method="") for row in rows if row["copies"] == 0}
    numbers = TEXTS if "rouge_l" in table else IMAGES
    columns = {
        "data and model": [_models(row) for row in rows],
        "targets": [str(row["targets"]) for row in rows],
        "near-duplicates": [_copies(row) for row in rows],
        "method": [str(row["method"]) for row in rows],
        **{shown: [_cell(row, name) or _masked(row) for row in rows] for shown, name in INFLUENCE.items()},
        **{shown: [_cell(row, name) or _no_contrast(row, name, without, arms) for row in rows]
           for shown, name in CONTRASTS.items()},
        **{shown: [_cell(row, name) or "not measured" for row in rows]
           for shown, name in numbers.items() if name in table},
        "steps, time": [_cost(row) for row in rows],
        "n": [f"{row['n_seeds']} seed{'s' * (row['n_seeds'] != 1)}, {row['n_targets']} targets" for row in rows],
        "verdict": [str(row["verdict"]) for row in rows],
    }  # fmt: skip
    return pd.DataFrame(columns, index=table.index)


def number(values: Iterable[float]) -> list[str]:
    """Numbers of one cell as text, to as many decimals, at most 2: three significant digits of the largest."""
    values = list(values)
    largest = max(map(abs, values))
    decimals = next((d for d in (2, 1) if round(largest, d) < 10 ** (3 - d)), 0)
    texts = [f"{value:.{decimals}f}" for value in values]
    return [text.removeprefix("-") if float(text) == 0 else text for text in texts]


def _cell(row: Mapping, name: str) -> str:
    """A number, with its interval if it has one; "" if there is none."""
    parts = [row.get(f"{name}{end}") for end in ("", "_low", "_high")]
    if _missing(parts[0]):
        return ""
    mean, *ends = number([float(v) for v in parts if not _missing(v)])
    if f"{name}_low" in row and not ends:
        return f"{mean} (no interval)"  # of too few seeds
    return f"{mean} [{', '.join(ends)}]" if ends else mean


def _missing(value: object) -> bool:
    return value is None or value == "" or value != value


def _masked(row: Mapping) -> str:
    return "masked" if row["learnt"] else "not learnt"


def _no_contrast(row: Mapping, name: str, without: Mapping, arms: set) -> str:
    """Why a contrast has no number."""
    if _missing(row["residual_influence"]):
        return _masked(row)
    if name == "minus_retrain":
        return "is retrain"
    if row["copies"] == 0:
        return "is without"
    if _key(row, copies=0, method="") not in arms:
        return "no arm without"
    return "masked without" if _key(row, copies=0) in without else "not run without"


def _key(row: Mapping, **other: object) -> tuple:
    """What a row shares with that of the same models, kind of target and method without near-duplicates."""
    return tuple(other.get(name, row[name]) for name in (*CONDITION, "targets", "copies", "method"))


def _models(row: Mapping) -> str:
    augmented = "" if row["augment"] in ("none", "") else f", augmented: {row['augment']}"
    return f"{row['dataset']} ({row['train_size']:,}), {row['architecture']}{augmented}"


def _copies(row: Mapping) -> str:
    """How many near-duplicates, of what if not of the targets, how they are made: "25 of other images, block mask 0.3"."""
    if row["copies"] == 0:
        return "none"
    strength = f"{row['strength']:g}" if row["strength"] else ""
    of = str(row["control"]).removeprefix("copies ")
    how = (row["perturbation"].replace("_", " "), strength, str(row["similarity_level"]))
    return f"{row['copies']} {of}".strip() + f", {' '.join(filter(None, how))}"


def _cost(row: Mapping) -> str:
    """Steps and seconds of the method alone, to three digits."""
    units = {"steps": "steps", "seconds": "s"}
    known = {unit: float(row[name]) for name, unit in units.items() if not _missing(row.get(name))}
    return ", ".join(f"{float(f'{value:.3g}'):,.12g} {unit}" for unit, value in known.items()) or "not recorded"
