"""A vocabulary out of a broken or hostile file loads or is refused; it never crashes or fails otherwise."""

from __future__ import annotations

import math
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.text.test_tokenizer import BYTE_LEVEL, BYTE_PIECES, SENTENCEPIECE
from tropilla.errors import TropillaError
from tropilla.formats.tokenizer_source import GGUFVocabulary, TokenRoles
from tropilla.text.tokenizer import load_tokenizer

TEXT = "a <|im_end|>ab \x00é"

ODD_PIECES = st.one_of(
    st.text(max_size=6),
    st.binary(max_size=4),
    st.sampled_from(["", " ", "▁", "<0x41>", "<0xZZ>", "<unk>", "\x00", "a" * 5_000, "<|x|>", "Ġ"]),
)
SCORES = st.sampled_from([0.0, -1.0, math.nan, math.inf, -math.inf, 3.4e38])
KINDS = st.one_of(st.integers(1, 6), st.sampled_from([0, -1, 7, 2**31, -(2**63)]))
Place = tuple[int, str | bytes, float, int]
PLACES = st.lists(st.tuples(st.integers(0, 262), ODD_PIECES, SCORES, KINDS), max_size=6)


def try_to_use(source: GGUFVocabulary) -> None:
    try:
        tokenizer = load_tokenizer(source)
    except TropillaError:
        return
    for parse_special in (False, True):
        token_ids = tokenizer.encode(TEXT, parse_special=parse_special)
        assert all(0 <= token_id < tokenizer.vocab_size for token_id in token_ids)
        tokenizer.decode(token_ids)


def mutated(source: GGUFVocabulary, places: list[Place]) -> GGUFVocabulary:
    pieces, types = list(source.pieces), list(source.token_types or ())
    scores = list(source.scores or [0.0] * len(pieces))
    for at, piece, score, kind in places:
        index = at % len(pieces)
        pieces[index], scores[index], types[index] = piece, score, kind
    has_scores = source.scores is not None
    return replace(source, pieces=pieces, token_types=types, scores=scores if has_scores else None)


@settings(max_examples=150, deadline=None)
@given(places=PLACES)
def test_sentencepiece_entries(places: list[Place]) -> None:
    try_to_use(mutated(SENTENCEPIECE, places))


@settings(max_examples=150, deadline=None)
@given(places=PLACES)
def test_byte_level_entries(places: list[Place]) -> None:
    try_to_use(mutated(BYTE_LEVEL, places))


@settings(max_examples=150, deadline=None)
@given(
    merges=st.lists(
        st.one_of(
            st.sampled_from(["a b", "b a", "ab ab", "a", " ", "a  b", "a b c", b"\xff \xff"]), ODD_PIECES
        ),
        max_size=6,
    ),
    pre=st.sampled_from(["gpt-2", "smollm", "llama-bpe", "qwen2"]),
    ids=st.lists(st.integers(-1, 300), min_size=3, max_size=3),
)
def test_merges_and_roles(merges: list[str | bytes], pre: str, ids: list[int]) -> None:
    roles = TokenRoles(bos_id=ids[0], eos_id=ids[1], end_ids=(ids[2],), add_bos=False)
    try_to_use(replace(BYTE_LEVEL, merges=merges, pre=pre, roles=roles))


def test_a_word_that_spells_a_special_token_stays_a_word() -> None:
    """Llama 3 takes whole words from the vocabulary; a special token named like a word must not be one."""
    pieces = ["stop", *BYTE_PIECES]
    source = replace(BYTE_LEVEL, pre="llama-bpe", pieces=pieces, token_types=[3, *[1] * 256], merges=[])
    tokenizer = load_tokenizer(replace(source, roles=TokenRoles()))
    assert 0 not in tokenizer.encode("stop")
    assert tokenizer.encode("stop", parse_special=True) == [0]
