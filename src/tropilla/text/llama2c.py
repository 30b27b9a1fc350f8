"""Read a llama2.c `tokenizer.bin`.

Layout: int32 length of the longest piece, then for each piece float32 score, int32 length, bytes; little
endian. Spaces are stored as spaces, and BOS and EOS with a line feed around them.
Source: llama2.c, tokenizer.py.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator

from tropilla.errors import FormatError
from tropilla.formats.tokenizer_source import Llama2cVocabulary, TokenKind, TokenRoles
from tropilla.text.sentencepiece_model import META_SPACE, ScoredPiece
from tropilla.text.vocabulary_file import read_vocabulary_file

UNK_ID, BOS_ID, EOS_ID = 0, 1, 2
ROLES = TokenRoles(bos_id=BOS_ID, eos_id=EOS_ID, unk_id=UNK_ID, add_bos=True)

_SPECIAL_KINDS = {UNK_ID: TokenKind.UNKNOWN, BOS_ID: TokenKind.CONTROL, EOS_ID: TokenKind.CONTROL}
_BYTE_PIECE = re.compile(r"<0x[0-9A-F]{2}>")
_HEADER = struct.Struct("<i")
_ENTRY = struct.Struct("<fi")


def read_pieces(source: Llama2cVocabulary) -> Iterator[ScoredPiece]:
    """Yield the pieces with the kinds that the file leaves out; raises FormatError for a broken file."""
    data = read_vocabulary_file(source.path)
    offset = _HEADER.size
    token_id = 0
    while offset < len(data) if source.vocab_size is None else token_id < source.vocab_size:
        if offset + _ENTRY.size > len(data):
            raise FormatError(source.path, f"ends before token {token_id}", offset)
        score, length = _ENTRY.unpack_from(data, offset)
        offset += _ENTRY.size
        if not 0 <= length <= len(data) - offset:
            raise FormatError(source.path, f"token {token_id} is said to have {length} bytes", offset)
        text = data[offset : offset + length].decode("utf-8", "replace")
        offset += length
        yield _piece(token_id, text, score)
        token_id += 1


def _piece(token_id: int, text: str, score: float) -> ScoredPiece:
    kind = _SPECIAL_KINDS.get(token_id)
    if kind is not None:
        return ScoredPiece(text.strip(), score, kind)
    is_byte = _BYTE_PIECE.fullmatch(text) is not None
    return ScoredPiece(text.replace(" ", META_SPACE), score, TokenKind.BYTE if is_byte else TokenKind.NORMAL)
