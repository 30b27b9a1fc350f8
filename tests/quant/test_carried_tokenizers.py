"""A converted model must tokenise like its source, in our hands and in those of other programs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.formats.test_huggingface import TINY, save
from tests.formats.test_meta import random_weights
from tests.formats.test_meta import write as write_meta_folder
from tropilla.formats.checkpoint import open_checkpoint
from tropilla.quant.convert import Target, convert
from tropilla.text.tokenizer import Tokenizer, load_tokenizer

TEXTS = [
    "", "a", " a", "Hello world", "  two  spaces ", "123 4567", "naïve café ñandú 日本語 🦙🏽",
    "\n\n\tcode = {x: [1]}", "don't WE'LL", "<s> is text </s>", "a\u200bb", "́", "x" * 200, "\x00\x01",
    " ", "\r\n",
]  # fmt: skip


def ids_of(path: Path) -> list[list[int]]:
    with open_checkpoint(path) as model:
        assert model.tokenizer is not None
        tokenizer = load_tokenizer(model.tokenizer)
        return [tokenizer.encode(text) for text in TEXTS] + [roles_of(tokenizer)]


def roles_of(tokenizer: Tokenizer) -> list[int]:
    return [-1 if role is None else role for role in (tokenizer.bos_id, tokenizer.eos_id, tokenizer.adds_bos)]


def run(source: Path, destination: Path, to: Target) -> Path:
    list(convert(source, destination, to=to))
    return destination


def through_all(source: Path, folder: Path) -> list[Path]:
    """Convert along each edge between formats that hold any tokenizer."""
    direct_gguf = run(source, folder / "a.gguf", "gguf")
    folder_from_gguf = run(direct_gguf, folder / "b", "huggingface")
    meta = run(folder_from_gguf, folder / "c", "meta")
    back = run(meta, folder / "d.gguf", "gguf")
    direct_folder = run(source, folder / "e", "huggingface")
    return [direct_gguf, folder_from_gguf, meta, back, direct_folder]


@pytest.fixture
def spm_folder(tmp_path: Path, real_data: Path) -> Path:
    """Return a tiny model with LLaMA's real vocabulary as Hugging Face ships it."""
    folder = tmp_path / "spm"
    save(folder, vocab_size=32000, bos_token_id=1, eos_token_id=2)
    shutil.copy(real_data / "tokenizers/llama-spm/tokenizer.model", folder)
    settings = {
        "tokenizer_class": "LlamaTokenizer", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>",
        "add_bos_token": True, "chat_template": "{{ 1 }}",
    }  # fmt: skip
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder


def test_llamas_vocabulary(spm_folder: Path, tmp_path: Path) -> None:
    expected = ids_of(spm_folder)
    assert expected[3] == [1, 15043, 3186]  # "Hello world" as every LLaMA has it
    for path in through_all(spm_folder, tmp_path):
        assert ids_of(path) == expected, path
        with open_checkpoint(path) as model:
            assert model.chat_template == "{{ 1 }}", path


def test_transformers_tokenises_our_folder_like_its_own(spm_folder: Path, tmp_path: Path) -> None:
    import transformers

    run(spm_folder, tmp_path / "a.gguf", "gguf")
    ours = transformers.AutoTokenizer.from_pretrained(run(tmp_path / "a.gguf", tmp_path / "b", "huggingface"))
    theirs = transformers.AutoTokenizer.from_pretrained(spm_folder)
    for text in TEXTS:
        assert ours.encode(text) == theirs.encode(text), text
    assert (ours.bos_token_id, ours.eos_token_id) == (1, 2)
    assert ours.chat_template == "{{ 1 }}"


