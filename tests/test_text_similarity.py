"""Measures of how similar two texts are: closed forms, properties, speed of none."""

import sys
import types

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_builders.texts import human_judgements
from data_builders.texts.similarity import (
    AT_ONCE,
    MEASURES,
    SIDES,
    char_cosine,
    columns,
    embedding_cosine,
    encoder,
    lcs,
    pair_similarities,
    rouge_l,
    rouge_l_recall,
    word_cosine,
    words,
)
from unlearnkit.core.errors import BadValue, UnlearnkitError

A, B = ["the cat sat on the mat"], ["the cat lay on a mat"]
TEXT = st.lists(st.sampled_from(["the", "cat", "sat", "on", "a", "mat", "Mat.", "mat,", "ox", "1921"]), max_size=9).map(
    " ".join
)
FREE = st.text(max_size=30)


def slow_lcs(a, b) -> int:
    """The table, as in the books."""
    table = np.zeros((len(a) + 1, len(b) + 1), int)
    for i, x in enumerate(a):
        for j, y in enumerate(b):
            table[i + 1, j + 1] = table[i, j] + 1 if x == y else max(table[i, j + 1], table[i + 1, j])
    return int(table[-1, -1])


# --- closed forms


def test_closed_forms():
    assert lcs(words(A[0]), words(B[0])) == 4  # the cat on mat
    assert rouge_l(A, B)[0] == pytest.approx(2 * 4 / (6 + 6))
    assert rouge_l_recall(["a b c d"], ["a x c"])[0] == pytest.approx(2 / 4)
    assert rouge_l_recall(["a x c"], ["a b c d"])[0] == pytest.approx(2 / 3)
    # words and pairs of words: a b, b c; b c, c d
    assert word_cosine(["a b c"], ["b c d"])[0] == pytest.approx(3 / 5)
    assert word_cosine(["a a"], ["a"])[0] == pytest.approx(2 / np.sqrt(5))
    # " ca", "cat", "at " and " ca", "car", "ar "
    assert char_cosine(["cat"], ["car"])[0] == pytest.approx(1 / 3)


def test_case_and_punctuation_are_nothing_and_order_is_not():
    for measure in MEASURES.values():
        assert measure(["The cat, sat!"], ["the CAT sat"])[0] == 1
    assert rouge_l(["a b"], ["b a"])[0] == pytest.approx(0.5)
    assert char_cosine(["ab cd"], ["cd ab"])[0] == pytest.approx(1)
    assert word_cosine(["ab cd"], ["cd ab"])[0] < 1


def test_texts_without_words():
    for measure in MEASURES.values():
        assert measure(["", "?!", "cat", ""], ["", "...", "", "cat"]).tolist() == [1, 1, 0, 0]
        assert measure([], []).shape == (0,)


def test_umlauts_and_digits_are_words():
    assert words("Ærø, née 1921: l'été") == ["ærø", "née", "1921", "l", "été"]


# --- properties


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from("abcd"), max_size=80), st.lists(st.sampled_from("abcd"), max_size=80))
def test_the_longest_common_subsequence_is_the_tables(a, b):
    assert lcs(a, b) == slow_lcs(a, b) == lcs(b, a)


@pytest.mark.parametrize("name", MEASURES)
@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(TEXT | FREE, TEXT | FREE), min_size=1, max_size=6))
def test_identity_range_and_order(name, pairs):
    measure = MEASURES[name]
    a, b = map(list, zip(*pairs))
    values = measure(a, b)
    assert values.dtype == np.float32 and values.shape == (len(a),)
    assert ((values >= 0) & (values <= 1)).all()
    assert (measure(a, a) == 1).all()
    if measure.symmetric:
        assert np.allclose(values, measure(b, a), atol=1e-6)
    order = np.random.default_rng(0).permutation(len(a))  # a pair's value does not depend on its company
    assert np.allclose(measure([a[i] for i in order], [b[i] for i in order]), values[order], atol=1e-6)


@settings(max_examples=30, deadline=None)
@given(TEXT, TEXT)
def test_the_f_of_rouge_is_the_harmonic_mean(a, b):
    f, r, p = rouge_l([a], [b])[0], rouge_l_recall([a], [b])[0], rouge_l_recall([b], [a])[0]
    assert f == pytest.approx(2 * r * p / (r + p) if r + p else 0, abs=1e-6)


@pytest.mark.parametrize("measure", [char_cosine, word_cosine])
def test_batches_do_not_matter(measure, monkeypatch):
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(["red", "green", "blue", "grey"], 5)) for _ in range(40)]
    whole = measure(texts, texts[::-1])
    monkeypatch.setattr("data_builders.texts.similarity.AT_ONCE", 7)
    assert AT_ONCE > 40 and np.allclose(measure(texts, texts[::-1]), whole, atol=1e-6)


