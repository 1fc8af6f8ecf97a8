"""The pages of cards: of all registered things, and of the measure that the study turns on."""

import inspect
from collections.abc import Mapping, Sequence

from unlearnkit.core.statistics import residual_influence
from unlearnkit.metrics import standardised
from unlearnkit.report import cards, columns, show
from unlearnkit.report.cards import Card
from unlearnkit.report.site import Site, slug

SHEETS = ("T1", "F1", "F2")  # what the study calls dataset cards, sample sheets and similarity as measured


def write(site: Site, kind: str, costs: Mapping[str, list]) -> None:
    """A page for each thing of a kind, and their index. costs: {method: what it took}."""
    made = cards.cards(kind, site.registries[kind])
    if kind == "metric" and not any(card.name == residual_influence.__name__ for card in made):
        made = [_residual_influence(), *made]
    for card in made:
        sheets = _sheets(site, card) if kind.endswith("dataset") else []
        site.page(f"{slug(kind)}/{card.name}.html", "card.html", card.name, kind, card.summary,
                  card=card, costs=costs.get(card.name, []), sheets=sheets)  # fmt: skip
    site.page(site.index_of(kind), "cards.html", f"{kind.capitalize()}s", made=made, slug=slug(kind))


def _residual_influence() -> Card:
    """It is made from scores of three models, so it is no metric of one model's outputs and in no registry."""
    parts = [inspect.getdoc(residual_influence), "On whole data sets it is standardised:", inspect.getdoc(standardised)]
    text = "\n\n".join(part for part in parts if part)
    facts = {"direction": "gap", "unit": "share", "computed by": "unlearnkit.core.statistics.residual_influence; "
             "on whole data sets unlearnkit.analysis.influence.residual_influences"}  # fmt: skip
    summary = columns.meaning("residual_influence").capitalize() + "."
    return Card("metric", residual_influence.__name__, summary, text, facts, [], [], [])


def _sheets(site: Site, card: Card) -> Sequence[dict]:
    """The dataset cards, sample sheets and similarity distributions that show this data set."""
    sheets = []
    for r in site.results:
        if r.name.split("-")[0] not in SHEETS or not r.whole or "dataset" not in r.table:
            continue
        part = r.table[r.table.dataset == card.name]
        if len(part):
            shown, constant = show.columns(part)
            sheet = {"r": r, "png": site.pages[site.name_of(r.file(".png"))] if r.file(".png") else ""}
            if r.name.startswith("T1"):
                sheet |= {"columns": shown, "constant": constant, "cells": show.cells(part, shown)}
            sheets.append(sheet)
    return sheets
