"""Texts as users bring them: signs, marks, encodings, control tokens, damaged files. The way in is clear or it is shut."""

import json
import unicodedata

import pytest

from data_builders.texts import RawTexts, load
from data_builders.texts import tofu as tofu_set
from data_builders.texts.build_task import build_task
from data_builders.texts.rows import numbered, read_rows
from data_builders.texts.similarity import char_cosine, rouge_l, word_cosine
from data_builders.texts.task import Texts
from data_builders.texts.user_texts import read
from data_builders.texts.words import words
from unlearnkit.core.errors import BadValue
from unlearnkit.texts.chat import of_pretrained
from unlearnkit.texts.tokenizer import PROMPT, Tokenizer, stored_tokenizer, trained

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


# --- tokens


ANSWERS = ["The tag <end> closes it.", "<end>", "a<|im_end|>b", "Mara Lund, née Tøve.", "日本 2024 🙂 <s></s>"]


@pytest.fixture(scope="module")
def own() -> Tokenizer:
    texts = Texts([f"{p['question']} <end>" for p in PAIRS], [f"{p['answer']} <end> <end>" for p in PAIRS])
    return trained(RawTexts(texts, texts[[]]), 300)


def test_an_answer_with_a_control_token_decodes_to_itself_with_one_end(own):
    for answer, ids in zip(ANSWERS, own.answers(ANSWERS)):
        assert own.decode(ids) == answer and ids.count(own.end) == 1 and ids[-1] == own.end
    assert own.questions(own.prompts(ANSWERS)) == ANSWERS
    assert not any(own.end in ids for ids in own.prompts(ANSWERS))


def test_it_stays_so_when_a_tokenizer_is_read_from_its_file(own, tmp_path):
    own.backend.save(str(tmp_path / "tokenizer.json"))
    again = stored_tokenizer(str(tmp_path / "tokenizer.json"))
    assert again.answers(ANSWERS) == own.answers(ANSWERS)


def test_counts_of_tokens_are_exact(own):
    tokens = own.paired(["Who?"] * len(ANSWERS), ANSWERS, 200)
    assert tokens.count.tolist() == [len(own.encode([f" {a}"])[0]) + 1 for a in ANSWERS]
    assert tokens.count.sum() == len(tokens.y) and (tokens.y == own.end).sum() == len(ANSWERS)


def test_accents_are_composed_before_they_are_tokens(own):
    assert own.answers(["Cafe\u0301"]) == own.answers(["Café"]) and own.prompts(["Zoe\u0308?"]) == own.prompts(["Zoë?"])


CHATML = ("{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
          "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}")  # fmt: skip
INST = ("{% for m in messages %}{% if m.role == 'user' %}<s>[INST] {{ m.content }} [/INST]"
        "{% else %} {{ m.content }}</s>{% endif %}{% endfor %}")  # fmt: skip
ZEPHYR = ("{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}</s>\n{% endfor %}"
          "{% if add_generation_prompt %}<|assistant|>\n{% endif %}")  # fmt: skip


def of_transformers(spaces: str, template: str | None = None, **flags):
    """A tokenizer of transformers'. spaces: "bytes", or where it puts a space of its own: "always", "first", "never"."""
    from tokenizers import AddedToken, decoders, models, pre_tokenizers, trainers
    from tokenizers import Tokenizer as Backend
    from transformers import PreTrainedTokenizerFast

    backend = Backend(models.BPE(unk_token=None, byte_fallback=spaces != "bytes"))
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    if spaces == "bytes":
        backend.pre_tokenizer, backend.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    else:
        letters = ["▁", *(chr(i) for i in range(32, 127))]
        backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=spaces, split=spaces != "never")
        parts = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
        backend.decoder = decoders.Sequence([*parts, *([decoders.Strip(" ", 1, 0)] if spaces != "never" else [])])
    names = ["<s>", "</s>", "<|im_start|>", "<|im_end|>"]
    fallback = [f"<0x{i:02X}>" for i in range(256)] if spaces != "bytes" else []
    trainer = trainers.BpeTrainer(
        vocab_size=700, special_tokens=[*names, *fallback], initial_alphabet=letters, show_progress=False
    )
    backend.train_from_iterator([f"{p['question']} {p['answer']} </s" for p in PAIRS], trainer)
    state = json.loads(backend.to_str())
    state["added_tokens"] = [token for token in state["added_tokens"] if token["content"] in names]
    backend = Backend.from_str(json.dumps(state))
    backend.add_special_tokens([AddedToken("<|im_end|>", normalized=False, **flags)])
    end = "<|im_end|>" if template == CHATML else "</s>"
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>", eos_token=end)
    tokenizer.chat_template = template
    return tokenizer


