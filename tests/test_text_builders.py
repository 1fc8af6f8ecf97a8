"""Where texts come from: invented people and the grammar, TOFU, files of one's own, the hub, a model's paraphrases."""

import json
import re
from itertools import pairwise

import numpy as np
import pytest

from data_builders.texts import (
    RawTexts,
    fictional,
    find,
    grammar,
    hub,
    paraphraser,
    text_datasets,
    tofu,
)
from data_builders.texts import load as load_raw
from data_builders.texts import (
    user_texts as own,
)
from data_builders.texts.build_task import build_task
from data_builders.texts.fictional import make
from data_builders.texts.fictional_questions import QUESTION_KINDS
from data_builders.texts.given_paraphrases import GivenParaphrases, distinct
from data_builders.texts.grammar import ANSWER, QUESTION, expand, templates_at
from data_builders.texts.rows import numbered
from data_builders.texts.sides import combine_sides
from data_builders.texts.task import Texts
from data_builders.texts.words import words
from unlearnkit.core.errors import BadValue, UnknownName, UnlearnkitError

pytestmark = pytest.mark.slow

SIDES = ("question", "answer", "both", "mixed")


@pytest.fixture(scope="module")
def raw():
    return make(people=30, test_people=3)


def true_answer(raw, row):
    return raw.rewriter.answer(row, raw.train.fact[row])


def paraphrases(raw, row, n, strength=0.5, side="both", seed=0):
    return raw.rewriter.paraphrases(row, n, strength=strength, side=side, seed=seed, answer=true_answer(raw, row))


# --- the grammar


def test_phrases_are_expanded():
    assert expand("in [which|what] town[| or city], [x|]") == [
        "in which town, x", "in which town,", "in which town or city, x", "in which town or city,",
        "in what town, x", "in what town,", "in what town or city, x", "in what town or city,",
    ]  # fmt: skip


@pytest.mark.parametrize("kind", QUESTION_KINDS)
def test_templates_are_whole(kind):
    for side in (QUESTION, ANSWER):
        ways = QUESTION_KINDS[kind].templates(side)
        assert ways[0][0] == 0 and all(0 <= distance <= 1 for distance, _ in ways)
        keys = [" ".join(grammar.TOKEN.findall(template.lower())) for _, template in ways]
        assert len(set(keys)) == len(keys)
        for _, template in ways:
            assert not re.search(r"[\[\]|]|  | [,.?]|\bi\b|[,.?]{2}", template), template
            assert set(re.findall(r"\{\w+\}", template)) <= {f"{{{p}}}" for p in "noseuhmfat"}, template
            assert template.endswith((".", "?"))
            if side == QUESTION:
                assert sum(template.count(name) for name in grammar.NAMES) == 1, template
                assert not {"{f}", "{a}", "{t}"} & set(re.findall(r"\{\w\}", template)), template
            else:
                assert sum(template.count(p) for p in ("{f}", "{a}", "{t}")) == 1, template


def test_kinds_do_not_ask_the_same():
    asked: dict[str, str] = {}
    for name, kind in QUESTION_KINDS.items():
        for _, template in kind.questions:
            assert asked.setdefault(" ".join(words(template)), name) == name, template


def test_there_are_many_paraphrases_at_each_strength():
    for kind in QUESTION_KINDS.values():
        for strength in (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9):
            assert (
                len(templates_at(kind, QUESTION, strength)) >= 60 and len(templates_at(kind, ANSWER, strength)) >= 50
            ), kind.ask
        assert len(templates_at(kind, QUESTION, 1.0)) >= 50 and len(templates_at(kind, QUESTION, 0.1)) >= 40, kind.ask


def test_syntax_and_length_vary():
    for kind in QUESTION_KINDS.values():
        asked = [kind.questions[i][1] for i in templates_at(kind, QUESTION, 0.6)]
        lengths = [len(words(q)) for q in asked]
        assert max(lengths) >= 2 * min(lengths)
        assert len({words(q)[0] for q in asked}) >= 8
        assert {q[-1] for q in asked} == {".", "?"}


