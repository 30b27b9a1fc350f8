"""Token ids of the real vocabularies equal published vectors and the reference libraries."""

from __future__ import annotations

import base64
import unicodedata
from dataclasses import replace
from itertools import groupby, pairwise
from pathlib import Path

import pytest

from tests.text.conftest import tokenizer_of_gguf
from tests.text.strings import random_strings
from tropilla.formats.gguf import GGUFFile
from tropilla.formats.gguf_values import GGUFArray
from tropilla.formats.tokenizer_source import GGUFVocabulary, SentencePieceModel, gguf_vocabulary
from tropilla.text.byte_level import SPLITS, spell_bytes
from tropilla.text.tokenizer import Tokenizer, load_tokenizer

SEPARATOR = "\n__ggml_vocab_test__\n"
N_VECTORS = 47
N_RANDOM = 10_000
# SmolLM2's vocabulary has no pieces for these; its own library drops them without a word, and so must we.
SMOLLM_ABSENT_BYTES = bytes.fromhex("04 06 13 14 16 1d c0 c1 f1 f2 f5 f6 f7 f8 f9 fa fb fc fd fe ff")


def vectors(real_data: Path, name: str) -> list[tuple[str, list[int]]]:
    """Return the published pairs of text and ids of a vocabulary (llama.cpp's test data)."""
    base = real_data / "tokenizers" / "vectors" / f"ggml-vocab-{name}.gguf"
    texts = Path(f"{base}.inp").read_bytes().decode().split(SEPARATOR)
    rows = Path(f"{base}.out").read_text("utf-8").split("\n")  # the last row is empty, like its text
    return [(text, [int(word) for word in row.split()]) for text, row in zip(texts, rows, strict=True)]


@pytest.mark.parametrize(
    ("fixture", "name"),
    [
        ("gpt2", "gpt-2"),
        ("llama3", "llama-bpe"),
        ("llama3_ranks", "llama-bpe"),
        ("llama2", "llama-spm"),
        ("llama2_model", "llama-spm"),
    ],
)
def test_published_vectors(fixture: str, name: str, real_data: Path, request: pytest.FixtureRequest) -> None:
    tokenizer: Tokenizer = request.getfixturevalue(fixture)
    pairs = vectors(real_data, name)
    assert len(pairs) == N_VECTORS
    for text, token_ids in pairs:
        assert tokenizer.encode(text, add_bos=False) == token_ids, text
        assert tokenizer.decode(token_ids) == text


def test_llama2_equals_sentencepiece_on_random_strings(llama2: Tokenizer, real_data: Path) -> None:
    """The oracle loads Meta's own file; ours is built from the pieces and scores of a GGUF file."""
    from sentencepiece import SentencePieceProcessor

    oracle = SentencePieceProcessor(model_file=str(real_data / "tokenizers/llama-spm/tokenizer.model"))
    for text in random_strings(N_RANDOM, seed=1):
        token_ids = llama2.encode(text, add_bos=False)
        assert token_ids == oracle.encode(text), text
        assert llama2.decode(token_ids) == text


def test_llama3_ranks_equal_the_merges_of_the_gguf(llama3: Tokenizer, llama3_ranks: Tokenizer) -> None:
    """Two routes that share no vocabulary data: Meta's ranks and Hugging Face's merges."""
    for text in random_strings(N_RANDOM, seed=2):
        token_ids = llama3_ranks.encode(text)
        assert token_ids == llama3.encode(text), text
        assert llama3_ranks.decode(token_ids) == text


def test_llama3_ranks_equal_rank_bpe(llama3_ranks: Tokenizer, real_data: Path) -> None:
    """The one-merge-per-token argument, checked against rank BPE itself on single words."""
    lines = (real_data / "tokenizers/llama3/tokenizer.model").read_bytes().splitlines()
    ranks = {base64.b64decode(line.split()[0]): int(line.split()[1]) for line in lines}
    runs = (run for text in random_strings(2_000, seed=3) for run in groupby(text, str.isalpha))
    words = ["".join(letters) for is_word, letters in runs if is_word]
    words += ["aaaaa", "abababab", "zzzzzzzzz", "ЙЙЙЙЙ"]
    assert len(words) > 1_000
    for word in words:
        assert llama3_ranks.encode(word, add_bos=False) == rank_bpe(word.encode(), ranks), word


def rank_bpe(data: bytes, ranks: dict[bytes, int]) -> list[int]:
    if data in ranks:
        return [ranks[data]]
    parts = [data[at : at + 1] for at in range(len(data))]
    while True:
        pairs = [(ranks[a + b], at) for at, (a, b) in enumerate(pairwise(parts)) if a + b in ranks]
        if not pairs:
            return [ranks[part] for part in parts]
        _, at = min(pairs)
        parts[at : at + 2] = [parts[at] + parts[at + 1]]


@pytest.mark.parametrize("fixture", ["gpt2", "llama3", "stories"])
def test_decode_undoes_encode(fixture: str, request: pytest.FixtureRequest) -> None:
    tokenizer: Tokenizer = request.getfixturevalue(fixture)
    for text in random_strings(2_000, seed=4):
        assert tokenizer.decode(tokenizer.encode(text)) == text


