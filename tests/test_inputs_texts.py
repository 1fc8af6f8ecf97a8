"""Texts as users bring them: signs, marks, encodings, control tokens, damaged files. The way in is clear or it is shut."""

import json
import unicodedata

import pytest

from data_builders.texts import load
from data_builders.texts import tofu as tofu_set
from data_builders.texts.build_task import build_task
from data_builders.texts.rows import numbered, read_rows
from data_builders.texts.similarity import char_cosine, rouge_l, word_cosine
from data_builders.texts.task import Texts
from data_builders.texts.user_texts import read
from data_builders.texts.words import words
from unlearnkit.core.errors import BadValue

TREES = ["ash", "birch", "cedar", "doum", "elm", "fir", "gum", "hazel", "ivy", "juniper", "kauri", "larch"]
PAIRS = [{"question": f"Where is the town of {w}?", "answer": f"In the valley of {w}."} for w in TREES]


@pytest.fixture
def file(tmp_path):
    """Writes rows, objects or lines, to mine.jsonl."""

    def write(*rows, encoding="utf-8"):
        lines = [row if isinstance(row, str) else json.dumps(row, ensure_ascii=False) for row in rows]
        path = tmp_path / "mine.jsonl"
        path.write_bytes("\n".join(lines).encode(encoding))
        return path

    return write


# --- words


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("What is C++?", "What is C#?"),
        ("3 + 4", "3 - 4"),
        ("is it -5?", "is it 5?"),
        ("5%", "5"),
        ("$5", "€5"),
        ("1/2", "1 2"),
        ("3*4", "3 4"),
        ("हिन्दी", "हिन्द"),  # a vowel sign
        ("นี้", "นี"),  # a mark of tone
        ("is he 😀?", "is he 😢?"),
        ("pâte", "pate"),
    ],
)
def test_signs_and_marks_tell_texts_apart(a, b):
    assert words(a) != words(b)
    for measure in (rouge_l, word_cosine, char_cosine):
        assert measure([a], [b])[0] < 1, measure


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("Where is it?", "where is IT"),
        ("caf\u00e9", "cafe\u0301"),
        ("3 \u2212 4", "3 - 4"),
        ("a well-known town", "a well known town"),
        ("it is - well - far", "it is, well, far"),
        ("*Where* is **it**?", "Where is it"),
        ("“Here”, she’d say…", '"Here", she\'d say'),
    ],
)
def test_case_punctuation_and_encoding_do_not(a, b):
    assert words(a) == words(b)


def test_a_mark_does_not_break_a_word():
    assert words("हिन्दी में") == ["हिन्दी", "में"] and words("x\u0301y") == ["x\u0301y"]


def test_texts_are_composed_first():
    pair = Texts(["Who is Zoe\u0308?"], ["Cafe\u0301"], ["cafe\u0301"], ["the cafe\u0301"], [["e\u0301"]])
    parts = (*pair.question, *pair.answer, *pair.fact, *pair.restated, *pair.wrong[0])
    assert all(unicodedata.is_normalized("NFC", text) for text in parts)
    assert pair.digest() == Texts(["Who is Zoë?"], ["Café"], ["café"], ["the café"], [["é"]]).digest()


# --- files


def test_questions_that_differ_in_a_sign_are_two(file):
    raw = read(
        file(
            {"question": "What is C++?", "answer": "A language."},
            {"question": "What is C#?", "answer": "Another."},
            *PAIRS,
        )
    )
    assert len(raw.train) + len(raw.test) == 14
    assert build_task(raw, n_targets=2, copies=0, train_size=6, test_size=2).digest()


HALF = '{"question": "Where is \\ud83d now?", "answer": "Here."}'


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (HALF, r"line 1: question holds half a character, the lone surrogate \\ud83d"),
        (json.dumps(PAIRS[0] | {"wrong": ["\ud83d it"]}), r"line 1: wrong holds half a character"),
        (json.dumps(PAIRS[0] | {"paraphrases": ["\udc00 it?"]}), r"line 1: a paraphrase holds half"),
        ("[" * 100_000, "line 1 is not valid JSON here: it is nested too deeply"),
        ('{"question": ' * 100_000, "line 1 is not valid JSON here: it is nested too deeply"),
        (
            '{"question": "q?", "question": "r?", "answer": "a"}',
            "line 1 is not valid JSON.*has the key 'question' twice",
        ),
        ('{"question": "q?", "answer": "a", "id": ' + "9" * 5000 + "}", "line 1 is not valid JSON"),
        (
            '{"question": "q?", "answer": "a", "id": ' + "9" * 30 + "}",
            "line 1: id must be a whole number of at most 18",
        ),
        ('{"question": "q?", "answer": "a", "id": 1e400}', "line 1: id must be a whole number .*got inf"),
        ('{"question": "q?", "answer": "a", "id": NaN}', "line 1 is not valid JSON.*NaN"),
        ('{"question": "q?", "answer": "a", "id": true}', "line 1: id must be a whole number"),
        ('{"question": "q?", "ans', "line 1 is not valid JSON, or is cut off"),
        ('{"question": "q?", "answer": null}', "line 1: answer must be text, got NoneType"),
        ('{"question": "q?", "answer": "?!"}', "line 1 has an empty answer"),
        ('{"question": "q?", "answer": "a", "split": ["train"]}', "line 1: split must be train or test"),
        ("version https://git-lfs.github.com/spec/v1\noid sha256:1", "only a pointer to the file"),
    ],
    ids=lambda value: value[:24],
)
def test_what_is_wrong_with_a_line_is_said(file, line, message):
    if line.startswith("["):  # else it is read as one list
        line = '{"question": ' + line
    with pytest.raises(BadValue, match=f"mine.jsonl.*{message}") as caught:
        read(file(line, *PAIRS))
    assert len(str(caught.value)) < 400