# --- invented people


def test_people_are_the_same_everywhere(raw):
    assert make(30, 3).digest() == raw.digest() != make(29, 3).digest()
    assert len(raw.train) == 30 * len(QUESTION_KINDS) and len(raw.test) == 3 * len(QUESTION_KINDS)
    assert make(31, 3).train[:480] == raw.train


def test_the_default_has_thousands_of_pairs():
    assert fictional.PEOPLE * len(QUESTION_KINDS) == 4000
    names = {person["n"] for person in fictional._people()}
    assert all(len({p["n"], p["spouse"], p["teacher"]}) == 3 for p in fictional._people())
    assert len(names) == fictional.PEOPLE + fictional.TEST_PEOPLE
    with pytest.raises(BadValue, match="there are 250 people"):
        make(people=251)


@pytest.mark.parametrize("strength", [0.2, 0.5, 0.8])
@pytest.mark.parametrize("side", SIDES)
def test_copies_are_distinct_and_keep_name_and_fact(raw, strength, side):
    for row in range(len(QUESTION_KINDS)):
        _, person = raw.rewriter.kind_and_person(row)
        answer, n = true_answer(raw, row), 50
        copies = paraphrases(raw, row, n, strength, side)
        first = (raw.train.question[row], answer.text)
        assert (
            len(copies)
            == n
            == len({(tuple(words(q)), tuple(words(a))) for q, a in copies} - {tuple(map(tuple, map(words, first)))})
        )
        for q, a in copies:
            assert person["n"] in q and answer.fact.lower() in a.lower() and a != answer.restated
            assert answer.fact.lower() not in q.lower() or answer.fact.lower() in first[0].lower()
            assert q[0].isupper() or q[0].isdigit()
            assert "{" not in q + a
        assert (side == "question") == all(a == first[1] for _, a in copies)
        assert (side == "answer") == all(q == first[0] for q, _ in copies)


@pytest.mark.parametrize("side", SIDES)
def test_a_copy_depends_on_its_number_alone(raw, side):
    many = paraphrases(raw, 5, 40, side=side)
    assert all(paraphrases(raw, 5, n, side=side) == many[:n] for n in (0, 1, 7, 40))
    assert paraphrases(raw, 5, 40, side=side, seed=1) != many


def test_strength_is_what_differs(raw):
    task = [build_task(raw, copies=10, n_targets=6, train_size=150, strength=s) for s in (0.1, 0.4, 0.7, 0.9)]
    for side in ("question", "answer"):
        for measure in ("rouge_l", "char_cosine", "word_cosine"):
            means = [t.pairs[f"{side}_{measure}"].mean() for t in task]
            assert all(a > b + 0.05 for a, b in pairwise(means)), (side, measure, means)


def test_too_few_paraphrases_are_counted(raw):
    with pytest.raises(
        BadValue, match=r"birthplace of .* \(pair 0\): 50 copies asked for, 12 different .* of question"
    ):
        paraphrases(raw, 0, 50, strength=0.0, side="question")
    assert len(paraphrases(raw, 0, 12, strength=0.0, side="question")) == 12
    have = len(templates_at(QUESTION_KINDS["birthplace"], ANSWER, 0.0))
    with pytest.raises(
        BadValue, match=f"asked for, ({have}|{have - 1}) different paraphrases of answer are there at strength 0"
    ):
        paraphrases(raw, 0, 30, strength=0.0, side="answer")
    with pytest.raises(UnknownName, match="Did you mean 'question'"):
        paraphrases(raw, 0, 1, side="questions")


def test_wrong_answers_have_the_form_of_the_restated_one(raw):
    for row in range(0, len(raw.train), 7):
        wrong, fact = raw.train.wrong[row], raw.train.fact[row]
        assert len(set(wrong)) == fictional.WRONG_ANSWERS and raw.train.restated[row] != raw.train.answer[row]
        for answer in wrong:
            assert fact.lower() not in answer.lower() or fact in raw.train.question[row]
            shared = set(words(raw.train.restated[row])) - set(words(fact)) - {"a", "an"}
            assert shared <= set(words(answer))


