"""Metrics of language against closed forms; the contracts that all metrics hold to are in test_metrics.py."""

import math
from dataclasses import replace

import pytest
import torch

from data_builders.task import ROLES
from language import _shared_cache, config, small_pool  # noqa: F401 (fixtures)
from unlearnkit import study
from unlearnkit.analysis import tables
from unlearnkit.core.errors import BadValue, NotApplicable
from unlearnkit.metrics import judging, left_out, metrics, single_pass_metrics
from unlearnkit.metrics.answers import states
from unlearnkit.metrics.likelihoods import auc
from unlearnkit.study import generation as said_module
from unlearnkit.texts import domain as texts
from unlearnkit.texts.generate import generate
from unlearnkit.texts.outputs import TextOutputs

pytestmark = pytest.mark.slow


def answers(*p: list[float], roles=None, hit=None, restated=None, wrong=None, **more) -> TextOutputs:
    """Outputs of answers whose tokens have these probabilities; restated: {sample: p}, wrong: {sample: [p, ...]}."""
    n, restated, wrong = len(p), restated or {}, wrong or {}
    flat = torch.tensor([v for one in p for v in one])
    of = [(i, v) for i, group in wrong.items() for v in group]
    return TextOutputs(
        role=torch.tensor([ROLES.index(r) for r in roles or ["target"] * n], dtype=torch.int8),
        ids=torch.arange(n),
        log_p=flat.log(),
        hit=flat > 0.5 if hit is None else torch.tensor(hit),
        count=torch.tensor([len(one) for one in p]),
        restated_log_p=torch.tensor([v for _, v in sorted(restated.items())]).log(),
        restated_count=torch.tensor([int(i in restated) for i in range(n)]),
        wrong_log_p=torch.tensor([v for _, v in of]).log(),
        wrong_count=torch.ones(len(of), dtype=torch.int64),
        wrong_of=torch.tensor([i for i, _ in of], dtype=torch.int64),
        **more,
    )


def test_likelihoods_are_of_tokens_and_means_of_answers():
    e = answers([0.25], [0.5, 0.5, 0.5, 0.5])
    nll = (math.log(4) + math.log(2)) / 2
    assert metrics["loss"](e)["target"] == pytest.approx(nll)
    assert metrics["perplexity"](e)["target"] == pytest.approx(math.exp(nll))
    assert metrics["probability"](e)["target"] == pytest.approx((0.25 + 0.5) / 2)
    assert metrics["phi"](e)["target"] == pytest.approx((math.log(1 / 3) + 0.0) / 2, abs=1e-6)


def test_exact_memorisation_counts_tokens_of_each_answer():
    e = answers([0.9, 0.1], [0.9], hit=[True, False, True])
    assert metrics["exact-memorisation"](e) == {"target": 0.75} == metrics["accuracy"](e)


@pytest.mark.parametrize(
    ("hit", "strength"),
    [([1, 1, 1, 1], 1.0), ([0, 1, 1, 1], 0.75), ([1, 0, 1, 1], 0.5), ([0, 0, 0, 1], 0.25), ([1, 1, 1, 0], 0.0)],
)
def test_extraction_needs_all_that_follows_to_be_right(hit, strength):
    e = answers([0.5] * 2, [0.5] * 4, [0.5], hit=[False, True, *map(bool, hit), True])
    assert e.extraction.tolist() == [0.5, strength, 1.0]


def test_the_truth_ratio_is_of_means_per_token():
    e = answers([0.9], [0.9], [0.9], restated={0: 0.8, 2: 0.5}, wrong={0: [0.1, 0.3], 1: [0.5], 2: [0.5]})
    assert e.log_truth_ratio[0].exp().item() == pytest.approx(0.2 / 0.8)
    assert e.log_truth_ratio[1].isnan() and e.log_truth_ratio[2].item() == pytest.approx(0, abs=1e-6)
    assert metrics["truth-ratio"](e)["target"] == pytest.approx(math.sqrt(0.25))
    long = replace(e, wrong_log_p=e.wrong_log_p.repeat_interleave(3), wrong_count=3 * e.wrong_count)
    torch.testing.assert_close(long.log_truth_ratio, e.log_truth_ratio, equal_nan=True)
    tiny = replace(e, wrong_log_p=e.wrong_log_p - 900)  # beyond what exp can hold
    assert tiny.log_truth_ratio[0].item() == pytest.approx(math.log(0.25) - 900)
    assert metrics["truth-ratio"](answers([0.5])) == {}


