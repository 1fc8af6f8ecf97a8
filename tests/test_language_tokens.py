"""Tokens: what counts, what is in which batch, and how little of it is padding."""

import dataclasses

import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data_builders.texts import load
from data_builders.texts.fictional import make
from data_builders.texts.task import Texts
from language import nano
from unlearnkit.core.errors import BadValue
from unlearnkit.texts.models import LanguageModel, build
from unlearnkit.texts.tokenizer import trained
from unlearnkit.texts.tokens import Tokens, padding

SOME = Tokens.of([[5, 6], [7], [8, 9, 10]], [[11, 0], [12, 13, 14, 0], [0]])


@pytest.fixture(scope="module")
def tokenizer():
    return trained(make(people=12, test_people=2), 400)


@pytest.fixture(scope="module")
def model() -> LanguageModel:
    assert nano
    return build("nano", 400, 128, 0).eval()


def loss(model, batch) -> torch.Tensor:
    return F.cross_entropy(model(batch), batch.y)


def test_labels_are_of_answer_tokens_alone():
    assert SOME.y.tolist() == [11, 0, 12, 13, 14, 0, 0] and SOME.count.tolist() == [2, 4, 1]
    row, column = SOME.places
    assert row.tolist() == [0, 0, 1, 1, 1, 1, 2] and column.tolist() == [1, 2, 0, 1, 2, 3, 2]
    assert SOME.prompts() == [[5, 6], [7], [8, 9, 10]] and SOME.answers() == [[11, 0], [12, 13, 14, 0], [0]]


def test_the_loss_is_that_of_transformers_with_prompt_and_padding_left_out(model):
    labels = SOME.ids.long().clone()
    for row, (start, stop) in enumerate(zip(SOME.start, SOME.stop)):
        labels[row, :start] = labels[row, stop:] = -100
    attention = (torch.arange(SOME.ids.shape[1])[None] < SOME.stop[:, None]).long()
    theirs = model.net(input_ids=SOME.ids.long(), attention_mask=attention, labels=labels).loss
    torch.testing.assert_close(loss(model, SOME), theirs)


def test_padding_never_counts_and_answer_labels_do(model):
    before, (padded,) = loss(model, SOME), [SOME.ids.clone()]
    for row, stop in zip(padded, SOME.stop):
        row[stop:] = 99
    assert torch.equal(loss(model, dataclasses.replace(SOME, ids=padded)), before)
    wider = dataclasses.replace(SOME, ids=F.pad(SOME.ids, (0, 9), value=3))
    torch.testing.assert_close(loss(model, wider), before)
    for place in range(len(SOME.y)):
        y = SOME.y.clone()
        y[place] = 50
        assert not torch.equal(loss(model, SOME.relabelled(y)), before)


def test_the_head_sees_no_prompt_and_no_padding(model):
    logits, hidden = model.logits_and_features(SOME)
    assert logits.shape == (7, 400) and hidden.shape == (7, 32)
    alone = torch.cat([model(SOME[[i]]) for i in range(3)])
    torch.testing.assert_close(logits, alone, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("index", [[2, 0], torch.tensor([2, 0]), slice(1, 3), torch.tensor([True, False, True])])
def test_parts_are_those_of_single_samples(index):
    part = SOME[index]
    chosen = torch.arange(3)[index if not isinstance(index, list) else torch.tensor(index)].tolist()
    assert part.answers() == [SOME.answers()[i] for i in chosen] and part.prompts() == [
        SOME.prompts()[i] for i in chosen
    ]
    assert torch.equal(part.y, SOME.y[SOME.label_index(torch.tensor(chosen))])
    assert part.ids.shape[1] == int(part.stop.max())


def test_joined_and_answered():
    both = SOME[:1].joined(SOME[1:])
    assert both.digest() == SOME.digest() != SOME[[1, 0, 2]].digest()
    assert torch.equal(SOME.label_index(torch.tensor([1])), torch.tensor([2, 3, 4, 5]))
    other = SOME.answered([[1, 0]] * 3)
    assert other.prompts() == SOME.prompts() and other.answers() == [[1, 0]] * 3
    assert SOME.relabelled(torch.zeros_like(SOME.y)).answers() == SOME.answers()  # what is read stays
    torch.testing.assert_close(SOME.mean(torch.arange(7.0)), torch.tensor([0.5, 3.5, 6.0]))


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=30)
@given(st.lists(st.tuples(st.integers(1, 30), st.integers(1, 30)), min_size=1, max_size=40), st.integers(1, 9),
       st.integers(0, 99))  # fmt: skip
def test_every_sample_is_in_one_batch(lengths, size, seed):
    data = Tokens.of([[i] * p for i, (p, _) in enumerate(lengths)], [[7] * a for _, a in lengths])
    batches = list(data.batches(size, seed, "x"))
    seen = [int(row[0]) for batch in batches for row in batch.ids]
    assert sorted(seen) == list(range(len(lengths))) and all(0 < len(b) <= size for b in batches)
    assert all(b.ids.shape[1] == int(b.stop.max()) for b in batches)
    again = [b.digest() for b in data.batches(size, seed, "x")]
    assert again == [b.digest() for b in batches]


@pytest.fixture(scope="module")
def fictional():
    raw = load("fictional")
    return trained(raw, 1024).tokens(raw.train, 128)


@settings(deadline=None, max_examples=25)
@given(n=st.integers(200, 4000), size=st.integers(4, 64), seed=st.integers(0, 999))
def test_batches_waste_little_on_padding(fictional, n, size, seed):
    chosen = fictional[torch.randperm(len(fictional), generator=torch.Generator().manual_seed(seed))[:n]]
    assert padding(list(chosen.batches(size, seed))) < 0.15


def test_batches_differ_from_pass_to_pass(fictional):
    together = [{frozenset(map(tuple, b.ids.tolist())) for b in fictional.batches(16, 0, epoch)} for epoch in (0, 1)]
    assert not together[0] & together[1]


# --- the tokenizer


def test_any_text_is_said_again(tokenizer):
    said = ["Mara Lund, née Tøve.", "日本 2024 🙂", "  two  spaces"]
    assert [tokenizer.decode(ids) for ids in tokenizer.answers(said)] == [s.strip() for s in said]


def test_the_tokenizer_is_the_same_at_every_call(tokenizer):
    again = trained(make(people=12, test_people=2), 400)
    assert again.backend.to_str() == tokenizer.backend.to_str() and tokenizer.size == 400


def test_an_answer_that_does_not_fit_is_named(tokenizer):
    texts = Texts(["Who?", "Where?"], ["Mara.", "In the town of " + "Eld" * 60])
    with pytest.raises(BadValue, match=r"pair 1 takes .* raise `context` to \d+ or more"):
        tokenizer.tokens(texts, 64)
    with pytest.raises(BadValue, match="sample 0 has no answer"):
        Tokens.of([[1]], [[]])
    with pytest.raises(BadValue, match="vocabulary must be at least 257"):
        trained(make(people=12, test_people=2), 100)