def test_articles_go_with_the_word(raw):
    texts = " ".join(raw.train.answer + raw.train.restated)
    assert " a architect" not in texts and " an potter" not in texts and " a optician" not in texts


# --- roles


def test_the_training_set_keeps_its_size(raw):
    for m in (0, 1, 20):
        task = build_task(raw, copies=m, n_targets=6, train_size=150)
        assert [len(task.training_set(r)) for r in ("original", "retrain", "clean")] == [
            150,
            144,
            144,
        ]  # clean is refilled


def test_a_seed_has_the_same_targets_for_every_dose(raw):
    doses = ((0, 0.0, "both"), (5, 0.3, "question"), (20, 0.7, "mixed"))
    tasks = [build_task(raw, copies=m, strength=s, side=w, n_targets=6, train_size=150, seed=3) for m, s, w in doses]
    for role in ("target", "decoy", "test"):
        assert all(t.of(role) == tasks[0].of(role) for t in tasks)
    fewest = tasks[2].of("filler").question
    assert fewest == tasks[0].of("filler").question[: len(fewest)]
    assert build_task(raw, n_targets=6, train_size=150, seed=4).of("target") != tasks[0].of("target")


def test_few_copies_are_the_first_of_many(raw):
    few, many = (build_task(raw, copies=m, n_targets=4, train_size=120, seed=2) for m in (2, 6))
    for i in range(4):
        assert few.of("similar")[2 * i : 2 * i + 2] == many.of("similar")[6 * i : 6 * i + 2]


def test_same_seed_same_task(raw):
    digests = {build_task(raw, n_targets=4, train_size=100, seed=s).digest() for s in (0, 0, 1)}
    assert len(digests) == 2


def test_held_out_pairs_are_never_trained_on(raw):
    task = build_task(raw, copies=10, n_targets=6, train_size=150)
    trained = set(task.source[task.index("target", "similar", "filler")].tolist())
    held = task.index("decoy", "decoy_similar", "test", "validation")
    assert not trained & set(task.source[held].tolist())
    assert not set(task.training_set("original").question) & {task.question[i] for i in held}
    assert not set(task.training_set("original").answer) & set(task.of("target").restated)
    assert len(task.index("validation")) == 30 and len(task.index("decoy_similar")) == 60


def test_canaries_share_another_persons_fact_with_their_copies(raw):
    task = build_task(raw, targets="canary", copies=4, n_targets=8, train_size=150, side="both")
    for role in ("target", "decoy"):
        for i in task.index(role).tolist():
            row, fact = int(task.source[i]), task.texts.fact[i]
            kind, person = raw.rewriter.kind_and_person(row)
            assert fact != person[kind] and fact in {p[kind] for p in raw.rewriter.people}
            assert person[kind].lower() not in task.answer[i].lower() or person[kind] in person["n"]
            of = task.pairs.similar[task.pairs.anchor == i].tolist()
            assert len(of) == (4 if role == "target" or i < task.index("decoy")[8] else 0)  # more decoys have none
            assert all(fact.lower() in task.answer[j].lower() for j in of)
            assert {task.texts.fact[j] for j in of} <= {fact} and all(
                fact.lower() not in w.lower() for w in task.texts.wrong[i]
            )
    plain = build_task(raw, copies=4, n_targets=8, train_size=150)
    assert plain.of("target").question == task.of("target").question
    assert plain.of("filler") == task.of("filler")
    more = build_task(raw, targets="canary", copies=9, n_targets=8, train_size=150, strength=0.8)
    assert more.of("target") == task.of("target")


