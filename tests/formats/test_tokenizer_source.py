"""GGUF tokenizer keys become one checked description."""

from __future__ import annotations

from pathlib import Path

import pytest

from tropilla.errors import FormatError
from tropilla.formats.gguf import GGUFFile
from tropilla.formats.gguf_writer import GGUFWriter
from tropilla.formats.tokenizer_source import gguf_vocabulary

PATH = Path("model.gguf")
METADATA = {
    "tokenizer.ggml.model": "llama",
    "tokenizer.ggml.tokens": ["<unk>", "<s>", "</s>", "a"],
    "tokenizer.ggml.scores": [0.0, 0.0, 0.0, -1.0],
    "tokenizer.ggml.token_type": [2, 3, 3, 1],
    "tokenizer.ggml.bos_token_id": 1,
    "tokenizer.ggml.eos_token_id": 2,
    "tokenizer.ggml.eot_token_id": 3,
    "tokenizer.ggml.add_bos_token": True,
}


def test_keys_are_read() -> None:
    vocabulary = gguf_vocabulary(PATH, METADATA)
    assert vocabulary is not None
    assert list(vocabulary.pieces) == ["<unk>", "<s>", "</s>", "a"]
    assert (vocabulary.roles.bos_id, vocabulary.roles.eos_id, vocabulary.roles.end_ids) == (1, 2, (3,))
    assert vocabulary.roles.add_bos is True
    assert vocabulary.roles.add_eos is None


def test_a_file_without_a_tokenizer_has_none() -> None:
    assert gguf_vocabulary(PATH, {"general.architecture": "llama"}) is None


@pytest.mark.parametrize(
    ("key", "value", "named"),
    [
        ("scores", [0.0], "1 entries"),
        ("token_type", 3, "an array"),
        ("bos_token_id", "one", "a token id"),
        ("add_bos_token", 1, "a boolean"),
        ("pre", 7, "a text"),
    ],
)
def test_a_bad_key_is_named(key: str, value: object, named: str) -> None:
    with pytest.raises(FormatError, match=named) as error:
        gguf_vocabulary(PATH, {**METADATA, f"tokenizer.ggml.{key}": value})
    assert f"tokenizer.ggml.{key}" in str(error.value)


@pytest.mark.parametrize(
    ("key", "items", "named"),
    [
        ("tokens", [1, 2, 3, 4], "an array of STRING"),
        ("scores", ["0", "0", "0", "-1"], "an array of FLOAT32"),
        ("token_type", [2.0, 3.0, 3.0, 1.0], "an array of INT32"),
        ("merges", [True], "an array of STRING"),
    ],
)
def test_an_array_of_other_items_is_named(tmp_path: Path, key: str, items: list[object], named: str) -> None:
    path = tmp_path / "m.gguf"
    with GGUFWriter(path, {**METADATA, f"tokenizer.ggml.{key}": items}, []):
        pass
    with GGUFFile(path) as file, pytest.raises(FormatError, match=f"tokenizer.ggml.{key} .* {named}"):
        gguf_vocabulary(path, file.metadata)


def test_missing_tokens_are_an_error() -> None:
    with pytest.raises(FormatError, match="tokens is missing"):
        gguf_vocabulary(PATH, {"tokenizer.ggml.model": "gpt2"})


@pytest.mark.parametrize("absent", [-1, 2**32 - 1, 4])
def test_an_id_outside_the_vocabulary_means_absent(absent: int) -> None:
    """Converters write all-ones for "no such token"; a stray id must not become a stop token."""
    vocabulary = gguf_vocabulary(PATH, {**METADATA, "tokenizer.ggml.padding_token_id": absent})
    assert vocabulary is not None
    assert vocabulary.roles.pad_id is None
