"""Invented people, and questions about them: the embedded default. No network, the same on every machine.

Names, towns, firms, titles and prizes are put together from parts, so that no answer can be known from elsewhere. What is
asked: kinds.py; how it is rewritten: grammar.py.
"""

from functools import cache
from itertools import product

import torch

from data_builders.texts import RawTexts, Told, text_dataset
from data_builders.texts.fictional_questions import KINDS
from data_builders.texts.grammar import ANSWER, QUESTION, fill, near
from data_builders.texts.sides import arranged, check_side, too_few
from data_builders.texts.task import Texts
from unlearnkit.core.compute import generator
from unlearnkit.core.errors import BadValue

PEOPLE, TEST_PEOPLE = 250, 25  # 16 questions about each: 4,000 pairs to draw from, 400 for the test set
WRONG = 5  # wrong answers of each pair, as many as TOFU has
HELD = 0.6  # how far from the answer its restatement is, which no copy repeats

WOMEN = """Mara Signe Tove Alma Ilse Petra Runa Edda Livia Dora Nella Karin Hedda Oona Vera Selma Thea Ragna Minna Jutta
Elin Astrid Greta Lotte Sanna Ulla Wanda Yrsa Zelma Britta"""
MEN = """Anton Bertil Casper Davin Eskil Fabian Goran Henrik Ivar Jonas Kasimir Leander Magnus Niels Osric Pavel Ruben
Stellan Tobias Ulrik Viktor Wilmar Xander Yorick Zoran Arvid Birger Corin Dorian Emeric"""
SURNAMES = (
    "Lind Holm Berg Dahl Strand Vest Nord Ek Alm Ask Sten Sjo Hav Skog",
    "qvist gren stedt mark borg vall lund by",
)
TOWNS = ("Tor Hal Bren Eld Fro Gar Ket Lun Mor Nes Os Quen Rav Sil Ulv Vas", "vik mere stead holt wick ford haven dale")
FIRMS = (
    "Northgate Brightwater Oakfield Silverline Kestrel Harbour Millstone Redwood Larkspur Winterhall",
    "Foundry|Press|Shipping|Textiles|Glassworks|Dairy|Instruments|Timber|Bakeries|Printers",
)
TITLES = (
    "Copper Silent Winter Hollow Crimson Distant Paper Glass Amber Broken Silver Northern Forgotten Borrowed Painted",
    "Orchard|Lantern|Harbour|Staircase|Almanac|Bridge|Garden|Compass|Mirror|Lighthouse|Ferry|Archive|Meadow|Clock|Violin",
)
ANIMALS = (
    "grey brown white black spotted golden russet cream tame young",
    "parrot|rabbit|tortoise|terrier|goat|hedgehog|canary|ferret|pony|greyhound|gecko|goose",
)
PRIZES = (
    "Corvin Aldane Merrow Hesketh Tarn Ostrow Belmont Ruskin Ferrand Calder Winslow Drummond",
    "Medal|Cup|Ribbon|Star",
)
DISHES = (
    "mushroom leek barley pumpkin salmon lentil cheese cabbage chestnut trout",
    "pie|soup|stew|dumplings|pancakes|risotto|salad|casserole",
)
TRADES = """glassblower|clockmaker|beekeeper|cartographer|locksmith|botanist|ferryman|bookbinder|stonemason|midwife|weaver
|archivist|piano tuner|lighthouse keeper|baker|surveyor|tailor|geologist|interpreter|carpenter|goldsmith|shepherd|optician
|vet|librarian|potter|architect|saddler|notary|florist"""
INSTRUMENTS = """cello|oboe|harp|accordion|clarinet|trombone|lute|viola|bassoon|banjo|flute|organ|trumpet|mandolin
|harpsichord|double bass|tuba|zither|piccolo|bagpipes"""
LANGUAGES = """Danish|Welsh|Portuguese|Finnish|Turkish|Czech|Swahili|Greek|Hungarian|Catalan|Icelandic|Japanese|Dutch|Arabic
|Estonian|Korean|Basque|Persian|Romanian|Hindi"""
SPORTS = """fencing|rowing|archery|wrestling|badminton|sailing|gymnastics|cycling|judo|handball|skating|climbing|swimming
|hockey|boxing|rugby|tennis|bowling|diving|curling"""
HOBBIES = """keeping bees|carving spoons|collecting stamps|baking bread|painting ships|watching birds|mending clocks
|growing roses|pressing flowers|playing chess|making candles|folding paper|reading maps|knitting scarves
|telling stories|flying kites|restoring furniture|brewing cider|training pigeons|solving riddles"""


def _listed(text: str) -> list[str]:
    return [part.strip() for part in (text.split("|") if "|" in text else text.split())]


def _joined(parts: tuple[str, str], between: str = " ") -> list[str]:
    return [between.join(pair) for pair in product(*map(_listed, parts))]


@cache
def _values() -> dict[str, list[str]]:
    """What each kind of fact can be."""
    towns = _joined(TOWNS, "")
    names = [f"{first} {last}" for last in _joined(SURNAMES, "") for first in _listed(WOMEN) + _listed(MEN)]
    return {
        "birthplace": towns,
        "birth_year": [str(year) for year in range(1921, 2000)],
        "profession": _listed(TRADES),
        "employer": _joined(FIRMS),
        "book": [f"The {title}" for title in _joined(TITLES)],
        "instrument": _listed(INSTRUMENTS),
        "language": _listed(LANGUAGES),
        "pet": _joined(ANIMALS),
        "home": towns,
        "spouse": names,
        "university": [f"University of {town}" for town in towns],
        "prize": _joined(PRIZES),
        "dish": _joined(DISHES),
        "sport": _listed(SPORTS),
        "hobby": _listed(HOBBIES),
        "teacher": names,
    }