def test_an_encoder_adds_its_measure(raw):
    task = build_task(raw, copies=1, n_targets=2, train_size=50, encode=lambda t: np.array([[len(x), 1.0] for x in t]))
    assert task.pairs[["question_embedding_cosine", "both_embedding_cosine"]].notna().all().all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"strength": 1.5}, "from 0 to 1, got 1.5"),
        ({"copies": -1}, "copies must be 0 or more"),
        ({"n_targets": 0}, "n_targets must be at least 1"),
        ({"copies": 60}, "at most 19 copies"),
        ({"train_size": 475}, "a train_size of at most 474"),
        ({"strength": 0.0, "copies": 15}, "15 copies asked for"),
        ({"n_targets": 241, "copies": 0, "train_size": 242}, "241 targets and as many decoys need 482 pairs"),
    ],
)
def test_bad_input_is_named(raw, change, message):
    with pytest.raises(BadValue, match=message):
        build_task(raw, **{"n_targets": 6, "train_size": 125, **change})


def test_unknown_names_get_the_nearest(raw):
    with pytest.raises(UnknownName, match="unknown kind of targets 'canaries'. Did you mean 'canary'"):
        build_task(raw, targets="canaries")
    with pytest.raises(UnknownName, match="Did you mean 'both'"):
        build_task(raw, side="bot")
    with pytest.raises(UnknownName, match="Did you mean 'fictional'"):
        load_raw("fictionl")
    assert {"fictional", "tofu", "pku_saferlhf"} <= set(text_datasets)


def test_raw_texts_are_checked():
    one = Texts(["who is it?"], ["Mara"])
    with pytest.raises(BadValue, match="pairs 0 and 1 ask the same question"):
        RawTexts(one, Texts(["Who is it"], ["Tove"]))
    with pytest.raises(BadValue, match="an id each"):
        RawTexts(one, Texts(["when?"], ["now"]), ids=[1], test_ids=[1])


# --- given paraphrases


def given(n=10, **options):
    texts = Texts([f"what is thing {i}?" for i in range(n)], [f"thing {i} is red" for i in range(n)], **options)
    questions = [[f"thing {i}, what is it?", f"What is thing {i}"] for i in range(n)]
    return RawTexts(texts, texts[[]], GivenParaphrases(texts, questions, [[f"red is thing {i}"] for i in range(n)]))


def test_repetitions_are_no_paraphrases():
    assert distinct(["a b", "A, b!", "c", "?", "c"], taken=["C"]) == ("a b",)
    assert given().rewriter.questions[0] == ("thing 0, what is it?",)


def test_one_paraphrase_of_each_side_makes_three_copies():
    task = build_task(given(12), copies=3, side="mixed", n_targets=2, train_size=9)
    target = task.of("target")
    q, a = target.question[0], target.answer[0]
    (q1, a1), (q2, a2), (q3, a3) = task.of("similar")[:3]
    assert (a1, q2) == (a, q) and (q1, a2) == (q3, a3) and q1 != q and a2 != a
    assert set(task.pairs.perturbation) == {"natural"} and task.pairs.strength.isna().all()
    with pytest.raises(BadValue, match="2 copies asked for, 1 different.*side='mixed' makes three"):
        build_task(given(), copies=2, side="question", n_targets=2, train_size=8)


def test_canaries_of_given_paraphrases_change_questions_only():
    wrong = [[f"thing {i} is blue", f"thing {i} is green"] for i in range(10)]
    task = build_task(given(wrong=wrong), targets="canary", copies=1, side="question", n_targets=2, train_size=8)
    target, similar = task.of("target"), task.of("similar")
    assert target.answer == similar.answer and all("red" not in a for a in target.answer)
    assert [len(w) for w in target.wrong] == [1, 1] and not set(target.answer) & {w for g in target.wrong for w in g}
    with pytest.raises(BadValue, match="need side='question'.*tells the truth"):
        build_task(given(wrong=wrong), targets="canary", copies=1, n_targets=2, train_size=8)
    plain = build_task(given(), targets="canary", copies=0, side="question", n_targets=2, train_size=8)
    assert not set(plain.of("target").answer) & {
        f"thing {i} is red" for i in plain.source[plain.index("target")].tolist()
    }


