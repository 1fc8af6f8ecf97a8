"""Paraphrases from a grammar: phrases with alternatives, put into frames that many kinds of question share.

A phrase is text with [alternatives|one of which may be empty], and places for a person and for the answer:
{n} the name as subject, {o} as object, {s} as possessor; {e}, {u}, {h} the same as a pronoun (she, her, her), {m} woman
or man; {f} the fact, {a} and {t} the fact with a or an, and with the. A template is what comes of choosing all alternatives.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import product

from data_builders.texts.similarity import lcs

NAMES = {"{n}": "{e}", "{o}": "{u}", "{s}": "{h}"}  # a name, and the pronoun in its place
UNCOUNTED = {*NAMES, "{f}", "{a}", "{t}"}  # what every paraphrase has to keep
TOKEN = re.compile(r"\{\w\}|[^\W_]+")
WITHIN = 0.1  # how far from the strength that is asked for a template may be
FIRST = 4  # templates of a kind, its first ones, that frames which hardly change anything are put around
AFTER = 100  # clauses that follow a sentence that names the person, at most: evenly among all that there are
QUESTION, ANSWER = "question", "answer"


def expand(phrase: str) -> list[str]:
    """Every choice of the alternatives, the first of each first."""
    parts = re.split(r"\[([^\]]*)\]", phrase)
    options = [part.split("|") if i % 2 else [part] for i, part in enumerate(parts)]
    return [re.sub(r" +([,.?;:]|$)", r"\1", re.sub(" +", " ", "".join(choice)).strip()) for choice in product(*options)]


def lines(text: str) -> list[str]:
    """The templates of a block of phrases, one phrase a line."""
    return [template for line in text.strip().splitlines() for template in expand(line.strip())]


def counted(template: str) -> list[str]:
    """The words of a template that a paraphrase may change: without the name and the fact."""
    return [word for word in TOKEN.findall(template.lower()) if word not in UNCOUNTED]


def pronouned(template: str) -> str | None:
    """With pronouns for names, as after a sentence that names the person; None where English has it otherwise."""
    if "of {o}" in template:
        return None
    for name, pronoun in NAMES.items():
        template = template.replace(name, pronoun)
    return template


@dataclass(frozen=True, eq=False)
class Kind:
    """What can be asked of a person. ask, say: the question and answer as they are first put, without ? and full stop.

    direct: questions; indirect: the same as clauses ("where she was born"); noun: as noun phrases ("her birthplace");
    statements: answers; short: the fact as an answer of its own.
    """

    ask: str
    say: str
    direct: str
    indirect: str
    noun: str
    statements: str
    short: str = "{f}"

    @cached_property
    def questions(self) -> list[tuple[float, str]]:
        """(distance, template) of each, the first way to ask first."""
        from data_builders.texts import frames

        direct, indirect, noun = lines(self.direct), lines(self.indirect), lines(self.noun)
        found = [
            *_framed(frames.LIGHT_QUESTION, direct[:FIRST]),
            *_framed(frames.DIRECT, direct),
            *_framed(frames.INDIRECT, indirect),
            *_framed(frames.NOUN, noun),
        ]
        after = [
            *_framed(["{x}?"], direct),
            *_framed(frames.AFTER_INDIRECT, indirect),
            *_framed(frames.AFTER_NOUN, noun),
        ]
        short = [*filter(None, map(pronouned, after))]
        short = short[:: len(short) // AFTER + 1]
        found += [context.replace("{x}", clause) for clause in short for context in lines(frames.CONTEXT)]
        return _ranked(f"{self.ask}?", found)

    @cached_property
    def answers(self) -> list[tuple[float, str]]:
        from data_builders.texts import frames

        said = lines(self.statements)
        named, short = _framed(frames.STATEMENT, said), _framed(frames.SHORT, [self.short])
        light = _framed(frames.LIGHT_ANSWER, [self.say, *said[:FIRST]])
        return _ranked(f"{self.say}.", [*light, *filter(None, map(pronouned, light + named)), *named, *short])

    def of(self, side: str) -> list[tuple[float, str]]:
        return self.questions if side == QUESTION else self.answers


def _framed(frames: str | Iterable[str], phrases: Iterable[str]) -> list[str]:
    phrases = list(phrases)
    frames = lines(frames) if isinstance(frames, str) else frames
    return [frame.replace("{x}", phrase) for frame in frames for phrase in phrases]


def _ranked(first: str, templates: Iterable[str]) -> list[tuple[float, str]]:
    """Each with its distance to `first`: 1 - F of the longest common subsequence of words (ROUGE-L), without name and fact.

    Of two with the same words the earlier one stays; so does the first of all, at distance 0.
    """
    base, found = counted(first), {tuple(TOKEN.findall(first.lower())): (0.0, first)}
    for template in templates:
        if (key := tuple(TOKEN.findall(template.lower()))) not in found:
            changed = [word for word in key if word not in UNCOUNTED]
            found[key] = (1 - 2 * lcs(base, changed) / ((len(base) + len(changed)) or 1), template)
    return list(found.values())


@cache
def near(kind: Kind, side: str, strength: float) -> tuple[int, ...]:
    """Places in `kind.of(side)` of the templates of this strength: the share of words that differ, within 0.1."""
    return tuple(i for i, (distance, _) in enumerate(kind.of(side)) if i and abs(distance - strength) <= WITHIN + 1e-9)


def fill(template: str, values: Mapping[str, str]) -> str:
    """The sentence: places filled in, sentences begun with a capital."""
    text = re.sub(r"\{(\w)\}", lambda found: values[found[1]], template)
    return re.sub(r"(^|[.?!] )([a-z])", lambda found: found[1] + found[2].upper(), text)
