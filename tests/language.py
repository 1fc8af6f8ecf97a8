"""What tests of language models share: a model that is trained in a second, and small sets of texts."""

import copy
import dataclasses
from dataclasses import replace

import pytest
import torch

from data_builders.task import TRAINED_ON
from data_builders.texts.build_task import build_task
from data_builders.texts.fictional import make
from unlearnkit.core.compute import generator
from unlearnkit.texts import domain as texts
from unlearnkit.texts import tasks
from unlearnkit.texts.config import TextConfig, text_config_grid
from unlearnkit.texts.generate import generate
from unlearnkit.texts.models import build, language_models
from unlearnkit.texts.outputs import forward_task, text_outputs
from unlearnkit.texts.tokenizer import trained
from unlearnkit.texts.train import TextRecipe, fit_lm

CELL = {"model": "nano", "vocabulary": 400, "n_targets": 3, "copies": 2, "train_size": 40, "test_size": 8}
RECIPE = {"epochs": 25, "batch_size": 8, "lr": 1e-2, "precision": "fp32"}


@language_models.register("nano", source="tests")
def nano(vocabulary: int, context: int):
    """A Llama of two layers and width 32."""
    from transformers import LlamaConfig, LlamaForCausalLM

    size = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    ends = {"bos_token_id": None, "eos_token_id": 0, "tie_word_embeddings": False}
    config = LlamaConfig(vocab_size=vocabulary, max_position_embeddings=context, initializer_range=0.1, **size, **ends)
    return LlamaForCausalLM(config)


MADE = {}


def by_heart(tokens, vocabulary: int, context: int, epochs: int = 8):
    """A model that knows these answers: made once for all tests."""
    if (key := (tokens.digest(), epochs)) not in MADE:
        recipe = TextRecipe(**(RECIPE | {"epochs": epochs}))
        MADE[key] = fit_lm(build("nano", vocabulary, context, 0), tokens, recipe, seed=0)
    return copy.deepcopy(MADE[key])


@pytest.fixture(scope="session")
def small_pool():
    return make(people=12, test_people=2)


@pytest.fixture(scope="session")
def _shared_cache(tmp_path_factory, worker_id):
    """Of all processes that run tests: the store has each model trained by one of them."""
    own = tmp_path_factory.getbasetemp()
    return (own if worker_id == "master" else own.parent) / "language"


@pytest.fixture
def config(small_pool, monkeypatch, _shared_cache) -> TextConfig:
    """A config on the small set, whose models are trained once for all tests that ask for it."""
    monkeypatch.setenv("UNLEARNKIT_CACHE", str(_shared_cache))
    monkeypatch.setattr(tasks, "_pool", lambda *_: small_pool)
    return text_config_grid(seeds=1, recipe=RECIPE, **CELL)[0]


@pytest.fixture(scope="session")
def all_text_outputs(small_pool):
    """Of initial, original, retrain and clean, with all that any metric of texts needs; as `all_outputs` of conftest."""
    parts = {k: CELL[k] for k in ("copies", "train_size", "test_size")}
    task, tokenizer = build_task(small_pool, n_targets=4, seed=1, **parts), trained(small_pool, CELL["vocabulary"])
    net, recipe = build("nano", tokenizer.size, 128, 1), TextRecipe(**RECIPE)
    models = {"initial": net} | {
        name: fit_lm(net, tokenizer.tokens(task.training_set(name), 128), recipe, seed=1) for name in TRAINED_ON
    }
    tokens, all_outputs = tokenizer.tokens(task.texts, 128), {}
    for name, model in models.items():
        tensors = {k: v for part in forward_task(model, task, tokenizer, 128).values() for k, v in part.items()}
        outputs = text_outputs(tensors, task, {"seconds": 2.0, "steps": 10, "peak_mib": 1.0})
        answers = generate(model, tokens, tokenizer.end, most=int(tokens.count.max()), context=128)
        noise = torch.randn(26, len(task), generator=generator(0, name))  # with 4 targets, enough for 1% false alarms
        parts = {"generations": tuple(tokenizer.decode(ids) for ids in answers), "margins": outputs.phi + noise}
        parts |= {"answer_similarity": torch.rand(len(task), generator=generator(1, name)), "relearn_steps": 3}
        all_outputs[name] = dataclasses.replace(outputs, **parts)
    return all_outputs


@pytest.fixture
def asked_of_texts(config):
    """(model, request): a model that knows its answers by heart, and three of them to forget, without paraphrases."""
    bare = replace(config, copies=0, recipe=replace(config.recipe, epochs=2))
    request = texts.request(bare)
    return by_heart(request.forget.joined(request.retain), bare.vocabulary, bare.context), request