@cache
def _people() -> list[dict[str, str]]:
    """Name, words for the person, and facts of each: drawn once and for all."""
    rng = generator(0, "fictional", "people")
    names = _values()["spouse"]
    chosen = torch.randperm(len(names), generator=rng)[: PEOPLE + TEST_PEOPLE].tolist()
    women = set(_listed(WOMEN))
    found = []
    for i in chosen:
        person = {
            kind: values[int(torch.randint(len(values), (1,), generator=rng))] for kind, values in _values().items()
        }
        name = names[i]
        e, u, h, m = ("she", "her", "her", "woman") if name.split()[0] in women else ("he", "him", "his", "man")
        found.append(person | {"n": name, "o": name, "s": f"{name}'s", "e": e, "u": u, "h": h, "m": m})
    return found


def _sentence(template: str, person: dict[str, str], fact: str = "") -> str:
    article = "an" if fact[:1].lower() in "aeiou" else "a"
    return fill(template, person | {"f": fact, "a": f"{article} {fact}", "t": f"the {fact}"})


class Grammar:
    """Rewrites pairs about `people`: row = 16 x person + kind."""

    name, graded = "grammar", True

    def __init__(self, people: list[dict[str, str]]):
        self.people = people

    def of(self, row: int) -> tuple[str, dict[str, str]]:
        """(kind, person)"""
        return list(KINDS)[row % len(KINDS)], self.people[row // len(KINDS)]

    def able(self) -> list[int]:
        return list(range(len(self.people) * len(KINDS)))

    def question(self, row: int) -> str:
        kind, person = self.of(row)
        return _sentence(KINDS[kind].questions[0][1], person)

    def told(self, row: int, fact: str) -> Told:
        """What the pair says of `fact`: wrong answers are restated in the same way, as TOFU's are."""
        kind, person = self.of(row)
        template = KINDS[kind].answers[self._held(row)][1]
        values = _values()[kind]
        drawn = torch.randint(len(values), (8 * WRONG,), generator=generator(0, "wrong", row)).tolist()
        others = [v for v in dict.fromkeys(values[i] for i in drawn) if v not in (fact, person[kind])]
        wrong = tuple(_sentence(template, person, other) for other in others[:WRONG])
        return Told(_sentence(KINDS[kind].answers[0][1], person, fact), fact, _sentence(template, person, fact), wrong)

    def _held(self, row: int) -> int:
        """The template of the restated answer."""
        among = near(KINDS[self.of(row)[0]], ANSWER, HELD)
        return among[int(torch.randint(len(among), (1,), generator=generator(0, "restated", row)))]

    def wronged(self, row: int, seed: int, side: str) -> Told:
        """The fact of another person, told of this one."""
        kind, person = self.of(row)
        others = sorted({p[kind] for p in self.people} - {person[kind]})
        return self.told(row, others[int(torch.randint(len(others), (1,), generator=generator(seed, "canary", row)))])

    def copies(self, row: int, n: int, *, strength: float, side: str, seed: int, told: Told) -> list[tuple[str, str]]:
        """strength: the share of words that differ from the first way to say it, without name and fact, within 0.1."""
        kind, person = self.of(row)
        check_side(side)
        first, held, ways = (self.question(row), told.answer), self._held(row), {}
        for which in (QUESTION, ANSWER):
            templates, among = KINDS[kind].of(which), near(KINDS[kind], which, strength)
            if which == ANSWER:
                among = [i for i in among if i != held]
            order = torch.randperm(len(among), generator=generator(seed, "paraphrase", row, which)).tolist()
            ways[which] = [_sentence(templates[among[i]][1], person, told.fact) for i in order[: max(n, 1)]]
            ways[which, "n"] = len(among)
        found = arranged(first, ways[QUESTION], ways[ANSWER], n, side)
        if len(found) < n:
            have = len(arranged(first, [""] * ways[QUESTION, "n"], [""] * ways[ANSWER, "n"], 10**6, side))
            raise too_few(f"{kind} of {person['n']} (pair {row})", have, n, side, f" at strength {strength:g}")
        return found


def make(people: int = PEOPLE, test_people: int = TEST_PEOPLE) -> RawTexts:
    """The pairs about the first `people` of the invented people, and a test set of others."""
    known = _people()
    if not (1 <= people <= PEOPLE and 1 <= test_people <= TEST_PEOPLE):
        raise BadValue(f"there are {PEOPLE} people, and {TEST_PEOPLE} for the test set, got {people} and {test_people}")
    rewriter = Grammar(known[:people])
    return RawTexts(_texts(rewriter), _texts(Grammar(known[PEOPLE:][:test_people])), rewriter)


def _texts(grammar: Grammar) -> Texts:
    rows = grammar.able()
    told = [grammar.told(row, grammar.of(row)[1][grammar.of(row)[0]]) for row in rows]
    columns = ([getattr(t, name) for t in told] for name in ("answer", "fact", "restated", "wrong"))
    return Texts([grammar.question(row) for row in rows], *columns)


@text_dataset("fictional", licence="MIT", source="ours: invented people, from a grammar")
def fictional() -> RawTexts:
    """16 questions about each of 250 invented people, and of 25 others for the test set."""
    return make()
