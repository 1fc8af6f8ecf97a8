"""A question put into frames ("Do you know the answer to this: ...?"), for questions without a grammar."""

from data_builders.texts import frames
from data_builders.texts.grammar import expand_lines
from data_builders.texts.words import words


def reframed(question: str) -> list[str]:
    """The question in every frame that keeps its words and their order; none of them is the question itself.

    A first word that begins a sentence and no name ("Which", but not "Mara Torvik") loses its capital within a frame.
    """
    bare = question.strip().rstrip("?.! ")
    first, _, rest = bare.partition(" ")
    if first != "I" and not rest[:1].isupper():
        bare = bare[:1].lower() + bare[1:]
    every_frame = [*expand_lines(frames.LIGHT_QUESTION), *expand_lines(frames.DIRECT)]
    framed = [frame.replace("{x}", bare) for frame in every_frame]
    different = {tuple(words(text)): text[:1].upper() + text[1:] for text in framed}
    different.pop(tuple(words(question)), None)
    return list(different.values())