def test_forget_quality_of_a_model_against_itself_is_one_and_falls_with_distance():
    def model(right: float) -> TextOutputs:
        told = {i: right * (1 + 0.01 * i) for i in range(12)}
        return answers(*[[0.5]] * 12, restated=told, wrong={i: [0.1] for i in range(12)})

    quality = {p: metrics["forget-quality"](model(p), model(0.2))["target"] for p in (0.2, 0.21, 0.8)}
    assert quality[0.2] == 1.0 and quality[0.8] == pytest.approx(2 / math.comb(24, 12))
    assert quality[0.8] < quality[0.21] < 1


def test_the_auc_counts_a_tie_half():
    assert auc(torch.tensor([1.0, 2.0]), torch.tensor([0.0, 1.0])) == 0.875


def test_what_leaks_has_a_sign():
    roles = ["target", "target", "decoy", "decoy"]

    def model(*p: float) -> TextOutputs:
        return answers(*[[v] for v in p], roles=roles)

    known, even, shunned = model(0.8, 0.9, 0.3, 0.4), model(0.3, 0.4, 0.3, 0.4), model(0.1, 0.2, 0.3, 0.4)
    assert [metrics["min-k"](e)["target"] for e in (known, even, shunned)] == [1.0, 0.5, 0.0]
    assert [metrics["PrivLeak"](e, even)["target"] for e in (known, even, shunned)] == [100, 0, -100]
    assert metrics["min-k"](answers([0.5])) == {}
    # 100 (AUC - AUC_ref) / (1 - AUC_ref): of an AUC of 0.75 against one of 0.25 two thirds, against one of 0.5 a half
    more, less = model(0.35, 0.9, 0.3, 0.4), model(0.35, 0.2, 0.3, 0.4)
    assert [metrics["min-k"](e)["target"] for e in (more, less)] == [0.75, 0.25]
    assert metrics["PrivLeak"](more, less)["target"] == pytest.approx(200 / 3)
    assert metrics["PrivLeak"](more, even)["target"] == pytest.approx(50)
    assert metrics["PrivLeak"](less, more)["target"] == pytest.approx(-200)


def test_leakage_beyond_a_reference_that_leaks_all_is_left_out_with_the_reason():
    roles = ["target", "decoy"]
    known, even = (answers([p], [0.3], roles=roles) for p in (0.8, 0.3))
    assert metrics["PrivLeak"](even, known) == {} == metrics["PrivLeak"](known, known)
    (row,) = left_out(even, ["PrivLeak"], known).to_dict("records")
    assert (row["metric"], row["group"]) == ("PrivLeak", "target") and "AUC is 1" in row["why"]
    assert left_out(known, ["PrivLeak"], even).empty and left_out(known, ["PrivLeak"]).empty
    assert left_out(answers([0.5]), ["PrivLeak"]).why.item().startswith("there are no decoys")


def test_what_is_said_is_compared_by_words():
    e = answers(
        [0.9],
        [0.9],
        answer=("Mara lives in Torvik.", "It is 1921"),
        fact=("Torvik", ""),
        generations=("In torvik", "no"),
    )
    assert metrics["ROUGE-L"](e)["target"] == pytest.approx((2 / 4 + 0) / 2)
    assert metrics["fact-accuracy"](e) == {"target": 1.0}  # of the one that has a fact
    whole = replace(e, generations=e.answer)
    assert metrics["ROUGE-L"](whole)["target"] == 1 == pytest.approx(metrics["cosine"](whole)["target"])
    assert 0 < metrics["cosine"](e)["target"] < 1
    assert metrics["embedding-cosine"](replace(e, answer_similarity=torch.tensor([0.5, 1.0])))["target"] == 0.75


@pytest.mark.parametrize(
    ("said", "fact", "there"),
    [("She was born in 1921.", "1921", True), ("In 19215", "1921", False), ("a red-haired cat", "Red haired", True)],
)
def test_a_fact_is_whole_words_in_a_row(said, fact, there):
    assert states(said, fact) == there


def test_utility_is_the_harmonic_mean_of_six():
    e = answers(
        [0.5], [0.25], [0.01], roles=["filler", "test", "target"], restated={0: 0.5, 1: 0.5}, wrong={0: [0.25], 1: [0.4]},
        answer=("a b", "a b", "a b"), generations=("a b", "a", ""), fact=("",) * 3,
    )  # fmt: skip
    parts = [0.5, 0.25, 1, 0.5, 0.5, 0.2]
    assert metrics["model-utility"](e)["all"] == pytest.approx(6 / sum(1 / p for p in parts), rel=1e-5)
    avoids = replace(e, wrong_log_p=e.wrong_log_p + 2)
    assert metrics["model-utility"](avoids)["all"] == 0


