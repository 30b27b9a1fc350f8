"""Write and read a SentencePiece ModelProto by hand: the protobuf fields that a scored BPE vocabulary needs.

Source: sentencepiece_model.proto of the SentencePiece project (field numbers are its wire format).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from tropilla.formats.tokenizer_source import TokenKind

META_SPACE = "\u2581"

_VARINT, _BYTES, _FLOAT = 0, 2, 5
_MODEL_PIECES, _MODEL_TRAINER, _MODEL_NORMALIZER = 1, 2, 3
_PIECE_TEXT, _PIECE_SCORE, _PIECE_KIND = 1, 2, 3
_TRAINER_MODEL_TYPE, _TRAINER_BYTE_FALLBACK, _TRAINER_UNK_ID = 3, 35, 40
_NORMALIZER_NAME, _NORMALIZER_CHARSMAP, _NORMALIZER_DUMMY_PREFIX, _NORMALIZER_EXTRA_SPACES = 1, 2, 3, 4
_BPE = 2


class ScoredPiece(NamedTuple):
    """One vocabulary entry; its id is its position."""

    text: str
    score: float
    kind: int


def encode_model(pieces: Iterable[ScoredPiece], *, byte_fallback: bool, dummy_prefix: bool) -> bytes:
    """Return the serialized model of a BPE vocabulary that leaves its text as it is.

    dummy_prefix: put a space before every text, as LLaMA does.
    """
    trainer = _number(_TRAINER_MODEL_TYPE, _BPE) + _number(_TRAINER_BYTE_FALLBACK, byte_fallback)
    normalizer = (
        _field(_NORMALIZER_NAME, b"identity")
        + _number(_NORMALIZER_DUMMY_PREFIX, dummy_prefix)
        + _number(_NORMALIZER_EXTRA_SPACES, False)
    )
    entries = bytearray()
    unk_id = 0
    for token_id, piece in enumerate(pieces):
        entries += _field(_MODEL_PIECES, _encode_piece(piece))
        if piece.kind == TokenKind.UNKNOWN:
            unk_id = token_id
    trainer += _number(_TRAINER_UNK_ID, unk_id)
    return bytes(entries) + _field(_MODEL_TRAINER, trainer) + _field(_MODEL_NORMALIZER, normalizer)


class DecodedModel(NamedTuple):
    """What a model file says; rewrites_text: it normalises more than spaces."""

    pieces: list[ScoredPiece]
    is_bpe: bool
    dummy_prefix: bool
    remove_extra_spaces: bool
    rewrites_text: bool


def decode_model(data: bytes) -> DecodedModel:
    """Read a serialized model; raises ValueError if it is damaged."""
    fields = list(_fields(data))
    trainer = dict(_fields(b"".join(part for number, part in fields if number == _MODEL_TRAINER)))
    normalizer = dict(_fields(b"".join(part for number, part in fields if number == _MODEL_NORMALIZER)))
    return DecodedModel(
        pieces=[_decode_piece(part) for number, part in fields if number == _MODEL_PIECES],
        is_bpe=trainer.get(_TRAINER_MODEL_TYPE) == _varint(_BPE),
        dummy_prefix=normalizer.get(_NORMALIZER_DUMMY_PREFIX) != _varint(False),
        remove_extra_spaces=normalizer.get(_NORMALIZER_EXTRA_SPACES) != _varint(False),
        rewrites_text=bool(normalizer.get(_NORMALIZER_CHARSMAP)),
    )


def _decode_piece(data: bytes) -> ScoredPiece:
    fields = dict(_fields(data))
    score = fields.get(_PIECE_SCORE, bytes(4))
    if len(score) != 4:
        raise ValueError(f"a score takes 4 bytes, not {len(score)}")
    kind, _ = _read_varint(fields.get(_PIECE_KIND, _varint(TokenKind.NORMAL)), 0)
    return ScoredPiece(fields.get(_PIECE_TEXT, b"").decode(), struct.unpack("<f", score)[0], kind)


def _fields(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the number and the encoded value of each field of a message."""
    at = 0
    while at < len(data):
        tag, at = _read_varint(data, at)
        start = at
        match tag & 7:
            case 0:
                _, at = _read_varint(data, at)
            case 1:
                at += 8
            case 2:
                length, start = _read_varint(data, at)
                at = start + length
            case 5:
                at += 4
            case wire_type:
                raise ValueError(f"wire type {wire_type} at byte {start}")
        if at > len(data):
            raise ValueError(f"a field of {at - start} bytes at byte {start} leaves its message")
        yield tag >> 3, data[start:at]


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(data) and shift < 70:
        value |= (data[at] & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if data[at - 1] < 0x80:
            return value, at
    raise ValueError(f"a number at byte {at} has no end")


def _encode_piece(piece: ScoredPiece) -> bytes:
    score = _tag(_PIECE_SCORE, _FLOAT) + struct.pack("<f", piece.score)
    return _field(_PIECE_TEXT, piece.text.encode()) + score + _number(_PIECE_KIND, piece.kind)


def _field(number: int, data: bytes) -> bytes:
    return _tag(number, _BYTES) + _varint(len(data)) + data


def _number(number: int, value: int) -> bytes:
    return _tag(number, _VARINT) + _varint(value)


def _tag(number: int, wire_type: int) -> bytes:
    return _varint(number << 3 | wire_type)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