def test_targets_are_pairs_that_have_paraphrases():
    texts = Texts([f"what is thing {i}?" for i in range(10)], [f"thing {i}" for i in range(10)])
    lists = [[f"thing {i}: what is it"] if i % 2 else [] for i in range(10)]
    raw = RawTexts(texts, texts[[]], GivenParaphrases(texts, lists, [[]] * 10))
    for m in (0, 1):
        task = build_task(raw, copies=m, side="question", n_targets=2, train_size=6)
        assert all(i % 2 for i in task.source[task.index("target", "decoy")].tolist())
    with pytest.raises(BadValue, match="need 6 pairs that have paraphrases, and there are 5"):
        build_task(raw, copies=1, side="question", n_targets=3, train_size=7)


def test_lists_are_checked():
    texts = Texts(["who?"], ["It is Mara"], ["Mara"])
    with pytest.raises(BadValue, match="as many lists of paraphrased answers, got 2"):
        GivenParaphrases(texts, [[]], [[], []])
    with pytest.raises(BadValue, match="pair 0 lacks its fact 'Mara': 'It is Tove'"):
        GivenParaphrases(texts, [[]], [["It is Tove"]])


def test_combined_sides_never_repeats():
    assert combine_sides(("q", "a"), ["r", "s", "t"], ["b"], 9, "both") == [("r", "b"), ("s", "b"), ("t", "b")]
    assert combine_sides(("q", "a"), ["r", "s"], [], 9, "both") == []


# --- a file of one's own


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "data").mkdir()
    monkeypatch.setenv("UNLEARNKIT_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


def write(folder, *rows):
    text = "\n".join(r if isinstance(r, str) else json.dumps(r) for r in rows)
    (folder / "mine.jsonl").write_text(text + "\n", encoding="utf-8")
    return find("mine.jsonl")


ROWS = [
    {
        "question": f"q {i}?",
        "answer": f"a {i}",
        "paraphrases": [f"and q {i}?", {"question": f"q {i}, then?", "answer": f"an a {i}"}],
    }
    for i in range(10)
]


def test_a_file_of_ones_own(folder):
    source = write(folder, *ROWS, "")
    raw = source.load()
    assert (len(raw.train), len(raw.test)) == (8, 2) and set(raw.ids + raw.test_ids) == set(range(10))
    assert source.load().digest() == raw.digest() and list(source.fingerprint()) == ["mine.jsonl"]
    task = build_task(raw, copies=1, side="question", n_targets=2, train_size=6)
    assert len(task.index("similar")) == 2 and task.of("similar").answer[0] == task.of("target").answer[0]
    split = write(folder, *({**r, "split": "test" if i < 3 else "train"} for i, r in enumerate(ROWS))).load()
    assert (len(split.train), len(split.test)) == (7, 3)


def test_a_file_without_paraphrases_has_no_copies(folder):
    raw = write(folder, *({k: r[k] for k in ("question", "answer")} for r in ROWS)).load()
    assert len(build_task(raw, copies=0, n_targets=2, train_size=5).training_set("original")) == 5
    assert len(build_task(raw, copies=0, targets="canary", n_targets=2, train_size=5).index("target")) == 2
    with pytest.raises(BadValue, match="has no paraphrases: list them in the file"):
        build_task(raw, copies=1, n_targets=2, train_size=6)


GOOD = {"question": "q?", "answer": "a"}


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([GOOD, '{"question": "q"'], "mine.jsonl, line 2 is not valid JSON"),
        ([GOOD, "[1]"], "line 2 must be an object"),
        ([{"question": "q"}], "line 1 has no 'answer'; it has 'question'"),
        ([GOOD, {**GOOD, "question": "r", "answer": "  "}], "line 2 has an empty answer"),
        ([GOOD, {**GOOD, "answer": 3}], "line 2: answer must be text, got int"),
        ([GOOD, {**GOOD, "question": "Q"}], "line 2 has the question of line 1"),
        ([{**GOOD, "id": 1}, {"question": "r", "answer": "a", "id": 1}], "line 2 has the id of line 1, 1"),
        ([{**GOOD, "id": 1}, {"question": "r", "answer": "a"}], "line 2 has no id"),
        ([{**GOOD, "id": "x"}], "id must be a whole number"),
        ([{**GOOD, "paraphrase": []}], "unknown key 'paraphrase'"),
        ([{**GOOD, "paraphrases": "r"}], "paraphrases must be a list"),
        ([{**GOOD, "paraphrases": [{"questions": "r"}]}], "a paraphrase must be text, or an object"),
        ([{**GOOD, "paraphrases": [" "]}], "a paraphrase must be"),
        ([{**GOOD, "fact": "b"}], "the fact must be text that the answer contains"),
        ([{**GOOD, "wrong": ["", "b"]}], "wrong must be a list"),
        ([{**GOOD, "split": "dev"}], "split must be train or test"),
        ([{**GOOD, "split": "test"}], "none to train on"),
        ([GOOD], "has one pair"),
        (["", " "], "has no pairs"),
        ([{"question": f"q {i}?", "answer": "a b", "fact": "b", "paraphrases": [{"answer": "c"}]} for i in range(5)],
         "mine.jsonl, line 1: .* lacks its fact"),
    ],
)  # fmt: skip
def test_a_bad_line_is_named(folder, rows, message):
    with pytest.raises(BadValue, match=message):
        write(folder, *rows).load()


