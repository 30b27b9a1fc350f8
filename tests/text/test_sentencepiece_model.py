"""Reading SentencePiece model files by hand, with the library as oracle."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sentencepiece import SentencePieceProcessor

from tropilla.formats.tokenizer_source import TokenKind
from tropilla.text.sentencepiece_model import ScoredPiece, decode_model, encode_model


@pytest.mark.parametrize(
    ("name", "is_bpe", "rewrites_text"),
    [
        ("llama-spm/tokenizer.model", True, False),
        ("sentencepiece/botchan_en_bpe_1000.model", True, True),
        ("sentencepiece/botchan_en_unigram_1000.model", False, True),
    ],
)
def test_real_models(real_data: Path, name: str, is_bpe: bool, rewrites_text: bool) -> None:
    data = (real_data / "tokenizers" / name).read_bytes()
    library = SentencePieceProcessor(model_proto=data)
    model = decode_model(data)
    assert (model.is_bpe, model.rewrites_text, model.dummy_prefix) == (is_bpe, rewrites_text, True)
    assert model.remove_extra_spaces is not name.startswith("llama")
    assert len(model.pieces) == library.vocab_size()
    for token_id, piece in enumerate(model.pieces):
        assert piece.text == library.id_to_piece(token_id)
        assert piece.score == library.get_score(token_id)
        assert (piece.kind == TokenKind.CONTROL) == library.is_control(token_id)
        assert (piece.kind == TokenKind.BYTE) == library.is_byte(token_id)
        assert (piece.kind == TokenKind.UNKNOWN) == library.is_unknown(token_id)


PIECES = st.builds(
    ScoredPiece, st.text(max_size=300), st.floats(width=32, allow_nan=False), st.sampled_from(TokenKind)
)


@given(st.lists(PIECES, max_size=5), st.booleans())
def test_what_is_written_is_read(pieces: list[ScoredPiece], dummy_prefix: bool) -> None:
    model = decode_model(encode_model(pieces, byte_fallback=True, dummy_prefix=dummy_prefix))
    assert model.pieces == pieces
    assert (model.is_bpe, model.dummy_prefix, model.rewrites_text) == (True, dummy_prefix, False)


@given(st.binary(max_size=100))
def test_damage_is_a_value_error(data: bytes) -> None:
    with contextlib.suppress(ValueError):
        decode_model(b"\x0a" + bytes([len(data)]) + data)
    with contextlib.suppress(ValueError):
        decode_model(data)