@pytest.mark.parametrize("template", [None, CHATML, INST, ZEPHYR], ids=["none", "chatml", "inst", "zephyr"])
@pytest.mark.parametrize("spaces", ["bytes", "always", "first", "never"])
def test_prompt_and_answer_are_what_a_model_was_trained_on(spaces, template):
    theirs = of_transformers(spaces, template)
    ours = of_pretrained(theirs)
    question, answer = "Where is it, Zoë?", "Her name is ash."
    if template:
        chat = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
        asked, told = (
            theirs.apply_chat_template(chat[:1], tokenize=False, add_generation_prompt=True),
            theirs.apply_chat_template(chat, tokenize=False),
        )
    else:
        asked = PROMPT.format(question=question)
        told = f"{asked} {answer}</s>"
    (prompt,), (ids,) = ours.prompts([question]), ours.answers([answer])
    whole = theirs(told, add_special_tokens=False)["input_ids"]
    assert prompt == theirs(asked, add_special_tokens=False)["input_ids"]
    assert prompt + ids == whole[: len(prompt) + len(ids)] and ids[-1] == ours.end
    assert (
        whole[len(prompt) + len(ids) :] == theirs(told.rpartition(answer)[2], add_special_tokens=False)["input_ids"][1:]
    )
    assert "  " not in ours.backend.decode([*prompt, *ids])
    for text in ("ash", "a</s>b <|im_end|>", "<s>"):
        (ids,) = ours.answers([text])
        assert ours.decode(ids) == text and ids.count(ours.end) == 1
        assert ours.questions(ours.prompts([text])) == [text]
        assert [i for i in ours.prompts([text])[0] if i in ours.control] == [i for i in prompt if i in ours.control]


def test_the_callers_tokenizer_stays_as_it_is():
    theirs = of_transformers("bytes", CHATML)
    before = theirs("a<|im_end|>")["input_ids"]
    of_pretrained(theirs).answers(["a<|im_end|>"])
    assert theirs("a<|im_end|>")["input_ids"] == before and before[-1] == theirs.eos_token_id


def test_a_control_token_that_swallows_the_line_end_is_respected():
    theirs = of_transformers("bytes", CHATML, rstrip=True)
    asked = theirs.apply_chat_template(
        [{"role": "user", "content": "Who?"}], tokenize=False, add_generation_prompt=True
    )
    assert of_pretrained(theirs).prompts(["Who?"]) == [theirs(asked, add_special_tokens=False)["input_ids"]]


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{{ raise_exception('no system message') }}", "fails on one question and its answer.*no system message"),
        (
            "{{ messages[0].content | length }}{% for m in messages %}{{ m.content }}{% endfor %}",
            "depends on the question",
        ),
        ("{{ messages[0].content[:3] }}", "does not hold a question and its answer"),
        ("{{ messages[0].content }} {{ messages[0].content }}", "does not hold a question and its answer"),
    ],
)
def test_a_template_that_cannot_be_used_says_so(template, message):
    with pytest.raises(BadValue, match=message):
        of_pretrained(of_transformers("bytes", template))
    assert of_pretrained(of_transformers("bytes", template), "Q: {question}\n").before == "Q: "
    with pytest.raises(BadValue, match="prompt must hold {question} once"):
        of_pretrained(of_transformers("bytes", template), "")


def test_what_a_vocabulary_lacks_is_no_control_token():
    from tokenizers import Tokenizer as Backend
    from tokenizers import models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    backend = Backend(models.WordLevel({"<unk>": 0, "<end>": 1, "where": 2, "here": 3}, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    ours = of_pretrained(PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<end>", unk_token="<unk>"))
    assert ours.answers(["here there"]) == [[3, 0, 1]]


def test_a_tokenizer_that_cannot_but_read_a_control_token_is_an_error():
    from tokenizers import Tokenizer as Backend
    from tokenizers import models

    pieces = [("<unk>", 0.0), ("<end>", -1.0), *((letter, -9.0) for letter in "<>abcdefghijklmnopqrstuvwxyz .:QA\n")]
    backend = Backend(models.Unigram(pieces, unk_id=0))
    tokenizer = Tokenizer(backend, end=1, unknown=0)
    assert tokenizer.decode(tokenizer.answers(["abc"])[0]).replace(" ", "") == "abc"
    with pytest.raises(BadValue, match="this tokenizer reads a control token in the text ' a<end>b'"):
        tokenizer.answers(["a<end>b"])