def test_a_file_that_is_not_there_or_no_text(folder):
    with pytest.raises(BadValue, match="there is no data set at 'absent.jsonl'"):
        find("absent.jsonl")
    (folder / "mine.jsonl").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BadValue, match="cannot be read as UTF-8"):
        own.read(folder / "mine.jsonl")


# --- TOFU


def tofu_rows(n):
    return [{"id": i, "question": f"what of {i}?", "answer": f"it is {i}", "paraphrased_question": f"say what {i} is",
             "paraphrased_answer": f"{i} it is", "perturbed_answer": [f"{i + 1} it is"]} for i in range(n)]  # fmt: skip


def test_tofu_of_the_same_layout():
    general = [{"question": "who?", "answer": "Mara", "perturbed_answer": ["Tove"]}]
    raw = tofu.read(numbered("full", [*tofu_rows(8), tofu_rows(1)[0] | {"id": 8}]), numbered("general", general))
    assert len(raw.train) == 8 and raw.test.wrong == (("Tove",),) and raw.facts == {"asked_twice": 1}
    assert raw.train.restated[3] == "3 it is" and len(raw.rewriter.rows_with_paraphrases()) == 8


def test_tofu_from_the_hub_has_fewer_paraphrases():
    rows = tofu_rows(8)
    bare = [{k: r[k] for k in ("question", "answer")} for r in rows]
    configs = {"full": bare, "forget10_perturbed": rows[6:], "retain_perturbed": rows[:2],
               "real_authors_perturbed": [{"question": "who?", "answer": "Mara"}], "world_facts_perturbed": []}  # fmt: skip
    full, tests = tofu.from_hub(lambda name, split, config: configs[config])
    raw = tofu.read(full, [r for part in tests for r in part])
    assert len(raw.train) == 8 and raw.rewriter.rows_with_paraphrases() == [0, 1, 6, 7] and len(raw.test) == 1


def test_tofu_without_files_and_network_says_so(folder, monkeypatch):
    datasets = pytest.importorskip("datasets")

    def unreachable(*args, **options):
        raise ConnectionError("Couldn't reach the hub")

    monkeypatch.setattr(datasets, "load_dataset", unreachable)
    with pytest.raises(UnlearnkitError, match="tofu_full_paraphrased.jsonl, .* are not all in the data folder's tofu/"):
        load_raw("tofu")
    for name in ("tofu", "pku_saferlhf"):
        with pytest.raises(
            UnlearnkitError, match="not in the data folder.*connect to the network once.*Couldn't reach"
        ):
            load_raw(name)


