"""Language models: drawn anew whole, trained on answers, read from folders."""

import copy
from functools import partial

import pytest
import torch
from torch import nn

from data_builders.texts.fictional import make
from language import RECIPE, nano
from unlearnkit.core.errors import BadValue, NonFiniteLoss, NotApplicable, UnknownName
from unlearnkit.images.heads import head
from unlearnkit.images.models import fresh
from unlearnkit.methods.contracts import same
from unlearnkit.texts.chat import of_pretrained
from unlearnkit.texts.models import LanguageModel, build, language_models
from unlearnkit.texts.outputs import score_tokens
from unlearnkit.texts.pretrained import fingerprint, read
from unlearnkit.texts.tokenizer import trained
from unlearnkit.texts.train import TextRecipe, fit_lm, fit_many

pytestmark = pytest.mark.slow

SIZE, CONTEXT = 400, 128


@pytest.fixture(scope="module")
def data():
    raw = make(people=12, test_people=2)
    return trained(raw, SIZE).tokens(raw.train[range(40)], CONTEXT)


@pytest.fixture(scope="module")
def recipe():
    return TextRecipe(**RECIPE)


@pytest.fixture
def model() -> LanguageModel:
    return build("nano", SIZE, CONTEXT, 0)


def test_every_parameter_is_drawn_anew(model):
    again, other = build("nano", SIZE, CONTEXT, 0), fresh(model, 1)
    assert same(model, again) and same(other, build("nano", SIZE, CONTEXT, 1))
    for (name, p), q in zip(model.named_parameters(), other.parameters(), strict=True):
        assert p.ndim == 1 or not torch.equal(p, q), f"{name} was inherited"  # norms start at 1
    with torch.no_grad():
        for p in model.parameters():
            p.fill_(3.0)
    assert all(not (p == 3.0).any() for p in fresh(model, 1).parameters())


def test_tied_weights_are_drawn_and_stored_once():
    def tied():
        from transformers import LlamaForCausalLM

        net = nano(SIZE, CONTEXT)
        net.config.tie_word_embeddings = True
        return LlamaForCausalLM(net.config)

    model = LanguageModel(tied)
    assert model.tied and len(model.state_dict()) == len(dict(model.named_parameters()))
    other = fresh(model, 1)
    assert other.tied and not torch.equal(other.head.weight, model.head.weight)
    other.load_state_dict(model.state_dict())
    assert same(other, model) and torch.equal(other.head.weight, model.head.weight)
    with pytest.raises(NotApplicable, match="shares its weights"):
        model.blocks()


def test_blocks_hold_every_parameter_once(model):
    blocks = model.blocks()
    ids = [id(p) for block in blocks for layer in block for p in layer.parameters()]
    assert len(blocks) == 1 + 2 + 1 and sorted(ids) == sorted(id(p) for p in model.parameters())
    assert blocks[-1][-1] is model.head is head(model)


def test_a_model_of_other_weights_is_refused(model):
    with pytest.raises(RuntimeError, match="do not belong to this model"):
        model.load_state_dict({"net.x": torch.zeros(1)})


def test_training_memorises_and_is_seeded(model, data, recipe):
    before = copy.deepcopy(model)
    a, b = (fit_lm(model, data, recipe, seed=1) for _ in range(2))
    assert same(a, b) and same(model, before) and not a.training
    assert not same(a, fit_lm(model, data, recipe, seed=2))
    assert score_tokens(a, data)[1].float().mean() > 0.95 > score_tokens(model, data)[1].float().mean()


def test_side_by_side_is_one_by_one(model, data, recipe):
    short = TextRecipe(**(RECIPE | {"epochs": 1}))
    nets, parts, found = [build("nano", SIZE, CONTEXT, s) for s in range(3)], [data, data[:20], data[20:]], []
    many = fit_many(nets, parts, short, seeds=[4, 5, 6], done=lambda i, m: found.append(i))
    assert sorted(found) == [0, 1, 2]
    for i, net in enumerate(many):
        alone = fit_lm(nets[i], parts[i], short, seed=4 + i)
        for p, q in zip(net.parameters(), alone.parameters(), strict=True):
            torch.testing.assert_close(p, q, atol=1e-4, rtol=1e-3)  # threads differ


