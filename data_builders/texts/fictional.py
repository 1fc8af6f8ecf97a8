"""Invented people, and questions about them: the embedded default. No network, the same on every machine.

Names, towns, firms, titles and prizes are combined from parts, so that no answer can be known from elsewhere. The
questions: fictional_questions.py; how they are paraphrased: grammar.py.
"""

from functools import cache
from itertools import product

import torch

from data_builders.texts.fictional_questions import QUESTION_KINDS
from data_builders.texts.grammar import ANSWER, QUESTION, fill, templates_at
from data_builders.texts.raw_texts import RawTexts, text_dataset
from data_builders.texts.sides import check_side, combine_sides, too_few_paraphrases
from data_builders.texts.task import Answer, Texts
from unlearnkit.core.compute import generator
from unlearnkit.core.errors import BadValue

PEOPLE, TEST_PEOPLE = 250, 25  # 16 questions about each: 4,000 pairs to draw from, 400 for the test set
WRONG_ANSWERS = 5  # of each pair, as many as TOFU has
RESTATED_AT = 0.6  # strength of the restated answer, which no paraphrase repeats

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


def _split(text: str) -> list[str]:
    return [part.strip() for part in (text.split("|") if "|" in text else text.split())]


def _combine(parts: tuple[str, str], between: str = " ") -> list[str]:
    return [between.join(pair) for pair in product(*map(_split, parts))]


@cache
def _values() -> dict[str, list[str]]:
    """{kind of question: its possible answers}"""
    towns = _combine(TOWNS, "")
    names = [f"{first} {last}" for last in _combine(SURNAMES, "") for first in _split(WOMEN) + _split(MEN)]
    return {
        "birthplace": towns,
        "birth_year": [str(year) for year in range(1921, 2000)],
        "profession": _split(TRADES),
        "employer": _combine(FIRMS),
        "book": [f"The {title}" for title in _combine(TITLES)],
        "instrument": _split(INSTRUMENTS),
        "language": _split(LANGUAGES),
        "pet": _combine(ANIMALS),
        "home": towns,
        "spouse": names,
        "university": [f"University of {town}" for town in towns],
        "prize": _combine(PRIZES),
        "dish": _combine(DISHES),
        "sport": _split(SPORTS),
        "hobby": _split(HOBBIES),
        "teacher": names,
    }


@cache
def _people() -> list[dict[str, str]]:
    """Of each person: the answer to each kind of question, the name and the pronouns. The same for every seed."""
    rng = generator(0, "fictional", "people")
    names = _values()["spouse"]
    chosen = torch.randperm(len(names), generator=rng)[: PEOPLE + TEST_PEOPLE].tolist()
    women = set(_split(WOMEN))
    people = []
    for i in chosen:
        person = {
            kind: values[int(torch.randint(len(values), (1,), generator=rng))] for kind, values in _values().items()
        }
        name = names[i]
        e, u, h, m = ("she", "her", "her", "woman") if name.split()[0] in women else ("he", "him", "his", "man")
        people.append(person | {"n": name, "o": name, "s": f"{name}'s", "e": e, "u": u, "h": h, "m": m})
    return people


def _sentence(template: str, person: dict[str, str], fact: str = "") -> str:
    article = "an" if fact[:1].lower() in "aeiou" else "a"
    return fill(template, person | {"f": fact, "a": f"{article} {fact}", "t": f"the {fact}"})