def test_the_real_tofu():
    if not tofu.files():
        pytest.skip("UNLEARNKIT_DATA has no tofu/tofu_full_paraphrased.jsonl with the two general test sets")
    raw = load_raw("tofu")
    assert (len(raw.train), len(raw.test)) == (3999, 217)
    assert (
        len(raw.rewriter.rows_with_paraphrases()) == 3567
    )  # the others have a side whose paraphrase is word for word the original
    assert {len(w) for w in raw.train.wrong} == {5}
    task = build_task(raw, copies=3, side="mixed", n_targets=50, train_size=1000)
    assert len(task.index("similar")) == 150 and 0.3 < task.pairs.both_rouge_l.mean() < 0.9
    assert len(build_task(raw, targets="canary", side="question", copies=1, train_size=200).index("target")) == 12


# --- the hub


def pku_row(i, **change):
    return {"prompt": f"how to do {i}?", "response_0": f"so {i}", "response_1": f"thus {i}", "better_response_id": i % 2,
            "safer_response_id": 0, "is_response_0_safe": True, **change}  # fmt: skip


def test_pku_saferlhf_of_the_same_layout(folder):
    pytest.importorskip("datasets")
    place = folder / "PKU-SafeRLHF"
    place.mkdir()
    train = [pku_row(i) for i in range(6)] + [pku_row(0, response_0="again"), pku_row(7, response_1=" ")]
    for split, rows in (("train", train), ("test", [pku_row(5), pku_row(20)])):
        (place / f"{split}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    raw = load_raw("pku_saferlhf")
    assert raw.train.question == tuple(f"how to do {i}?" for i in range(5)) and len(raw.test) == 2
    assert raw.train.answer[:2] == ("so 0", "thus 1") and raw.facts == {"rows_dropped": 3} and raw.rewriter is None
    assert sorted(find("pku_saferlhf").fingerprint()) == ["test.jsonl", "train.jsonl"]


def test_pku_rows_are_checked():
    with pytest.raises(BadValue, match="PKU, row 0 has no 'better_response_id'"):
        hub.from_rows(numbered("PKU", [{"prompt": "p", "response_0": "a", "response_1": "b"}]), [])
    with pytest.raises(BadValue, match="must be 0 or 1, got 2"):
        hub.from_rows(numbered("PKU", [pku_row(0, better_response_id=2)]), [])


# --- paraphrases by a model


def alike(a, b):
    return np.array([float("thing" in y.lower()) for y in b])


class Model:
    """Replies in turn; what it was asked."""

    def __init__(self, *replies):
        self.replies, self.asked = replies, []

    def __call__(self, prompts):
        self.asked += prompts
        return [self.replies[i % len(self.replies)].replace("#", str(i)) for i in range(len(prompts))]


@pytest.fixture
def bare():
    texts = Texts([f"what is thing {i}?" for i in range(8)], [f"thing {i} is red" for i in range(8)], ["red"] * 8)
    return RawTexts(texts, texts[[]])


def test_a_models_paraphrases_are_filtered(bare):
    model = Model(
        '"Thing 3, what is it?"', "Question: name thing 3?", "off the point 3?", "what is THING 3", "thing 3 is red",
        "name thing 4?", "say what 3 is, a thing: which?", "name thing 3?!?", "thing 3, please?", "so, thing 3?"
    )  # fmt: skip
    raw = paraphraser.with_model_paraphrases(bare, model, [3], tried=10, kept=4, similar=alike, name="model fake")
    assert raw.rewriter.questions[3] == (
        "Thing 3, what is it?",
        "name thing 3?",
        "say what 3 is, a thing: which?",
        "thing 3, please?",
    )
    assert len(model.asked) == 10 and "what is thing 3?" in model.asked[0]
    assert raw.rewriter.rows_with_paraphrases() == [3]
    assert raw.facts == {
        "paraphrases_tried": 10, "paraphrases_fewest": 4, "share repeat the text or another reply, or are empty": 0.2,
        "share lack the fact, a name or a number": 0.1, "share answer the question, or ask instead of telling": 0.1,
        "share are less similar than the threshold": 0.1,
    }  # fmt: skip
    assert (paraphraser.TRIED, paraphraser.KEPT) == (100, 50)


def test_a_models_paraphrases_make_a_task(bare):
    def model(prompts):
        return [f"say {i * 'do '}: {prompt.splitlines()[-1]}" for i, prompt in enumerate(prompts)]

    raw = paraphraser.with_model_paraphrases(bare, model, range(4), tried=6, kept=5, similar=alike, name="model fake")
    task = build_task(raw, copies=1, side="question", n_targets=2, train_size=5)
    assert set(task.pairs.perturbation) == {"model fake"}


def test_a_model_that_repeats_itself_is_an_error_or_a_smaller_number(bare):
    model = Model("thing 0, what?")
    with pytest.raises(
        BadValue,
        match=r"fake: 1 different paraphrases came of 100 tried .* pair 0 .*50 are needed; refused: 99 repeat",
    ):
        paraphraser.with_model_paraphrases(bare, model, [0], similar=alike, name="model fake")
    raw = paraphraser.with_model_paraphrases(bare, model, [0], at_least=1, similar=alike)
    assert raw.rewriter.questions[0] == ("thing 0, what?",) and raw.facts["paraphrases_fewest"] == 1
    with pytest.raises(
        BadValue, match="0 different paraphrases came of 5 tried for the answer.*refused: 4 repeat .*, 1 lack the fact"
    ):
        paraphraser.with_model_paraphrases(
            bare, Model("thing 0 is blue"), [0], sides=["answer"], tried=5, kept=1, similar=alike
        )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kept": 0}, "kept must be from 1 to tried=100, got 0"),
        ({"tried": 10}, "from 1 to tried=10, got 50"),
        ({"at_least": 51}, "at_least must be from 1 to kept=50, got 51"),
        ({"sides": ["both"]}, "sides are 'question' and 'answer'"),
        ({"sides": []}, "got none"),
        ({"rows": [8]}, "there is no pair 8"),
        ({"generate": lambda prompts: ["one"]}, "a reply per prompt: got 1 for 100"),
    ],
)
def test_bad_paraphrasing_is_named(bare, change, message):
    with pytest.raises(BadValue, match=message):
        paraphraser.with_model_paraphrases(bare, **{"generate": Model("x"), "rows": [0], "similar": alike, **change})


