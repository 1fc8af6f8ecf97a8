"""Texts through the study: who is trained on what, what is cached, what outputs says, which methods run."""

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from data_builders.task import TRAINED_ON
from language import CELL, RECIPE, _shared_cache, config, small_pool  # noqa: F401 (fixtures)
from unlearnkit import study
from unlearnkit.core.errors import BadValue, NotApplicable, UnknownName
from unlearnkit.images.config import Config, config_grid
from unlearnkit.images.per_sample_gradients import per_sample, squared
from unlearnkit.methods import applies, methods
from unlearnkit.metrics import metrics
from unlearnkit.study import reference_models as references
from unlearnkit.study.domains import domain
from unlearnkit.texts import domain as texts
from unlearnkit.texts.config import TextConfig, text_config_grid
from unlearnkit.texts.models import build
from unlearnkit.texts.outputs import READ_ROLES, score_tokens
from unlearnkit.texts.token_statistics import summed
from unlearnkit.texts.tokens import run_index

pytestmark = pytest.mark.slow

TEXT = sorted(name for name in methods if "text" in methods[name].info["domains"])


@pytest.fixture
def refs(config):  # noqa: F811
    return study.references([config])[0]


# --- configs


def test_a_grid_of_texts():
    grid = text_config_grid(seeds=2, copies=[0, 5], strength=[0.1, 0.3], extra_conditions=[{"side": "question"}])
    assert len(grid) == 2 * (1 + 2 + 2) and {c.strength for c in grid if not c.copies} == {0.0}
    assert grid[0].columns().keys() == Config().columns().keys()
    assert text_config_grid(recipe={"epochs": 3})[0].recipe.epochs == 3
    assert TextConfig(model="hf:x", lora=4).task_params() == TextConfig().task_params()
    assert [domain(c).NAME for c in (Config(), TextConfig())] == ["image", "text"]


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"copys": 3}, UnknownName, "Did you mean 'copies'"),
        ({"perturbation": "block_mask"}, UnknownName, "unknown parameter 'perturbation'"),
        ({"side": "back"}, BadValue, "'side' must be"),
        ({"recipe": {"momentum": 3}}, UnknownName, "recipe entry 'momentum'"),
        ({"recipe": Config().recipe}, BadValue, "'recipe' must be TextRecipe"),
    ],
)
def test_bad_values_are_named(change, error, message):
    with pytest.raises(error, match=message):
        text_config_grid(**change)


# --- references


def test_each_reference_is_trained_on_exactly_its_rows(config, monkeypatch, tmp_path):  # noqa: F811
    monkeypatch.setenv("UNLEARNKIT_CACHE", str(tmp_path))
    config, given = replace(config, recipe=replace(config.recipe, epochs=1)), {}
    real = domain(config).fit_many

    def spy(nets, data, recipe, **how):
        given.update({d.digest(): d for d in data})
        return real(nets, data, recipe, **how)

    monkeypatch.setattr(texts, "fit_many", spy)
    study.references([config])
    task, tokenizer = study.load_task(config), texts.tokenizer(config)
    wanted = {tokenizer.tokens(task.of(*roles), config.context).digest(): roles for roles in TRAINED_ON.values()}
    assert set(given) == set(wanted)
    target = [tuple(row) for row in tokenizer.tokens(task.of("target"), config.context).prompts()]
    for digest, roles in wanted.items():
        held = {tuple(row) for row in given[digest].prompts()}
        assert all((row in held) == ("target" in roles) for row in target)


def test_nothing_is_trained_twice_and_a_stored_model_is_the_model(config, refs, monkeypatch):  # noqa: F811
    monkeypatch.setattr(references, "_train", None)
    again = study.references([config])[0]
    assert {n: m.key for n, m in again.items()} == {n: m.key for n, m in refs.items()}
    batch = texts.tokens(config, "target")
    with torch.no_grad():
        assert torch.equal(again["clean"].load()(batch), refs["clean"].load()(batch))
    bare = replace(config, copies=0)
    assert study.task_artefact(bare).info["retrain"] == study.task_artefact(bare).info["clean"]


def test_what_the_references_know(config, refs):  # noqa: F811
    table = study.reference_scores([config]).set_index(["metric", "method", "group"]).value
    assert table["accuracy", "original", "target"] > 0.95 and table["loss", "original", "target"] < 0.3
    assert table["loss", "clean", "target"] > table["loss", "original", "target"] + 1
    assert table["phi", "original", "target"] > table["phi", "clean", "target"]
    assert {"target", "similar", "filler", "decoy", "test"} <= set(study.reference_scores([config]).group)


# --- outputs


