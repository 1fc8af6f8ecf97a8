"""Paraphrases from a grammar: phrases with alternatives, put into frames that all kinds of question share (frames.py).

A phrase is text with [alternatives|one of which may be empty], and places for a person and for the answer: {n} the name
as subject, {o} as object, {s} as possessor; {e}, {u}, {h} the same as a pronoun (she, her, her), {m} woman or man; {f}
the fact, {a} and {t} the fact with a or an, and with the. A template is a phrase with each alternative chosen.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import product

from data_builders.texts import frames
from data_builders.texts.similarity import lcs

NAMES = {"{n}": "{e}", "{o}": "{u}", "{s}": "{h}"}  # place of a name: place of the pronoun instead of it
UNCOUNTED = {*NAMES, "{f}", "{a}", "{t}"}  # what every paraphrase has to keep
TOKEN = re.compile(r"\{\w\}|[^\W_]+")
TOLERANCE = 0.1  # how far from the strength that is asked for a template may be
FIRST = 4  # so many first templates of a kind are put into light frames, which add almost no words
AFTER = 100  # at most so many clauses follow a sentence that names the person: evenly spaced among all
QUESTION, ANSWER = "question", "answer"


def expand(phrase: str) -> list[str]:
    """Every choice of the alternatives, the first of each first."""
    parts = re.split(r"\[([^\]]*)\]", phrase)
    options = [part.split("|") if i % 2 else [part] for i, part in enumerate(parts)]
    return [re.sub(r" +([,.?;:]|$)", r"\1", re.sub(" +", " ", "".join(choice)).strip()) for choice in product(*options)]


def expand_lines(text: str) -> list[str]:
    """The templates of a block of phrases, one phrase a line."""
    return [template for line in text.strip().splitlines() for template in expand(line.strip())]


def changeable_words(template: str) -> list[str]:
    """The words of a template that a paraphrase may change: without the name and the fact."""
    return [word for word in TOKEN.findall(template.lower()) if word not in UNCOUNTED]


def with_pronouns(template: str) -> str | None:
    """With pronouns for names, as after a sentence that names the person; None where English avoids them ("the
    birthplace of her")."""
    if "of {o}" in template:
        return None
    for name, pronoun in NAMES.items():
        template = template.replace(name, pronoun)
    return template


@dataclass(frozen=True, eq=False)
class QuestionKind:
    """What can be asked of a person. ask, say: the question and answer of the original pair, without ? and full stop.

    direct: questions; indirect: the same as clauses ("where she was born"); noun: as noun phrases ("her birthplace");
    statements: answers; short: the fact as a whole answer.
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
        """(distance, template) of each; the original question first, at distance 0."""
        direct, indirect, noun = expand_lines(self.direct), expand_lines(self.indirect), expand_lines(self.noun)
        templates = [
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
        short = [*filter(None, map(with_pronouns, after))]
        short = short[:: len(short) // AFTER + 1]
        templates += [context.replace("{x}", clause) for clause in short for context in expand_lines(frames.CONTEXT)]
        return _with_distances(f"{self.ask}?", templates)

    @cached_property
    def answers(self) -> list[tuple[float, str]]:
        """(distance, template) of each; the original answer first, at distance 0."""
        statements = expand_lines(self.statements)
        named, short = _framed(frames.STATEMENT, statements), _framed(frames.SHORT, [self.short])
        light = _framed(frames.LIGHT_ANSWER, [self.say, *statements[:FIRST]])
        return _with_distances(
            f"{self.say}.", [*light, *filter(None, map(with_pronouns, light + named)), *named, *short]
        )

    def templates(self, side: str) -> list[tuple[float, str]]:
        return self.questions if side == QUESTION else self.answers


def _framed(frame_templates: str | Iterable[str], phrases: Iterable[str]) -> list[str]:
    """Every phrase in every frame. frame_templates: a block of phrases, or templates."""
    phrases = list(phrases)
    templates = expand_lines(frame_templates) if isinstance(frame_templates, str) else frame_templates
    return [template.replace("{x}", phrase) for template in templates for phrase in phrases]


def _with_distances(first: str, templates: Iterable[str]) -> list[tuple[float, str]]:
    """Each with its distance to `first`: 1 - F of the longest common subsequence of words (ROUGE-L), without name and
    fact.

    Of two with the same words the earlier one stays. `first` comes first, at distance 0.
    """
    base, distances = changeable_words(first), {tuple(TOKEN.findall(first.lower())): (0.0, first)}
    for template in templates:
        if (key := tuple(TOKEN.findall(template.lower()))) not in distances:
            changeable = [word for word in key if word not in UNCOUNTED]
            distances[key] = (1 - 2 * lcs(base, changeable) / ((len(base) + len(changeable)) or 1), template)
    return list(distances.values())


@cache
def templates_at(kind: QuestionKind, side: str, strength: float) -> tuple[int, ...]:
    """Indices into `kind.templates(side)` of the templates of this strength: the share of words that differ, within
    0.1."""
    distances = [distance for distance, _ in kind.templates(side)]
    return tuple(i for i, distance in enumerate(distances) if i and abs(distance - strength) <= TOLERANCE + 1e-9)


def fill(template: str, values: Mapping[str, str]) -> str:
    """The sentence: places filled in, sentences begun with a capital."""
    text = re.sub(r"\{(\w)\}", lambda match: values[match[1]], template)
    return re.sub(r"(^|[.?!] )([a-z])", lambda match: match[1] + match[2].upper(), text)