def test_what_judges_what():
    assert {"loss", "min-k", "truth-ratio"} <= set(
        single_pass_metrics("text")
    ) and "ROUGE-L" not in single_pass_metrics("text")
    assert judging("text", ["JS", "phi"]) == ["phi"]
    with pytest.raises(NotApplicable, match="no meaning for texts: JS"):
        judging("text", ["JS"])
    with pytest.raises(BadValue, match=r"'ROUGE-L' needs generation.*study.generations"):
        metrics["ROUGE-L"](answers([0.5], answer=("a",), fact=("",)))


# --- what is said


@pytest.fixture
def original(config):  # noqa: F811
    return study.references([config], ["original"])[0]["original"]


def test_answers_are_those_of_one_prompt_at_a_time(config, original):  # noqa: F811
    tokens, ours, model = texts.tokens(config), texts.tokenizer(config), original.load()
    how = {"most": int(tokens.count.max()), "context": config.context}
    together = generate(model, tokens, ours.end, **how)
    some = range(0, len(tokens), 3)
    assert len({int(tokens.start[i]) for i in some}) > 3  # prompts of several lengths
    assert [together[i] for i in some] == [generate(model, tokens[[i]], ours.end, **how)[0] for i in some]
    with torch.no_grad():  # and of the model without what it keeps
        for row in range(0, len(tokens), 7):
            ids = tokens.prompts()[row]
            for token in [*together[row], ours.end][: how["most"]]:
                found = model.net(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1].argmax().item()
                assert found == token
                ids = [*ids, found]


def test_a_model_says_what_it_knows_by_heart_and_ends(config, original):  # noqa: F811
    key, said = study.generations(original)
    task = study.load_task(config)
    targets = task.index("target").tolist()
    assert len(said) == len(task) and [said[i] for i in targets] == [task.answer[i] for i in targets]
    assert study.generations(original)[0] == key and "\0" not in "".join(said)


def test_the_context_is_never_left(config, original):  # noqa: F811
    tokens, ours = texts.tokens(config), texts.tokenizer(config)
    short = int(tokens.start.min()) + 2
    found = generate(original.load(), tokens, ours.end, most=50, context=short)
    assert all(len(said) <= max(short - n, 0) for said, n in zip(found, tokens.start.tolist()))


def test_an_answer_that_is_empty_is_stored(original, monkeypatch):
    monkeypatch.setattr(said_module, "generate", lambda model, tokens, *a, **k: [[]] * len(tokens))
    spec = said_module.Spec
    monkeypatch.setattr(said_module, "Spec", lambda kind, params, *rest: spec(kind, params | {"empty": 1}, *rest))
    assert set(study.generations(original)[1]) == {""}


def test_embeddings_come_through_the_store(config, original, monkeypatch):  # noqa: F811
    asked = []

    def letters(texts_):
        asked.append(len(texts_))
        return torch.tensor([[text.lower().count(c) for c in "aeiou"] + [1] for text in texts_]).numpy()

    monkeypatch.setattr(said_module, "encoder", lambda name: letters)
    found = [study.answer_similarity(original)[1] for _ in range(2)]
    assert len(asked) == 1 and torch.equal(*found)
    assert found[0][study.load_task(config).index("target")] == pytest.approx(1.0)


def test_answers_side_by_side(config, original):  # noqa: F811
    table = study.compare_generations({"original": original, "again": original}, n=2)
    assert table.columns.tolist() == ["question", "answer", "original", "again"] and len(table) == 2
    assert table.answer.tolist() == table.original.tolist() == table["again"].tolist()
    other = replace(original, config=replace(config, seed=1))
    with pytest.raises(BadValue, match="models of one config"):
        study.compare_generations({"a": original, "b": other})


def test_images_say_nothing(config):  # noqa: F811
    class Image:
        config = type("Cell", (), {"domain": "image"})

    with pytest.raises(NotApplicable, match="one of images"):
        study.generations(Image())


# --- a table of all


def test_the_table_of_all_metrics(config):  # noqa: F811
    grid = [replace(config, copies=m) for m in (0, 2)]
    scores = study.scores(grid, [*study.BASELINES, "retrain"], metrics=tables.TEXT_METRICS)
    t3 = tables.text_table(scores).set_index(["copies", "method"])
    assert (t3.n_seeds == 1).all() and t3.loc[2].index.tolist() == ["original", "retrain", "clean", "clean-again"]
    assert t3.residual_influence[2, "original"] == 1
    assert t3.residual_influence[2, "clean"] == 0 == t3.residual_influence_rouge[2, "clean"]
    assert t3.NLL[2, "original"] < t3.NLL[2, "retrain"] < t3.NLL[2, "clean"]
    assert t3.loc[(2, "original"), ["ROUGE_L", "fact_accuracy", "exact_memorisation"]].tolist() == pytest.approx(
        [1, 1, 1], abs=0.05
    )
