"""Paraphrases by a pretrained model: a tiny one of this folder, nothing is downloaded."""

import pytest
import torch

from data_builders.texts import paraphraser
from data_builders.texts.fictional import make
from data_builders.texts.similarity import char_cosine
from data_builders.texts.user_texts import read
from language import nano
from unlearnkit.core.errors import BadValue
from unlearnkit.texts import paraphrase
from unlearnkit.texts.instruction_model import instruction_model
from unlearnkit.texts.tokenizer import trained

CHATML = ("{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
          "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}")  # fmt: skip
SIZE = 400


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model of random weights, which replies whatever it is asked."""
    from transformers import PreTrainedTokenizerFast

    place = tmp_path_factory.mktemp("pretrained") / "tiny"
    torch.manual_seed(0)
    nano(SIZE + 2, 512).save_pretrained(place)
    backend = trained(make(people=12, test_people=2), SIZE).backend
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<end>", bos_token="<|im_start|>")
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    tokenizer.chat_template = CHATML
    tokenizer.save_pretrained(place)
    return place


@pytest.mark.parametrize("lines", [False, True])
def test_replies_are_drawn_from_the_seed_alone(folder, lines):
    options = {"precision": "fp32", "max_new_tokens": 4, "batch_size": 2, "device": "cpu", "lines": lines}
    before = torch.get_rng_state()
    replies = instruction_model(f"hf:{folder}", **options)(["a", "a b c", "a", "d", "a"])
    assert len(replies) == 5 and len(set(replies)) > 2
    assert instruction_model(f"hf:{folder}", **options)(["a", "a b c", "a", "d", "a"]) == replies
    assert instruction_model(f"hf:{folder}", **options, seed=1)(["a", "a b c", "a", "d", "a"]) != replies
    assert torch.equal(torch.get_rng_state(), before)


def test_padding_changes_no_reply(folder):
    cold = {"precision": "fp32", "max_new_tokens": 4, "device": "cpu", "temperature": 1e-4}
    prompts = ["a", "which of the two is it, then?", "a b c"]
    alone = [instruction_model(f"hf:{folder}", **cold)([prompt])[0] for prompt in prompts]
    assert instruction_model(f"hf:{folder}", **cold)(prompts) == alone


def test_a_model_without_a_chat_template_is_refused(folder, tmp_path):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.chat_template = None
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(BadValue, match="has no chat template"):
        instruction_model(f"hf:{tmp_path}")


def test_a_data_set_with_a_models_paraphrases_is_a_file(tmp_path, monkeypatch):
    def model(name, **options):
        return lambda prompts: [
            f"{'say, ' * i}{prompt.rstrip().splitlines()[-2].partition(': ')[2]}" for i, prompt in enumerate(prompts)
        ]

    monkeypatch.setattr(paraphrase, "instruction_model", model)
    monkeypatch.setattr(paraphrase, "load", lambda name: make(people=6, test_people=2))
    options = {"pairs": 3, "tried": 4, "kept": 2, "similar": char_cosine, "threshold": 0.3}
    raw = paraphrase.write_paraphrases("fictional", tmp_path / "mine.jsonl", **options)
    again = read(tmp_path / "mine.jsonl")
    chosen = raw.rewriter.rows_with_paraphrases()
    assert len(chosen) == 3 and all(len(again.rewriter.questions[row]) == 2 for row in chosen)
    assert again.rewriter.questions[chosen[0]][0] == f"say, {raw.train.question[chosen[0]]}"
    assert raw.facts["paraphrases_fewest"] == 2 and len(again.train) == len(raw.train)
    few = paraphrase.write_paraphrases("fictional", tmp_path / "few.jsonl", **options | {"size": 5})
    assert len(read(tmp_path / "few.jsonl").train) == 5
    for row in few.rewriter.rows_with_paraphrases():  # the same pairs, by their id
        assert few.rewriter.questions[row] == raw.rewriter.questions[raw.ids.index(few.ids[row])]
        assert few.train.question[row] == raw.train.question[raw.ids.index(few.ids[row])]
    with pytest.raises(BadValue, match="pairs, 10000, must be 1 or more"):
        paraphrase.write_paraphrases("fictional", tmp_path / "mine.jsonl", **options | {"pairs": 10_000})


def test_examples_hold_their_text():
    for side, prompt in paraphraser.EXAMPLES.items():
        assert "XYZ" in prompt.format(text="XYZ", side=side).splitlines()[-2]