def test_a_file_of_another_encoding_names_the_line(file):
    with pytest.raises(BadValue, match="mine.jsonl, line 13 cannot be read as UTF-8"):
        read(file(*PAIRS, {"question": "Où?", "answer": "Là."}, encoding="latin-1"))


def test_a_byte_order_mark_windows_line_ends_and_a_line_separator_are_read(file):
    rows = [json.dumps(p) + "\r" for p in PAIRS]
    raw = read(file("\ufeff" + json.dumps({"question": "q?", "answer": "a\u2028b"}, ensure_ascii=False), *rows, ""))
    assert len(raw.train) + len(raw.test) == 13 and "a\u2028b" in (*raw.train.answer, *raw.test.answer)


def test_one_list_of_objects_is_read_like_lines(tmp_path):
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(PAIRS, indent=1))
    assert [row.values for row in read_rows(path)] == PAIRS and read_rows(path)[1].where == "mine.json, item 2"
    path.write_text(json.dumps([*PAIRS, 3]))
    with pytest.raises(BadValue, match=r"mine.json, item 13 must be an object"):
        read_rows(path)


# --- TOFU, damaged


@pytest.fixture
def tofu(tmp_path, monkeypatch):
    """Writes TOFU's three files, `change(lines)` applied to those of the largest; 40 pairs stand for the 4,000."""
    monkeypatch.setenv("UNLEARNKIT_DATA", str(tmp_path))
    monkeypatch.setattr(tofu_set, "TRAIN_PAIRS", 40)
    (tmp_path / "tofu").mkdir()
    rows = [{"question": f"What is author {i} called?", "answer": f"Writer{i} of town.",
             "paraphrased_question": f"Name of {i}?", "paraphrased_answer": f"She is writer{i}.",
             "perturbed_answer": [f"W{i}."]} for i in range(40)]  # fmt: skip
    capitals = [{"question": f"Where is capital {i}?", "answer": f"In land{i}."} for i in range(9)]
    general = [row | {"perturbed_answer": ["In none."]} for row in capitals]

    def write(change=lambda lines: None, prefix=""):
        (tmp_path / "tofu" / tofu_set.TESTS[0]).write_text(json.dumps(general[:5]))
        (tmp_path / "tofu" / tofu_set.TESTS[1]).write_text("\n".join(map(json.dumps, general[5:])))  # the hub's form
        lines = [json.dumps(row) for row in rows]
        change(lines)
        (tmp_path / "tofu" / tofu_set.FULL).write_text(prefix + "\n".join(lines), encoding="utf-8")
        return load("tofu")

    return write


def test_whole_tofu_is_read(tofu):
    raw = tofu()
    assert (len(raw.train), len(raw.test), len(raw.rewriter.rows_with_paraphrases())) == (40, 9, 40)
    assert tofu(prefix="\ufeff").digest() == raw.digest()


def with_row(number: int, **change):
    """A change of one line: values are set, None takes the key away."""

    def apply(lines):
        row = json.loads(lines[number]) | change
        lines[number] = json.dumps({k: v for k, v in row.items() if v is not None}, ensure_ascii=False)

    return apply


def test_a_line_separator_within_an_answer_ends_no_line(tofu):
    assert "Writer7\u2028of town." in tofu(with_row(7, answer="Writer7\u2028of town.")).train.answer


def cut(lines):
    lines[-1] = lines[-1][:40]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (with_row(7, answer=None), "tofu/tofu_full_paraphrased.jsonl, line 8 has no 'answer'"),
        (with_row(7, question=None), "line 8 has no 'question'"),
        (with_row(7, answer=5), "line 8: answer must be text, got int"),
        (with_row(7, question="?"), "line 8 has an empty question"),
        (with_row(7, perturbed_answer="W"), "line 8: perturbed_answer must be a list"),
        (with_row(7, paraphrased_answer=["W"]), "line 8: paraphrased_answer must be text"),
        (with_row(7, id="a"), "line 8: id must be a whole number"),
        (cut, "line 40 is not valid JSON, or is cut off"),
        (lambda lines: lines.pop(), "TOFU has 40 pairs, tofu_full_paraphrased.jsonl has 39"),
        (lambda lines: lines.clear(), "has no pairs"),
        (lambda lines: lines.insert(0, "version https://git-lfs.github.com/spec/v1"), "only a pointer"),
    ],
)
def test_damage_to_tofu_names_file_and_line(tofu, change, message):
    with pytest.raises(BadValue, match=message):
        tofu(change)


def test_rows_of_the_hub_are_read_by_the_same_reader():
    row = {"question": "Who?", "answer": "Mara \ud83d"}
    with pytest.raises(BadValue, match=r"TOFU \(full\), row 1: answer holds half a character"):
        tofu_set.read(numbered("TOFU (full)", [PAIRS[0], row]), [])


def test_pairs_given_in_memory_are_held_to_the_same():
    with pytest.raises(BadValue, match="answer of pair 1 holds half a character"):
        Texts(["a?", "b?"], ["a", "b \ud83d"])
