"""tokenizer.json files, as Hugging Face folders bring them, give what the library itself gives."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.text.strings import random_strings
from tests.text.test_tokenizer_vectors import vocab_and_merges
from tropilla.formats.tokenizer_source import TokenizersJson, TokenRoles
from tropilla.text.tokenizer import Tokenizer, load_tokenizer


@pytest.mark.parametrize("legacy", [False, True])
def test_sentencepiece_as_json(legacy: bool, real_data: Path, tmp_path: Path) -> None:
    """Hugging Face's two conversions differ in where they put a space: each file has its own way."""
    from transformers import LlamaTokenizer

    oracle = LlamaTokenizer.from_pretrained(real_data / "tokenizers/llama-spm", legacy=legacy)
    oracle.save_pretrained(tmp_path)
    roles = TokenRoles(bos_id=1, add_bos=True)
    tokenizer = load_tokenizer(TokenizersJson(path=tmp_path / "tokenizer.json", roles=roles))
    for text in random_strings(1_000, seed=21):
        token_ids = tokenizer.encode(text)
        assert token_ids[1:] == oracle.encode(text, add_special_tokens=False), text
        if not text.startswith(" "):  # of a space at the very start these files keep no trace
            assert tokenizer.decode(token_ids) == text
    for text in ("<s>Hello</s>world", "</s>", "a</s> b"):
        expected = oracle.encode(text, add_special_tokens=False)
        assert tokenizer.encode(text, add_bos=False, parse_special=True) == expected
    world = tokenizer.encode("Hello world")[-1]
    assert tokenizer.decode_bytes(world) == b" world"
    assert tokenizer.decode_bytes(3 + 0xE2) == b"\xe2"


def test_byte_level_as_json(real_data: Path, tmp_path: Path, gpt2: Tokenizer) -> None:
    from transformers import GPT2Tokenizer

    vocab, merges = vocab_and_merges(real_data / "tokenizers/vectors/ggml-vocab-gpt-2.gguf")
    GPT2Tokenizer(vocab=vocab, merges=merges).save_pretrained(tmp_path)
    tokenizer = load_tokenizer(TokenizersJson(path=tmp_path / "tokenizer.json"))
    assert tokenizer.vocab_size == gpt2.vocab_size
    assert tokenizer.special_tokens == gpt2.special_tokens
    for text in random_strings(1_000, seed=22):
        token_ids = tokenizer.encode(text)
        assert token_ids == gpt2.encode(text), text
        assert tokenizer.decode(token_ids) == text
    assert tokenizer.encode("a<|endoftext|>", parse_special=True)[-1] == 50_256
    assert 50_256 not in tokenizer.encode("a<|endoftext|>")


def test_the_files_own_bos_rule_is_followed(tmp_path: Path) -> None:
    from tokenizers import Tokenizer as Library
    from tokenizers import decoders, models, pre_tokenizers, processors

    library = Library(models.BPE(vocab={"a": 0}, merges=[]))
    library.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    library.decoder = decoders.ByteLevel()
    library.add_special_tokens(["<s>", "</s>"])
    path = tmp_path / "tokenizer.json"
    library.save(str(path))
    assert load_tokenizer(TokenizersJson(path=path)).encode("a") == [0]
    library.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    library.save(str(path))
    tokenizer = load_tokenizer(TokenizersJson(path=path))
    assert tokenizer.encode("a") == [1, 0]
    assert tokenizer.encode("<s>a", parse_special=True) == [1, 0]
    assert tokenizer.end_ids == {2}
    refusing = load_tokenizer(TokenizersJson(path=path, roles=TokenRoles(add_bos=False)))
    assert refusing.encode("a") == [0]
