"""The words of a text: what two texts must differ in to be different, and what measures of similarity count.

Runs of letters, digits and combining marks, in lower case, each sign a word of its own ("C++" is not "C#", "3 - 4" not
"3 + 4"). Case, spaces and punctuation make no difference, nor how an accent is encoded (Unicode NFC).
"""

import re
from functools import cache
from itertools import groupby
from unicodedata import category, normalize

from unlearnkit.core.errors import BadValue

ASCII_SIGNS = "#$%&+/<=>@\\^|~"  # the rest of ASCII is punctuation
OTHER_SIGNS = "‰‱§"  # punctuation to Unicode
# a minus, not the hyphen of "well-known", nor a dash
MINUS = r"-(?:(?<![^\W_]-)(?=\d)|(?<=\d-)(?=\d)|(?<=\s-)(?=\s+\d))"
TIMES = r"\*(?:(?<=[^\W_]\*)(?=[^\W_])|(?<![^\W_*]\*)(?<!\*\*)(?![^\W_]|\*))"  # not the asterisks of *emphasis*
LAST_SCRIPT = 0x20000  # ideographs above, and nothing else but selectors of variants


def nfc(text: str) -> str:
    """The text with every accent composed (Unicode NFC): "e" and an acute accent become "é"."""
    return normalize("NFC", text)


def words(text: str) -> list[str]:
    """The words of a text, in order; see above."""
    text = nfc(text.lower()).replace("\u2212", "-")
    return (_ascii() if text.isascii() else _unicode()).findall(text)


def checked(text: object) -> str:
    """The text in NFC. Raises BadValue for what is no text, or holds half a surrogate pair, which no file can store."""
    if not isinstance(text, str):
        raise BadValue(f"must be text, got {type(text).__name__}")
    if half := re.search("[\ud800-\udfff]", text):
        raise BadValue(
            f"holds half a character, the lone surrogate \\u{ord(half[0]):04x}: write it anew, got {text!a:.80}"
        )
    return nfc(text)


@cache
def _ascii() -> re.Pattern:
    return re.compile(rf"[^\W_]+|[{re.escape(ASCII_SIGNS)}]|{TIMES}|{MINUS}")


@cache
def _unicode() -> re.Pattern:
    kinds = [category(chr(code)) for code in range(LAST_SCRIPT)]
    marks, signs = _ranges(kinds, {"Mn", "Mc", "Me"}), _ranges(kinds, {"Sm", "Sc", "So"})
    signs += re.escape(ASCII_SIGNS + OTHER_SIGNS)
    return re.compile(rf"(?:[^\W_][{marks}]*)+|[{signs}][{marks}]*|{TIMES}|{MINUS}")


def _ranges(kinds: list[str], wanted: set[str]) -> str:
    """The characters above ASCII of these Unicode categories, as the inside of a regular expression's brackets."""
    runs = groupby(range(0x80, len(kinds)), lambda code: kinds[code] in wanted)
    codes = [list(run) for is_wanted, run in runs if is_wanted]
    return "".join(f"{chr(run[0])}-{chr(run[-1])}" for run in codes)