def test_other_lengths_are_refused():
    for measure in (*MEASURES.values(), embedding_cosine):
        with pytest.raises(BadValue, match="pair by pair: got 1 and 2"):
            measure(["a"], ["a", "b"])


# --- embeddings


def fake(texts):
    """Length and number of vowels."""
    return np.array([[len(t), sum(c in "aeiou" for c in t)] for t in texts], float)


def test_embeddings_are_made_once_per_text():
    calls = []

    def encode(texts):
        calls.append(texts)
        return fake(texts)

    values = embedding_cosine(["ab", "ab", "ccc"], ["ab", "aee", "ab"], encode)
    assert calls == [["ab", "ccc", "aee"]]
    assert values.tolist() == pytest.approx([1, 9 / (np.sqrt(5) * np.sqrt(18)), 6 / (3 * np.sqrt(5))], abs=1e-6)
    assert embedding_cosine([], [], encode).shape == (0,)


@pytest.mark.parametrize("bad", [lambda t: np.zeros(len(t)), lambda t: np.zeros((1, 3)), lambda t: fake(t) * np.nan])
def test_a_broken_encoder_is_named(bad):
    with pytest.raises(BadValue, match="one finite vector per text"):
        embedding_cosine(["a", "b"], ["c", "d"], bad)


def test_without_sentence_transformers_the_way_out_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(UnlearnkitError, match="pip install sentence-transformers.*rouge_l"):
        encoder("missing library")


def test_the_encoder_is_the_librarys(monkeypatch):
    class SentenceTransformer:
        def __init__(self, name, device=None):
            if name == "nowhere":
                raise OSError("no connection")
            self.name = name

        def encode(self, texts, **options):
            assert options["convert_to_numpy"] and not options["show_progress_bar"]
            return fake(texts)

    module = types.SimpleNamespace(SentenceTransformer=SentenceTransformer)
    monkeypatch.setitem(sys.modules, "sentence_transformers", module)
    assert embedding_cosine(["ab"], ["aee"], encoder("a fake"))[0] == pytest.approx(9 / np.sqrt(90))
    with pytest.raises(UnlearnkitError, match="'nowhere' is not here.*no connection"):
        encoder("nowhere")


# --- all of them, on each side


def test_measured_has_each_side():
    a, b = (["who is it"], ["Mara"]), (["who was it"], ["Mara"])
    table = pair_similarities(a, b, fake)
    assert list(table) == columns(fake) and len(table.columns) == len(SIDES) * (len(MEASURES) + 1)
    assert list(pair_similarities(a, b)) == columns()
    assert table.answer_rouge_l[0] == table.answer_embedding_cosine[0] == 1
    assert table.question_rouge_l[0] == pytest.approx(2 / 3)
    assert table.both_rouge_l[0] == pytest.approx(3 / 4)
    assert (table.dtypes == np.float32).all()
    assert pair_similarities(([], []), ([], [])).shape == (0, len(columns()))


# --- agreement with people


def test_auc_and_spearman_are_what_they_say():
    assert human_judgements.auc(np.array([0.1, 0.9, 0.8, 0.2]), np.array([0, 1, 1, 0])) == 1
    assert human_judgements.auc(np.array([0.5, 0.5]), np.array([0, 1])) == 0.5
    assert human_judgements.spearman(np.array([1, 2, 3.0]), np.array([10, 20, 90.0])) == pytest.approx(1)


def test_without_data_nothing_is_compared(tmp_path, monkeypatch):
    monkeypatch.setenv("UNLEARNKIT_DATA", str(tmp_path))
    assert human_judgements.available() == [] and human_judgements.agreement().empty


def test_another_file_of_that_name_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("UNLEARNKIT_DATA", str(tmp_path))
    (tmp_path / "text-pairs").mkdir()
    path = tmp_path / "text-pairs" / human_judgements.FILES["MRPC"][0]
    path.write_text("Quality\t#1 String\t#2 String\n1\ta\tb\n")
    with pytest.raises(BadValue, match="has 1 pairs, MRPC's test part has 1725"):
        human_judgements.read("MRPC")
    path.write_text("nothing")
    with pytest.raises(BadValue, match="cannot be read as MRPC"):
        human_judgements.read("MRPC")


@pytest.mark.parametrize("name", human_judgements.FILES)
def test_measures_follow_people_better_than_chance(name):
    if name not in human_judgements.available():
        pytest.skip(f"UNLEARNKIT_DATA has no text-pairs/{human_judgements.FILES[name][0]}")
    table = human_judgements.read(name)
    for measure in MEASURES.values():
        values = measure(list(table.a), list(table.b))
        if name == "MRPC":
            assert 0.65 < human_judgements.auc(values, table.judgement.to_numpy(float)) < 0.85
        else:
            assert 0.4 < human_judgements.spearman(values, table.judgement.to_numpy(float)) < 0.7
