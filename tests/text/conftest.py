"""Tokenizers of the real vocabularies, each built once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tropilla.formats.gguf import GGUFFile
from tropilla.formats.tokenizer_source import (
    Llama2cVocabulary,
    SentencePieceModel,
    TiktokenRanks,
    gguf_vocabulary,
)
from tropilla.text.tokenizer import Tokenizer, load_tokenizer


def tokenizer_of_gguf(path: Path) -> Tokenizer:
    with GGUFFile(path) as file:
        source = gguf_vocabulary(path, file.metadata)
        assert source is not None
        return load_tokenizer(source)


@pytest.fixture(scope="session")
def gpt2(real_data: Path) -> Tokenizer:
    return tokenizer_of_gguf(real_data / "tokenizers/vectors/ggml-vocab-gpt-2.gguf")


@pytest.fixture(scope="session")
def llama3(real_data: Path) -> Tokenizer:
    return tokenizer_of_gguf(real_data / "tokenizers/vectors/ggml-vocab-llama-bpe.gguf")


@pytest.fixture(scope="session")
def llama3_ranks(real_data: Path) -> Tokenizer:
    return load_tokenizer(TiktokenRanks(path=real_data / "tokenizers/llama3/tokenizer.model"))


@pytest.fixture(scope="session")
def llama2(real_data: Path) -> Tokenizer:
    return tokenizer_of_gguf(real_data / "tokenizers/vectors/ggml-vocab-llama-spm.gguf")


@pytest.fixture(scope="session")
def llama2_model(real_data: Path) -> Tokenizer:
    return load_tokenizer(SentencePieceModel(path=real_data / "tokenizers/llama-spm/tokenizer.model"))


@pytest.fixture(scope="session")
def stories(real_data: Path) -> Tokenizer:
    return load_tokenizer(Llama2cVocabulary(path=real_data / "weights/stories260K/tok512.bin"))
