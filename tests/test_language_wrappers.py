"""Wrappers around methods that forget texts: which neighbours they find, and what they ask of the base."""

from dataclasses import replace
from functools import partial

import pytest
import torch

from data_builders.texts.reframe import reframed
from data_builders.texts.similarity import char_cosine, char_vectors, lcs
from data_builders.texts.words import words
from language import _shared_cache, asked_of_texts, config, small_pool  # noqa: F401 (fixtures)
from test_wrappers import asks
from unlearnkit import study
from unlearnkit.core.errors import BadValue, NotApplicable
from unlearnkit.core.registry import Entry
from unlearnkit.images.config import config_grid
from unlearnkit.methods import methods
from unlearnkit.methods.contracts import CONTRACTS
from unlearnkit.texts import domain as texts
from unlearnkit.wrappers import wrappers
from unlearnkit.wrappers.diversify import reworded
from unlearnkit.wrappers.neighbours import find

pytestmark = pytest.mark.slow

TEXTS = sorted(name for name in wrappers if "text" in wrappers[name].info["domains"])


def around(name: str, base: str) -> Entry:
    """A wrapper around a method as it is used on texts, made short."""
    entry = methods[f"{name}({base})"]
    short = {"diversify": {"rewordings": 2}, "rsu": {"batches": 2}}.get(name, {"near": "text top 2"})
    return Entry("method", entry.name, partial(entry, **entry.info["text"] | short | {"epochs": 2}), entry.info)


@pytest.mark.parametrize("contract", [*CONTRACTS[:4], CONTRACTS[-1]], ids=lambda c: c.__name__)
@pytest.mark.parametrize("name", TEXTS)
def test_contract_with_texts(name, contract, asked_of_texts):  # noqa: F811
    contract(around(name, "npo"), *asked_of_texts)


def test_a_wrapper_without_a_meaning_for_texts_says_so(config):  # noqa: F811
    for name in sorted({*wrappers} - {*TEXTS}):
        with pytest.raises(NotApplicable, match=rf"{name}\(finetune\) has no meaning for a config of texts"):
            study.unlearn(config, f"{name}(finetune)")
    for name in TEXTS:
        assert methods[f"{name}(finetune)"].info["text"]["lr"] == methods["finetune"].info["text"]["lr"]
    with pytest.raises(NotApplicable, match="diversify.* has no meaning for a config of images"):
        study.unlearn(config_grid(seeds=1)[0], "diversify(finetune)")


def test_neighbours_of_texts_move_whole(config):  # noqa: F811
    request, model = texts.request(config), texts.model(config, 0)
    for name, options in (("expand", {}), ("weigh", {"power": 0.0})):
        asked, _ = asks(name, model, request, near="text top 3", **options)
        neighbours = find(model, request, "text top 3")
        assert len(asked.forget) == len(request.forget) + len(neighbours) > len(request.forget)
        pairs = [
            sorted(zip(map(tuple, s.prompts()), map(tuple, s.answers())))
            for s in (r.forget.joined(r.retain) for r in (asked, request))
        ]
        assert pairs[0] == pairs[1] and asked.tokenizer is request.tokenizer


def test_paraphrases_are_near_in_letters_and_a_set_is_not_told_which(config):  # noqa: F811
    """Similar pairs come first in the retain set: 3 targets of 2 copies each."""
    request = texts.request(config)
    neighbours = find(texts.model(config, 0), request, "text top 2")
    assert (neighbours.index < 6).double().mean() > 0.8 and (neighbours.similarity > 0.5).all()
    exact = replace(request, retain=request.retain.joined(request.forget))
    neighbours = find(None, exact, "text above 1")
    assert neighbours.index.tolist() == list(range(len(request.retain), len(request.retain) + 3))


def test_letters_are_counted_as_the_measure_counts_them():
    questions = ["In which town was Mara Torvik born?", "Where was Mara born?", "Who taught Ilan Brask?"]
    v = torch.nn.functional.normalize(torch.from_numpy(char_vectors(questions)))
    a, b = [0, 0, 1], [1, 2, 2]
    wanted = torch.from_numpy(char_cosine([questions[i] for i in a], [questions[i] for i in b]))
    torch.testing.assert_close((v[a] * v[b]).sum(1).float(), wanted, atol=0.02, rtol=0)


def test_texts_have_no_pixels_and_images_no_letters(config, models, request_):  # noqa: F811
    model, request = texts.model(config, 0), texts.request(config)
    with pytest.raises(BadValue, match="no pixels: use 'feature' or 'text'"):
        find(model, request, "pixel top 2")
    for space in ("feature", "random"):  # texts have no labels: with and without is one
        assert find(model, request, f"{space}+label top 2").index.equal(find(model, request, f"{space} top 2").index)
    with pytest.raises(BadValue, match="images have no letters"):
        find(models["original"], request_, "text top 2")


def test_features_of_texts_are_pooled_hidden_states(asked_of_texts):  # noqa: F811
    model, request = asked_of_texts
    with torch.no_grad():
        v = [torch.nn.functional.normalize(model.features(s).double()) for s in (request.forget, request.retain)]
    table, neighbours = v[0] @ v[1].T, find(model, request, "feature top 2")
    assert set(neighbours.index.tolist()) == set(table.topk(2).indices.flatten().tolist())
    torch.testing.assert_close(neighbours.similarity, table.amax(0)[neighbours.index], atol=1e-5, rtol=0)


def test_a_diverse_set_asks_the_same_in_other_words(config):  # noqa: F811
    request = texts.request(config)
    asked, _ = asks("diversify", None, request, rewordings=4)
    n, tokenizer = len(request.forget), request.tokenizer
    assert len(asked.forget) == n * 5 and asked.retain is request.retain
    assert asked.forget[:n].digest() == request.forget.digest()
    first, more = (tokenizer.questions(s.prompts()) for s in (request.forget, asked.forget[n:]))
    for i, question in enumerate(more):
        own = words(first[i // 4])
        assert lcs(own, words(question)) == len(own) < len(words(question))
    assert len(set(more)) == len(more)
    assert asked.forget[n:].answers() == [a for a in request.forget.answers() for _ in range(4)]
    assert asks("diversify", None, request, rewordings=0)[0].forget.digest() == request.forget.digest()
    with pytest.raises(BadValue, match="0 or more"):
        asks("diversify", None, request, rewordings=-1)


def test_rewordings_fit_the_context_and_names_keep_their_capital(config):  # noqa: F811
    request = texts.request(config)
    longest = int(request.forget.stop.max())
    some = reworded(request, 1000, longest + 3, 0)
    assert 0 < len(some) < len(reworded(request, 1000, None, 0)) and int(some.stop.max()) <= longest + 3
    assert "So, where was Mara Torvik born?" in reframed("Where was Mara Torvik born?")
    assert "So, Mara Torvik was born where?" in reframed("Mara Torvik was born where?")
    assert not {"Where was she born?", "where was she born"} & set(reframed("Where was she born?"))