def test_gpt2_equals_a_tokenizer_built_by_transformers(gpt2: Tokenizer, real_data: Path) -> None:
    from transformers import GPT2Tokenizer

    vocab, merges = vocab_and_merges(real_data / "tokenizers/vectors/ggml-vocab-gpt-2.gguf")
    oracle = GPT2Tokenizer(vocab=vocab, merges=merges)
    for text in random_strings(N_RANDOM, seed=5):
        assert gpt2.encode(text) == oracle.encode(text, split_special_tokens=True), text


@pytest.mark.default_model
def test_smollm_equals_transformers_with_digits_cut_by_hand(default_model: Path) -> None:
    """The oracle is GPT-2's tokenizer over pieces of text, each digit a piece of its own."""
    from transformers import GPT2Tokenizer

    tokenizer = tokenizer_of_gguf(default_model)
    vocab, merges = vocab_and_merges(default_model)
    oracle = GPT2Tokenizer(vocab=vocab, merges=merges)
    for text in random_strings(N_RANDOM, seed=6):
        expected = [
            token_id
            for part in cut_digits(text)
            for token_id in oracle.encode(part, split_special_tokens=True)
        ]
        assert tokenizer.encode(text) == expected, text
        decoded = b"".join(map(tokenizer.decode_bytes, expected))
        assert decoded == text.encode().translate(None, SMOLLM_ABSENT_BYTES)


def test_qwen2_split_equals_transformers(real_data: Path) -> None:
    """Qwen2's rules over GPT-2's pieces: ours must cut the words where Hugging Face's class does."""
    from transformers import Qwen2Tokenizer

    path = real_data / "tokenizers/vectors/ggml-vocab-gpt-2.gguf"
    vocab, merges = vocab_and_merges(path)
    oracle = Qwen2Tokenizer(vocab=vocab, merges=merges)
    with GGUFFile(path) as file:
        source = gguf_vocabulary(path, file.metadata)
        assert source is not None
        tokenizer = load_tokenizer(replace(source, pre="qwen2"))
    for text in random_strings(N_RANDOM, seed=7):
        token_ids = tokenizer.encode(text)
        assert token_ids == oracle.encode(text, split_special_tokens=True), text
        assert tokenizer.decode(token_ids) == unicodedata.normalize("NFC", text)


@pytest.mark.parametrize("name", ["llama-bpe", "tekken"])
def test_patterns_mean_the_same_to_another_engine(name: str) -> None:
    """With every word a token of its own, the tokens show the split; the `regex` package is the oracle."""
    import regex

    pattern = SPLITS[name].pattern
    assert pattern is not None
    for text in random_strings(2_000, seed=8):
        if "Cn" in map(unicodedata.category, text):
            continue  # the engines know different versions of Unicode
        words = regex.findall(pattern, text, regex.VERSION1)
        pieces = list(dict.fromkeys(spell_bytes(word.encode()) for word in words))
        source = GGUFVocabulary(path=Path("words"), model="gpt2", pre=name, pieces=pieces, merges=[])
        tokenizer = load_tokenizer(source)
        assert [tokenizer.decode_bytes(i).decode() for i in tokenizer.encode(text)] == words, text


def vocab_and_merges(path: Path) -> tuple[dict[str, int], list[tuple[str, ...]]]:
    with GGUFFile(path) as file:
        pieces, merges = (file.metadata[f"tokenizer.ggml.{name}"] for name in ("tokens", "merges"))
        assert isinstance(pieces, GGUFArray)
        assert isinstance(merges, GGUFArray)
        vocab = {str(piece): at for at, piece in enumerate(pieces)}
        return vocab, [tuple(str(merge).split(" ")) for merge in merges]


def cut_digits(text: str) -> list[str]:
    runs = groupby(text, lambda character: unicodedata.category(character).startswith("N"))
    cut = (list(run) if is_number else ["".join(run)] for is_number, run in runs)
    return [part for parts in cut for part in parts]


@pytest.mark.parametrize("fixture", ["llama2", "llama2_model", "stories"])
def test_each_digit_is_a_token_of_its_own(fixture: str, request: pytest.FixtureRequest) -> None:
    tokenizer: Tokenizer = request.getfixturevalue(fixture)
    token_ids = tokenizer.encode("8765432109876543210", add_bos=False)
    shown = [tokenizer.decode_bytes(token_id) for token_id in token_ids]
    assert b"".join(shown).strip() == b"8765432109876543210"
    assert all(len(piece.strip()) <= 1 for piece in shown)


@pytest.mark.parametrize("name", ["bpe", "unigram"])
def test_any_sentencepiece_model_loads(name: str, real_data: Path) -> None:
    """Models that others trained, with a normalizer and without byte fallback."""
    from sentencepiece import SentencePieceProcessor

    path = real_data / "tokenizers/sentencepiece" / f"botchan_en_{name}_1000.model"
    oracle = SentencePieceProcessor(model_file=str(path))
    tokenizer = load_tokenizer(SentencePieceModel(path=path))
    text = "I was  always getting into trouble,\tsaid Botchan."
    assert tokenizer.encode(text, add_bos=False) == oracle.encode(text)
    assert tokenizer.decode(tokenizer.encode(text)) == oracle.decode(oracle.encode(text))