def released_form(content: dict[str, Any]) -> dict[str, Any]:
    """Bring what transformers 5 saves into the form of the released LLaMA tokenizer.json files.

    Those put a space before every text, and merge spaces with each other last, as SentencePiece does.
    """
    spaces = [merge for merge in content["model"]["merges"] if set("".join(merge)) == {"\u2581"}]
    others = [merge for merge in content["model"]["merges"] if merge not in spaces]
    content["model"]["merges"] = others + spaces
    content["pre_tokenizer"] = None
    steps = [
        {"type": "Prepend", "prepend": "\u2581"},
        {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"},
    ]
    content["normalizer"] = {"type": "Sequence", "normalizers": steps}
    return content


def test_a_tokenizer_json_of_a_sentencepiece_model(spm_folder: Path, tmp_path: Path) -> None:
    """It has merges where SentencePiece has scores; all three say the same."""
    import transformers

    by_sentencepiece = ids_of(spm_folder)
    transformers.AutoTokenizer.from_pretrained(spm_folder).save_pretrained(spm_folder)
    (spm_folder / "tokenizer.model").unlink()
    path = spm_folder / "tokenizer.json"
    path.write_text(json.dumps(released_form(json.loads(path.read_text("utf-8")))))
    assert ids_of(spm_folder) == by_sentencepiece
    assert ids_of(run(spm_folder, tmp_path / "a.gguf", "gguf")) == by_sentencepiece


def test_tokens_added_to_llamas_vocabulary(spm_folder: Path, tmp_path: Path) -> None:
    """Chat models append markers; the embedding is often rounded up beyond them."""
    model_file = (spm_folder / "tokenizer.model").read_bytes()
    shutil.rmtree(spm_folder)
    save(spm_folder, vocab_size=32064)
    (spm_folder / "tokenizer.model").write_bytes(model_file)
    (spm_folder / "added_tokens.json").write_text(json.dumps({"<|im_start|>": 32001, "<|im_end|>": 32000}))
    for path in through_all(spm_folder, tmp_path):
        with open_checkpoint(path) as model:
            assert model.tokenizer is not None
            tokenizer = load_tokenizer(model.tokenizer)
            assert tokenizer.encode("<|im_start|>hi<|im_end|>", parse_special=True)[1] == 32001, path
            assert 32000 in tokenizer.end_ids


@pytest.mark.slow
def test_llama3s_ranks(tmp_path: Path, real_data: Path) -> None:
    weights = random_weights() | {
        name: torch.zeros(128256, 16).half() for name in ("tok_embeddings.weight", "output.weight")
    }
    source = write_meta_folder(tmp_path / "source", weights, rope_theta=500000.0)
    shutil.copy(real_data / "tokenizers/llama3/tokenizer.model", source)
    expected = ids_of(source)
    assert expected[3] == [128000, 9906, 1917]  # "Hello world" as every Llama 3 has it
    direct = run(source, tmp_path / "a.gguf", "gguf")
    assert ids_of(direct) == expected
    assert ids_of(run(direct, tmp_path / "b", "huggingface")) == expected


def test_smollm2(default_model: Path, tmp_path: Path) -> None:
    expected = ids_of(default_model)
    folder = run(default_model, tmp_path / "hf", "huggingface")
    assert ids_of(folder) == expected
    with open_checkpoint(default_model) as old, open_checkpoint(folder) as new:
        assert new.chat_template == old.chat_template
    again = run(folder, tmp_path / "m.gguf", "gguf")
    assert ids_of(again) == expected


def byte_level_json(split: dict[str, Any], vocab_size: int) -> dict[str, Any]:
    """Build a small tokenizer.json as the `tokenizers` library writes it."""
    characters = [chr(c) for c in (*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100))]
    characters += [chr(0x100 + n) for n in range(256 - len(characters))]
    vocab = {character: n for n, character in enumerate(characters)}
    merges = [["l", "o"], ["lo", "l"], ["h", "e"], ["1", "2"], ["Ġ", "w"]]
    vocab |= {left + right: 256 + n for n, (left, right) in enumerate(merges)}
    added = [
        {"id": 261 + n, "content": text, "special": special, "single_word": False, "lstrip": False,
         "rstrip": False, "normalized": False}
        for n, (text, special) in enumerate([("<|bos|>", True), ("<|im_end|>", True), ("<think>", False)])
    ]  # fmt: skip
    assert vocab_size >= 264
    return {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": added, "normalizer": None,
        "pre_tokenizer": split, "post_processor": None,
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
                  "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "vocab": vocab,
                  "merges": merges},
    }  # fmt: skip


BYTES = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
DIGITS = {"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": True}, BYTES]}


@pytest.mark.parametrize(("split", "pre"), [(BYTES, "gpt-2"), (DIGITS, "smollm")])
def test_byte_level_json(tmp_path: Path, split: dict[str, Any], pre: str) -> None:
    source = tmp_path / "source"
    save(source, **(TINY | {"vocab_size": 270}))
    (source / "tokenizer.json").write_text(json.dumps(byte_level_json(split, 270)))
    settings = {"bos_token": "<|bos|>", "eos_token": "<|im_end|>", "add_bos_token": True}
    decoder = {"261": {"content": "<|bos|>"}, "262": {"content": "<|im_end|>"}}
    (source / "tokenizer_config.json").write_text(json.dumps(settings | {"added_tokens_decoder": decoder}))
    expected = ids_of(source)
    assert expected[-1] == [261, 262, True]
    for path in through_all(source, tmp_path):
        assert ids_of(path) == expected, path
    with open_checkpoint(tmp_path / "a.gguf") as model:
        assert getattr(model.tokenizer, "pre", None) == pre
        tokenizer = load_tokenizer(model.tokenizer)  # type: ignore[arg-type]  # shown above
        assert tokenizer.encode("x<think><|im_end|>", parse_special=True)[-2:] == [263, 262]


def test_an_unknown_split_is_refused(tmp_path: Path) -> None:
    from tropilla.errors import UnsupportedError

    source = tmp_path / "source"
    save(source, vocab_size=270)
    split = {"type": "Sequence", "pretokenizers": [{"type": "Whitespace"}, BYTES]}
    (source / "tokenizer.json").write_text(json.dumps(byte_level_json(split, 270)))
    with pytest.raises(UnsupportedError, match="how it splits words"):
        run(source, tmp_path / "m.gguf", "gguf")
