"""Any question in other words around it, for questions of which no grammar is known."""

from data_builders.texts import frames
from data_builders.texts.grammar import lines
from data_builders.texts.similarity import words


def reframed(question: str) -> list[str]:
    """The question in every frame that leaves its own words, in their order; none is the question itself.

    A first word that begins a sentence and no name ("Which", but not "Mara Torvik") loses its capital within a frame.
    """
    said = question.strip().rstrip("?.! ")
    first, _, rest = said.partition(" ")
    if first != "I" and not rest[:1].isupper():
        said = said[:1].lower() + said[1:]
    found = [frame.replace("{x}", said) for frame in [*lines(frames.LIGHT_QUESTION), *lines(frames.DIRECT)]]
    different = {tuple(words(text)): text[:1].upper() + text[1:] for text in found}
    different.pop(tuple(words(question)), None)
    return list(different.values())
