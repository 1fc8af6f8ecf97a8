"""The leaderboard's page, and its data for the script that filters and sorts it."""

import json
import re

import pandas as pd

from unlearnkit.report import gates, leaderboard, show
from unlearnkit.report.leaderboard import Board
from unlearnkit.report.site import Site, relative
from unlearnkit.results import community

SHORT = re.compile(r"(?<=[\[,-])0\.")  # the 0 of 0.5, which a script does not need: a tenth of the file
PARTS = {"reference": "References", "": "Methods", "apart": "Not usable: not to be called unlearned"}
HEADS = {  # of the measures side by side, as readers call them
    "residual_influence": "residual influence",
    "TA": "test accuracy",
    "neighbour-cost": "neighbour cost",
    "RTE": "cost (x retrain)",
}


def write(site: Site, board: Board | None) -> None:
    """The page, with the rows of the commonest condition in it; all others come with the script."""
    if board is None:
        site.page("leaderboard.html", "leaderboard.html", "Leaderboard", board=None, others=_others())
        return
    table = board.rows
    chosen = {name: sorted(table[name].unique(), key=_order) for name in board.varying}
    kinds, beside = board.kinds(), board.beside()
    rows = []
    for i, row in enumerate(table.to_dict("records")):
        part = "reference" if row["method"] in gates.REFERENCES else "apart" if row["unusable"] else ""
        address = next((site.rows_of[k] for k in sorted(row["runs"]) if k in site.rows_of), "")
        words = [show.text(row[name]) for name in board.varying]
        rows.append({"method": row["method"], "part": part, "of": leaderboard.variant_of(row["method"]), "words": words,
                     "n": row["n_seeds"], "diverged": row["n_diverged"], "page": address, "number": i})  # fmt: skip
    choices = [[show.text(v) for v in chosen[name]] for name in board.varying]
    start = [show.text(value) for value in board.start().values()]
    data = {
        "columns": board.varying, "choices": choices,
        "start": start, "parts": PARTS, "kinds": kinds,
        "beside": [f"{metric}|{reference}" for metric, reference in beside], "heads": HEADS,
        "rows": [[r["method"], r["part"], r["of"], [c.index(w) for c, w in zip(choices, r["words"])], r["n"],
                  r["diverged"], r["page"].removeprefix("results/")] for r in rows],
        "cards": sorted(site.registries["method"]),
    }  # fmt: skip
    content = json.dumps(data, separators=(",", ":"), allow_nan=False)
    values = SHORT.sub(".", json.dumps(board.rounded(), separators=(",", ":"), allow_nan=False))
    site.put("static/leaderboard.js", f"window.LEADERBOARD={content};\nwindow.LEADERBOARD.values={values};\n")
    here = [r for r in rows if r["words"] == start]
    for r in here:
        intervals = [board.values[kind][r["number"]].tolist() for kind in beside]
        r["values"] = [show.interval(*interval) for interval in intervals]
        r["distance"] = abs(intervals[0][0]) if not pd.isna(intervals[0][0]) else float("inf")
    parts = {part: sorted((r for r in here if r["part"] == part), key=lambda r: r["distance"]) for part in PARTS}
    heads = [(HEADS.get(metric, metric), leaderboard.about(metric)["summary"]) for metric, _ in beside]
    cards = {name: relative("leaderboard.html", f"method/{name}.html") for name in site.registries["method"]}
    condition = ", ".join(f"{n} {word}" for n, word in zip(board.varying, start) if word)
    site.page("leaderboard.html", "leaderboard.html", "Leaderboard", board=board, parts=parts, names=PARTS, heads=heads,
              condition=condition, cards=cards, others=_others())  # fmt: skip


def _others() -> list[dict]:
    """The community's rows, with their intervals as text."""
    rows = community.rows()
    return [row | {"numbers": {name: show.interval(*v) for name, v in row["numbers"].items()}} for row in rows]


def _order(value: object) -> tuple:
    return (isinstance(value, str), value)
