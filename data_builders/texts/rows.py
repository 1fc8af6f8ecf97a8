"""The one reader of question-answer pairs as JSON: files of your own, TOFU's, and rows of the hub's data sets.

Every error names the file and the line.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from data_builders.texts.words import checked, words
from unlearnkit.core.errors import BadValue

POINTERS = ("version https://git-lfs.github.com/spec/", "/annex/objects/")  # what Git keeps in a large file's place
MAX_ID = 2**63 - 1


@dataclass(frozen=True)
class Row:
    """A JSON object, and where it stands ("mine.jsonl, line 3"). All methods raise BadValue, which names the place."""

    where: str
    values: Mapping

    def text(self, key: str, *, optional: bool = False) -> str:
        """The text at `key`, in NFC, without white space around it. It must have words; optional: "" if it is absent,
        null or empty."""
        value = self.values.get(key) if optional else self.value(key)
        if optional and value is None:
            return ""
        text = self.checked(key, value)
        if not optional and not words(text):
            raise self.error(f"has an empty {key}: {text!r:.80}")
        return text

    def texts(self, key: str) -> list[str]:
        """The list of texts with words at `key`; [] if it is absent or null."""
        value = self.values.get(key)
        if value is None:
            return []
        if not isinstance(value, list | tuple) or not all(isinstance(v, str) and words(v) for v in value):
            raise self.error(f"{key} must be a list of answers that are not empty, got {value!r:.80}", colon=True)
        return [self.checked(key, text) for text in value]

    def whole_number(self, key: str, default: int) -> int:
        value = self.values.get(key, default)
        if type(value) is not int or abs(value) > MAX_ID:
            raise self.error(f"{key} must be a whole number of at most 18 digits, got {value!r:.80}", colon=True)
        return value

    def value(self, key: str):
        if key not in self.values:
            raise self.error(f"has no {key!r}; it has {', '.join(map(repr, sorted(self.values))) or 'nothing'}")
        return self.values[key]

    def checked(self, name: str, text: object) -> str:
        """The text in NFC, without white space around it."""
        try:
            return checked(text).strip()
        except BadValue as error:
            raise self.error(f"{name} {error}", colon=True) from error

    def error(self, message: str, *, colon: bool = False) -> BadValue:
        return BadValue(f"{self.where}{':' if colon else ''} {message}")


def read_rows(path: Path) -> list[Row]:
    """The objects of a file, one a line, or of one list of objects.

    Raises BadValue, naming file and line, for a file that cannot be read, is no UTF-8, stands for another file, or is
    empty, and for what is no JSON object, is nested too deeply, or has a key twice.
    """
    content = _content(path)
    if content.lstrip().startswith("["):
        items = _parsed(f"{path.name}", content)
        rows = [(f"{path.name}, item {number}", item) for number, item in enumerate(items, 1)]
    else:
        lines = enumerate(content.split("\n"), 1)  # no other character ends a line of JSON
        places = ((f"{path.name}, line {number}", line) for number, line in lines if line.strip())
        rows = [(where, _parsed(where, line)) for where, line in places]
    if not rows:
        raise BadValue(f"{path.name} has no pairs")
    for where, row in rows:
        if not isinstance(row, dict):
            raise BadValue(f"{where} must be an object with question and answer, got {type(row).__name__}")
    return [Row(*row) for row in rows]


def numbered(name: str, rows: Iterable[Mapping]) -> list[Row]:
    """Rows of a data set that is no file, each named by its number, from 0."""
    return [Row(f"{name}, row {number}", row) for number, row in enumerate(rows)]


def _content(path: Path) -> str:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BadValue(f"{path.name} cannot be read: {error.strerror}") from error
    try:
        content = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise BadValue(f"{path.name}, line {line} cannot be read as UTF-8 text: save the file as UTF-8") from error
    if content.startswith(POINTERS):
        raise BadValue(f"{path.name} is only a pointer to the file, as Git keeps it: fetch the file (git lfs pull)")
    return content


def _parsed(where: str, text: str):
    try:
        return json.loads(text, object_pairs_hook=_once, parse_constant=_no_number)
    except RecursionError as error:
        raise BadValue(f"{where} is not valid JSON here: it is nested too deeply") from error
    except ValueError as error:
        raise BadValue(f"{where} is not valid JSON, or is cut off: {error}") from error


def _once(pairs: list[tuple]) -> dict:
    values = dict(pairs)
    if len(values) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"it has the key {next(k for k in keys if keys.count(k) > 1)!r} twice")
    return values


def _no_number(name: str):
    raise ValueError(f"{name} is no number of JSON's")