def test_outputs_is_what_single_forward_passes_say(config, refs):  # noqa: F811
    model, seen = refs["original"].load(), study.outputs(refs["original"], features=True)[1]
    task, tokenizer = study.load_task(config), texts.tokenizer(config)
    for role in ("target", "similar", "filler", "decoy", "test", "validation"):
        row = task.index(role)[-1].item()
        one = tokenizer.tokens(task.texts[[row]], config.context)
        with torch.no_grad():
            logits = model(one)
            log_p = logits.log_softmax(1).gather(1, one.y[:, None]).squeeze(1)
        torch.testing.assert_close(seen.log_p[run_index(seen.count, torch.tensor([row]))], log_p, atol=1e-4, rtol=1e-3)
        assert seen.losses[row].item() == pytest.approx(-log_p.mean().item(), rel=1e-3, abs=1e-5)
        assert seen.log_likelihood[row].item() == pytest.approx(log_p.sum().item(), rel=1e-3, abs=1e-4)
        assert seen.correct[row].item() == pytest.approx((logits.argmax(1) == one.y).float().mean().item())
        torch.testing.assert_close(seen.features[row], model.features(one).detach()[0], atol=1e-3, rtol=1e-3)
        if role not in READ_ROLES:
            assert seen.restated_losses[row].isnan() and row not in seen.wrong_of
            continue
        others = [task.texts.restated[row], *task.texts.wrong[row]]
        wanted = []
        for other in others:
            said = tokenizer.paired([task.question[row]], [other], config.context)
            with torch.no_grad():
                wanted.append(F.cross_entropy(model(said), said.y).item())
        found = [seen.restated_losses[row].item(), *seen.wrong_losses[seen.wrong_of == row].tolist()]
        assert len(others) > 1 and found == pytest.approx(wanted, rel=1e-3)


def test_answers_in_other_words_are_read_of_the_roles_that_a_metric_judges_by_them(config, refs):  # noqa: F811
    """Of all TOLD and of no other; a group of others alone has no truth ratio."""
    task, seen = study.load_task(config), study.outputs(refs["original"])[1]
    told = task.index(*READ_ROLES)
    assert (seen.restated_count > 0).nonzero().squeeze(1).equal(told)
    counted = [len(wrong) if i in set(told.tolist()) else 0 for i, wrong in enumerate(task.texts.wrong)]
    assert seen.wrong_of.bincount(minlength=len(task)).tolist() == counted and len(seen.wrong_losses) == sum(counted)
    ratios = metrics["truth-ratio"](seen)
    assert {"target", "filler", "decoy", "test", "retain"} == set(ratios) and ratios["retain"] == ratios["filler"]


def test_phi_is_exact_where_the_model_is_certain(refs):
    seen = study.outputs(refs["original"])[1]
    p = seen.probability
    torch.testing.assert_close(seen.phi, p.log() - (1 - p).log())
    sure = replace(seen, log_p=torch.full_like(seen.log_p, -1e-12))
    assert sure.phi.tolist() == pytest.approx([12 * math.log(10)] * len(sure.phi), rel=1e-5)


def test_scores_do_not_depend_on_companions_or_threads(config):  # noqa: F811
    tokens, model = texts.tokens(config), build("nano", 400, 128, 0)
    a, b = score_tokens(model, tokens), score_tokens(model, tokens, batch_tokens=1)
    for x, y in zip(a, b):
        torch.testing.assert_close(x.float(), y.float(), atol=1e-4, rtol=1e-3)
    shuffled = torch.randperm(len(tokens), generator=torch.Generator().manual_seed(0))
    again = score_tokens(model, tokens[shuffled])
    torch.testing.assert_close(summed(again[0], tokens[shuffled].count), summed(a[0], tokens.count)[shuffled])


# --- methods


def test_which_methods_apply():
    assert {"finetune", "scrub", "ssd", "retrain", "salun"} <= set(TEXT)
    assert applies("finetune", "random", "text") and not applies("unsir", "class", "text")
    assert applies("expand(npo)", "random", "text") and not applies("expand(npo)", "random")
    assert not applies("fisher", "random", "text") and not applies("align(finetune)", "random", "text")


def test_a_method_of_images_is_refused(config):  # noqa: F811
    with pytest.raises(NotApplicable, match="fisher has no meaning for a config of texts"):
        study.unlearn(config, "fisher")


def test_text_defaults_are_the_methods_own(config):  # noqa: F811
    params = study.unlearn(config, "finetune").artefact.manifest["params"]["options"]
    assert params["lr"] == methods["finetune"].info["text"]["lr"] != methods["finetune"].resolve({})["lr"]
    assert study.unlearn(config, "finetune", {"lr": 0.5}).artefact.manifest["params"]["options"]["lr"] == 0.5


def test_the_request_counts_answers(config):  # noqa: F811
    request, model = texts.request(config), texts.model(config, 0).eval()
    with torch.no_grad():
        total = request.log_likelihood(model, request.forget)
        torch.testing.assert_close(-total / request.forget.count, request.losses(model, request.forget))
        rows = request.log_probs(model, request.forget)
    assert rows.shape == (len(request.forget.y), request.n_classes) and request.whole_classes == []
    assert rows.gather(1, request.forget.y[:, None]).sum().item() == pytest.approx(total.sum().item(), rel=1e-4)


def test_gradients_of_single_answers(config):  # noqa: F811
    request, model = texts.request(config), texts.model(config, 0).eval()
    (found,) = per_sample(model, request.forget, chunk=8)
    name, p = next((n, p) for n, p in model.named_parameters() if p.ndim == 2)
    (mean,) = torch.autograd.grad(request.losses(model, request.forget).mean(), [p])
    torch.testing.assert_close(found[name].mean(0), mean, atol=1e-5, rtol=1e-3)
    torch.testing.assert_close(squared(model, request.forget)[name], found[name].square().mean(0))
    with pytest.raises(NotApplicable):
        squared(model, request.forget, losses=lambda logits, y: [])


def test_images_and_texts_in_one_table(config):  # noqa: F811
    (image,) = config_grid(seeds=1, n_targets=4, train_size=60, recipe={"epochs": 1})
    table = study.reference_scores([image, config])
    assert set(table.architecture) == {"small_cnn", "nano"} and table.notna().all().all()
    assert CELL["train_size"] in set(table.train_size) and RECIPE