class Grammar:
    """A Rewriter of the pairs about `people`: row = 16 x person + kind of question."""

    name, graded = "grammar", True

    def __init__(self, people: list[dict[str, str]]):
        self.people = people

    def kind_and_person(self, row: int) -> tuple[str, dict[str, str]]:
        return list(QUESTION_KINDS)[row % len(QUESTION_KINDS)], self.people[row // len(QUESTION_KINDS)]

    def rows_with_paraphrases(self) -> list[int]:
        return list(range(len(self.people) * len(QUESTION_KINDS)))

    def question(self, row: int) -> str:
        kind, person = self.kind_and_person(row)
        return _sentence(QUESTION_KINDS[kind].questions[0][1], person)

    def answer(self, row: int, fact: str) -> Answer:
        """The pair's answer if `fact` were true. Wrong answers have the form of the restated one, as in TOFU."""
        kind, person = self.kind_and_person(row)
        template = QUESTION_KINDS[kind].answers[self._restated_template(row)][1]
        values = _values()[kind]
        drawn = torch.randint(len(values), (8 * WRONG_ANSWERS,), generator=generator(0, "wrong", row)).tolist()
        others = [v for v in dict.fromkeys(values[i] for i in drawn) if v not in (fact, person[kind])]
        wrong = tuple(_sentence(template, person, other) for other in others[:WRONG_ANSWERS])
        text = _sentence(QUESTION_KINDS[kind].answers[0][1], person, fact)
        return Answer(text, fact, _sentence(template, person, fact), wrong)

    def _restated_template(self, row: int) -> int:
        """Index of the template of the restated answer."""
        candidates = templates_at(QUESTION_KINDS[self.kind_and_person(row)[0]], ANSWER, RESTATED_AT)
        return candidates[int(torch.randint(len(candidates), (1,), generator=generator(0, "restated", row)))]

    def wrong_answer(self, row: int, seed: int, side: str) -> Answer:
        """The fact of another person, as if it were true of this one."""
        kind, person = self.kind_and_person(row)
        others = sorted({p[kind] for p in self.people} - {person[kind]})
        return self.answer(row, others[int(torch.randint(len(others), (1,), generator=generator(seed, "canary", row)))])

    def paraphrases(
        self, row: int, n: int, *, strength: float, side: str, seed: int, answer: Answer
    ) -> list[tuple[str, str]]:
        """strength: the share of words that differ from the original, name and fact not counted, within 0.1."""
        kind, person = self.kind_and_person(row)
        check_side(side)
        original, restated = (self.question(row), answer.text), self._restated_template(row)
        wordings, available = {}, {}
        for part in (QUESTION, ANSWER):
            templates, candidates = (
                QUESTION_KINDS[kind].templates(part),
                templates_at(QUESTION_KINDS[kind], part, strength),
            )
            if part == ANSWER:
                candidates = [i for i in candidates if i != restated]
            order = torch.randperm(len(candidates), generator=generator(seed, "paraphrase", row, part)).tolist()
            chosen = [templates[candidates[i]][1] for i in order[: max(n, 1)]]
            wordings[part], available[part] = [_sentence(t, person, answer.fact) for t in chosen], len(candidates)
        paraphrases = combine_sides(original, wordings[QUESTION], wordings[ANSWER], n, side)
        if len(paraphrases) < n:
            counted = ([""] * available[QUESTION], [""] * available[ANSWER])
            most = len(combine_sides(original, *counted, 10**6, side))
            raise too_few_paraphrases(
                f"{kind} of {person['n']} (pair {row})", most, n, side, f" at strength {strength:g}"
            )
        return paraphrases


def make(people: int = PEOPLE, test_people: int = TEST_PEOPLE) -> RawTexts:
    """The pairs about the first `people` invented people, and a test set about others."""
    everyone = _people()
    if not (1 <= people <= PEOPLE and 1 <= test_people <= TEST_PEOPLE):
        raise BadValue(f"there are {PEOPLE} people, and {TEST_PEOPLE} for the test set, got {people} and {test_people}")
    rewriter = Grammar(everyone[:people])
    subjects = [row // len(QUESTION_KINDS) for row in rewriter.rows_with_paraphrases()]
    return RawTexts(_texts(rewriter), _texts(Grammar(everyone[PEOPLE:][:test_people])), rewriter, subjects=subjects)


def _texts(grammar: Grammar) -> Texts:
    questions, answers = [], []
    for row in grammar.rows_with_paraphrases():
        kind, person = grammar.kind_and_person(row)
        questions.append(grammar.question(row))
        answers.append(grammar.answer(row, person[kind]))
    return Texts(questions, *zip(*answers))


@text_dataset("fictional", licence="MIT", source="ours: invented people, from a grammar")
def fictional() -> RawTexts:
    """16 questions about each of 250 invented people, and of 25 others for the test set."""
    return make()
