"""Text that arrives token by token is the text of all tokens together."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.text.strings import random_strings
from tropilla.text.tokenizer import Tokenizer

FIXTURES = ["gpt2", "llama3", "llama2", "stories"]


@pytest.mark.parametrize("fixture", FIXTURES)
def test_pushes_together_are_the_whole_text(fixture: str, request: pytest.FixtureRequest) -> None:
    tokenizer: Tokenizer = request.getfixturevalue(fixture)
    for text in random_strings(1_000, seed=11):
        decoder = tokenizer.stream_decoder()
        shown = [decoder.push(token_id) for token_id in tokenizer.encode(text)]
        assert "".join(shown) + decoder.flush() == text
        assert decoder.flush() == ""
        if "\ufffd" not in text:
            assert not any("\ufffd" in part for part in shown), "a character was cut in two"


@pytest.mark.parametrize("fixture", FIXTURES)
def test_pushes_of_any_ids_equal_decode(fixture: str, request: pytest.FixtureRequest) -> None:
    """Models also write broken UTF-8 and special tokens in strange places."""
    tokenizer: Tokenizer = request.getfixturevalue(fixture)
    rng = random.Random(12)
    for _ in range(500):
        token_ids = [rng.randrange(min(600, tokenizer.vocab_size)) for _ in range(rng.randint(0, 30))]
        decoder = tokenizer.stream_decoder()
        streamed = "".join(map(decoder.push, token_ids)) + decoder.flush()
        assert streamed == tokenizer.decode(token_ids)


def test_llama2_decode_equals_sentencepiece_on_valid_text(llama2: Tokenizer, real_data: Path) -> None:
    from sentencepiece import SentencePieceProcessor

    oracle = SentencePieceProcessor(model_file=str(real_data / "tokenizers/llama-spm/tokenizer.model"))
    rng = random.Random(13)
    for _ in range(500):
        token_ids = [rng.randrange(259, 32_000) for _ in range(rng.randint(0, 30))]
        assert llama2.decode(token_ids) == oracle.decode(token_ids)


def test_leading_space_is_dropped_at_the_start_only(llama2: Tokenizer) -> None:
    hello, world = llama2.encode("Hello world", add_bos=False)
    bos = llama2.bos_id
    assert bos is not None
    assert llama2.decode([bos, hello, world]) == "Hello world"
    assert llama2.stream_decoder().push(hello) == "Hello"
    assert llama2.stream_decoder(after=[bos]).push(hello) == "Hello"
    assert llama2.stream_decoder(after=[bos, hello]).push(world) == " world"


def test_text_after_a_special_token_starts_afresh(llama2: Tokenizer) -> None:
    text = "<s>one</s>two"
    token_ids = llama2.encode(text, parse_special=True)
    assert llama2.decode(token_ids, skip_special=False) == text


def test_an_unfinished_character_is_held_then_flushed(llama2: Tokenizer) -> None:
    first = llama2.encode("\U00012345", add_bos=False)[-4]
    decoder = llama2.stream_decoder(after=[first])
    assert decoder.push(first) == ""
    assert decoder.flush() == "\ufffd"