def test_the_rate_rises_and_ends_at_0():
    recipe = TextRecipe(warmup=0.2)
    shares = [recipe.share(step, 50) for step in range(51)]
    assert shares[9] == shares[10] == 1 == max(shares) and shares[0] == 0.1 and shares[50] == pytest.approx(0)
    assert shares[10:] == sorted(shares[10:], reverse=True)


def test_bad_recipes_and_losses_are_named(model, data):
    with pytest.raises(BadValue, match="epochs must be above 0"):
        TextRecipe(epochs=0)
    with pytest.raises(BadValue, match="nothing to train on"):
        fit_lm(model, data[:0], TextRecipe(), seed=0)
    with torch.no_grad():
        model.head.weight.fill_(float("nan"))
    with pytest.raises(NonFiniteLoss, match="epoch 1"):
        fit_lm(model, data, TextRecipe(**RECIPE), seed=0)


# --- pretrained ones


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    from transformers import PreTrainedTokenizerFast

    place = tmp_path_factory.mktemp("pretrained") / "tiny"
    torch.manual_seed(0)
    nano(SIZE, CONTEXT).save_pretrained(place)
    backend = trained(make(people=12, test_people=2), SIZE).backend
    PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<end>").save_pretrained(place)
    return place


def test_a_pretrained_model_starts_from_its_weights(folder):
    a, b = (build(f"hf:{folder}", SIZE, CONTEXT, s) for s in (0, 1))
    assert same(a, b) and same(fresh(a, 3), a)
    assert set(fingerprint(f"hf:{folder}")) >= {"model.safetensors", "config.json"} and not fingerprint("nano")


def test_adapters_alone_are_trained_stored_and_drawn(folder, data):
    name = f"hf:{folder}"
    a, b = (build(name, SIZE, CONTEXT, s, lora=2) for s in (0, 1))
    assert not same(a, b) and all("lora_" in n for n in a.state_dict())
    few = TextRecipe(**(RECIPE | {"epochs": 1}))
    after = fit_lm(a, data, few, seed=0)
    moved = {
        n for (n, p), q in zip(a.net.named_parameters(), after.net.parameters(), strict=True) if not torch.equal(p, q)
    }
    assert moved and all("lora_" in n for n in moved)
    b.load_state_dict(after.state_dict())
    torch.testing.assert_close(b.eval()(data[:3]), after(data[:3]))
    after.requires_grad_(True)
    assert sum(p.requires_grad for p in after.parameters()) == len(after.state_dict())


def test_its_tokenizer_comes_along(folder):
    from transformers import AutoTokenizer

    ours = of_pretrained(read(AutoTokenizer, str(folder)))
    assert (ours.size, ours.head) == (SIZE, ()) and ours.decode(ours.answers(["Mara."])[0]) == "Mara."


def test_what_does_not_fit_is_named(folder, monkeypatch):
    with pytest.raises(BadValue, match="the tokenizer has 500 tokens and hf:.* embeds 400"):
        build(f"hf:{folder}", 500, CONTEXT, 0)
    with pytest.raises(BadValue, match="has a context of 128 tokens, 200 were asked for"):
        build(f"hf:{folder}", SIZE, 200, 0)
    with pytest.raises(UnknownName, match="Did you mean 'tiny_llama'"):
        build("tiny_lama", SIZE, CONTEXT, 0)
    assert "hf:NAME_OR_PATH" in language_models.families


def test_a_hub_name_without_a_network_says_what_to_do(monkeypatch):
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(BadValue, match="without a network, download it elsewhere"):
        build("hf:nobody/there", SIZE, CONTEXT, 0)
    with pytest.raises(BadValue, match="followed by a name"):
        build("hf:", SIZE, CONTEXT, 0)


def test_a_pickle_is_never_read(tmp_path, folder):
    nano(SIZE, CONTEXT).config.save_pretrained(tmp_path)
    torch.save({}, tmp_path / "pytorch_model.bin")
    with pytest.raises(BadValue, match="with .safetensors files"):
        build(f"hf:{tmp_path}", SIZE, CONTEXT, 0)


def test_make_is_kept_so_that_copies_can_be_drawn_anew(model):
    assert isinstance(model.make, partial) and isinstance(copy.deepcopy(model).net, nn.Module)