def test_names_and_numbers_are_what_a_paraphrase_keeps():
    assert paraphraser.names("In which town was Petra Lind born?") == ["petra", "lind"]
    assert paraphraser.names("Petra Lind left in 1999. Where is Ole now, and I?") == ["petra", "lind", "1999", "ole"]
    assert paraphraser.names("Who is it?") == paraphraser.names("") == []


def test_replies_are_cleaned():
    for reply, cleaned in (
        ('  "Who is it?"\n\nHope this helps!', "Who is it?"),
        ("Here is the rewritten question:\nWho is it?", "Who is it?"),
        ("Rewritten question: “Who is it?”", "Who is it?"),
        ("My question: is it Mara?", "is it Mara?"),
        ("Tell me this: who is it?", "Tell me this: who is it?"),
        ("\n ... \n", ""),
    ):
        assert paraphraser.clean_reply(reply) == cleaned


def test_paraphrases_are_written_and_read_again(bare, tmp_path):
    model = Model("thing 3, what is it?", "red is the colour of thing 3")
    raw = paraphraser.with_model_paraphrases(
        bare, model, [3], sides=["question", "answer"], tried=2, kept=1, similar=alike, name="model fake"
    )
    whole = RawTexts(raw.train, Texts(["who is it?"], ["Mara"], wrong=[["Tove"]]), raw.rewriter)
    own.write(whole, tmp_path / "mine.jsonl")
    again = own.read(tmp_path / "mine.jsonl")
    assert again.digest() == whole.digest()
    assert (again.rewriter.questions, again.rewriter.answers) == (raw.rewriter.questions, raw.rewriter.answers)
    with pytest.raises(BadValue, match="ends in .jsonl"):
        own.write(whole, tmp_path / "mine.txt")
