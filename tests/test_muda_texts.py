"""MUDA on texts: what its features are of, what is distilled, and that images keep theirs. Contracts: test_methods.py."""

import copy

import pytest
import torch

from language import _shared_cache, asked_of_texts, config, small_pool  # noqa: F401 (fixtures)
from unlearnkit.core.alignment import alignment, alignment_loss, directions
from unlearnkit.core.compute import measure_cost
from unlearnkit.core.divergence import kl
from unlearnkit.core.optimise import minimise
from unlearnkit.methods import methods
from unlearnkit.methods.contracts import same
from unlearnkit.methods.muda import TEXT, distilled, muda
from unlearnkit.texts.outputs import score_tokens

pytestmark = pytest.mark.slow

ONE_STEP = {"rounds": 1, "forget_epochs": 1, "recover_epochs": 0, "lr": 1e-3}


def test_features_are_the_mean_over_each_answers_tokens(asked_of_texts):  # noqa: F811
    """By transformers' own last hidden states: prompt and padding are in no mean."""
    model, request = asked_of_texts
    batch = request.forget
    with torch.no_grad():
        hidden = model.net(input_ids=batch.ids.long(), output_hidden_states=True).hidden_states[-1]
        logits, features = request.logits_and_features(model, batch)
        torch.testing.assert_close(logits, request.logits(model, batch))
    wanted = [h[i - 1 : j - 1].mean(0) for h, i, j in zip(hidden, batch.start.tolist(), batch.stop.tolist())]
    torch.testing.assert_close(features, torch.stack(wanted), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(features, score_tokens(model, batch)[2], atol=1e-5, rtol=1e-4)  # what metrics judge
    model.train()
    torch.testing.assert_close(request.features(model, batch), features, atol=1e-5, rtol=1e-4)
    assert model.training


def test_at_weight_0_there_is_no_alignment(asked_of_texts, monkeypatch):  # noqa: F811
    """One step on KL(tempered teacher || student) over the tokens of the answers, taken by hand."""
    model, request = asked_of_texts
    monkeypatch.setattr("unlearnkit.methods.muda.directions", None)
    monkeypatch.setattr("unlearnkit.methods.muda.alignment_loss", None)
    after = muda(model, request, seed=0, weight=0.0, temperature=2.0, **ONE_STEP)
    with torch.no_grad():
        target = (request.logits(model, request.forget) / 2).log_softmax(-1)
    order = torch.randperm(len(request.forget), generator=torch.Generator().manual_seed(0))

    def by_hand(net):
        batch = request.forget[order]
        yield kl(target[request.forget.label_index(order)], request.log_probs(net, batch)).mean()

    wanted = minimise(model, by_hand, lr=1e-3, device="cpu")
    for a, b in zip(after.parameters(), wanted.parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=0)
    monkeypatch.undo()
    assert not same(after, muda(model, request, seed=0, weight=1.0, temperature=2.0, **ONE_STEP))


def test_the_alignment_is_of_forget_to_retain(asked_of_texts):  # noqa: F811
    """Without distillation one step of size 0 on L_DA has the gradient of -DA(F | R)^2 by autograd."""
    model, request = asked_of_texts
    main = directions(request.features(model, request.retain))
    net = copy.deepcopy(model)
    loss = alignment_loss(request.logits_and_features(net, request.forget)[1], main)
    assert loss.item() == pytest.approx(-(alignment(request.features(model, request.forget), main).item() ** 2))

    def da(after):
        return alignment(request.features(after, request.forget), main).item()

    options = {"distillation": "none", "rounds": 1, "forget_epochs": 5, "recover_epochs": 0, "lr": 1e-3}
    assert da(muda(model, request, seed=0, **options)) > da(model)


def test_masked_forbids_each_token_of_an_answer_in_its_place(asked_of_texts):  # noqa: F811
    model, request = asked_of_texts
    target = distilled(model, request, "masked", 2.0).exp()
    with torch.no_grad():
        p = request.log_probs(model, request.forget).exp()
    y = request.forget.y[:, None]
    assert target.shape == p.shape and (target.gather(1, y) == 0).all()
    rest = p.scatter(1, y, 0.0)
    torch.testing.assert_close(target, rest / rest.sum(1, keepdim=True), atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(distilled(model, request, "auto", 2.0), distilled(model, request, "tempered", 2.0))


def test_temperature_and_rate_of_texts_are_their_own(asked_of_texts):  # noqa: F811
    model, request = asked_of_texts
    assert methods["muda"].info["text"] == TEXT and {"image", "text"} == set(methods["muda"].info["domains"])
    sure = torch.tensor([0.99] + [0.01 / 1023] * 1023).log()
    kept = {t: (sure / t).softmax(0)[0].item() for t in (2.0, 4.0)}
    assert 0.2 < kept[TEXT["temperature"]] < 0.3 and kept[4.0] < 0.03
    with measure_cost() as cost:
        muda(model, request, seed=0, rounds=2, forget_epochs=3, recover_epochs=1, batch_size=16)
    assert cost.steps == 2 * (3 + -(-len(request.retain) // 16))
