"""SentencePiece vocabularies (LLaMA 1 and 2, Mistral), run by the `sentencepiece` library."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tropilla.errors import FormatError
from tropilla.formats.tokenizer_source import (
    GGUFVocabulary,
    Llama2cVocabulary,
    SentencePieceModel,
    TokenKind,
    TokenRoles,
)
from tropilla.text import llama2c
from tropilla.text.sentencepiece_model import META_SPACE, ScoredPiece, encode_model
from tropilla.text.vocabulary_file import read_vocabulary_file, vocabulary_text

if TYPE_CHECKING:
    from sentencepiece import SentencePieceProcessor

_BYTE_PIECE = re.compile(r"<0x([0-9A-F]{2})>")
# A marker such as <|prompter|> that a converter stored as user-defined is a special token all the same:
# otherwise any user could write it.
_MARKER = re.compile(r"<\|.+\|>")
_UNKNOWN_BYTES = " \u2047 ".encode()  # what sentencepiece itself shows for an unknown piece


class SentencePieceVocabulary:
    """A loaded SentencePiece model, with any special tokens that were appended after its training."""

    def __init__(
        self, processor: SentencePieceProcessor, specials: Mapping[str, int], added: Mapping[str, int]
    ) -> None:
        self._processor = processor
        self._added = {token_id: piece for piece, token_id in added.items()}
        self.specials = {**specials, **added}
        self.vocab_size = max([processor.vocab_size() - 1, *self._added]) + 1
        self.space_prefix = "".join(processor.encode("a", out_type=str)).startswith(META_SPACE)
        # LLaMA was trained on texts encoded one by one, so each stretch between special tokens gets one.
        self.space_after_special = self.space_prefix

    def encode(self, text: str, _at_start: bool = True, /) -> list[int]:
        """Return the ids of a text, special tokens in it taken as ordinary characters."""
        token_ids: list[int] = self._processor.encode(text)
        return token_ids

    def piece(self, token_id: int) -> str:
        """Return the vocabulary entry as it is stored."""
        if token_id in self._added or token_id >= self._processor.vocab_size():
            return self._added.get(token_id, "")
        piece: str = self._processor.id_to_piece(token_id)
        return piece

    def piece_bytes(self, token_id: int) -> bytes:
        """Return the bytes that the token stands for."""
        piece = self.piece(token_id)
        if token_id < self._processor.vocab_size():
            if self._processor.is_byte(token_id):
                return bytes([int(piece[3:5], 16)])
            if self._processor.is_unknown(token_id):
                return _UNKNOWN_BYTES
        return piece.replace(META_SPACE, " ").encode()


class Loaded(NamedTuple):
    """A vocabulary with the roles of its ids filled in."""

    vocabulary: SentencePieceVocabulary
    roles: TokenRoles


def load(source: GGUFVocabulary | SentencePieceModel | Llama2cVocabulary) -> Loaded:
    """Load a vocabulary; raises FormatError where `sentencepiece` would not take it."""
    roles = llama2c.ROLES if isinstance(source, Llama2cVocabulary) else source.roles
    added = source.added_tokens if isinstance(source, SentencePieceModel) else None
    return _load(source.path, model_bytes(source), roles, added)


def model_bytes(source: GGUFVocabulary | SentencePieceModel | Llama2cVocabulary) -> bytes:
    """Return the vocabulary as a serialized SentencePiece model; raises FormatError if it cannot be one."""
    if isinstance(source, SentencePieceModel):
        return read_vocabulary_file(source.path)
    if isinstance(source, Llama2cVocabulary):
        return _model_of(source.path, list(llama2c.read_pieces(source)), dummy_prefix=True)
    dummy_prefix = source.add_space_prefix is not False
    return _model_of(source.path, _gguf_pieces(source), dummy_prefix)


def _load(path: Path, model: bytes, roles: TokenRoles, added: Mapping[str, int] | None = None) -> Loaded:
    from sentencepiece import SentencePieceProcessor

    try:
        processor = SentencePieceProcessor(model_proto=model)
        pieces = processor.id_to_piece(list(range(processor.vocab_size())))
    # Pieces that are not UTF-8 reach Python as they are, and so do the library's words about them.
    except (RuntimeError, UnicodeDecodeError) as error:
        raise FormatError(path, f"sentencepiece refuses the vocabulary: {error}") from None
    specials = {piece: token_id for token_id, piece in enumerate(pieces) if processor.is_control(token_id)}
    return Loaded(SentencePieceVocabulary(processor, specials, added or {}), _fill_roles(roles, specials))


def _fill_roles(roles: TokenRoles, specials: Mapping[str, int]) -> TokenRoles:
    """Give LLaMA's own answers where the file is silent: <s> before a text, </s> after a reply."""
    return replace(
        roles,
        bos_id=specials.get("<s>") if roles.bos_id is None else roles.bos_id,
        eos_id=specials.get("</s>") if roles.eos_id is None else roles.eos_id,
        add_bos=roles.add_bos is not False,
    )


def _model_of(path: Path, pieces: list[ScoredPiece], dummy_prefix: bool) -> bytes:
    if not any(piece.kind == TokenKind.UNKNOWN for piece in pieces):
        raise FormatError(path, "the vocabulary has no unknown token (type 2), which SentencePiece needs")
    n_bytes = sum(piece.kind == TokenKind.BYTE for piece in pieces)
    return encode_model(pieces, byte_fallback=n_bytes == 256, dummy_prefix=dummy_prefix)


def _gguf_pieces(source: GGUFVocabulary) -> list[ScoredPiece]:
    if source.scores is None or source.token_types is None:
        missing = "scores" if source.scores is None else "token_type"
        raise FormatError(source.path, f"a SentencePiece vocabulary needs tokenizer.ggml.{missing}")
    return list(_with_one_unknown(source))


def _with_one_unknown(source: GGUFVocabulary) -> Iterator[ScoredPiece]:
    assert source.scores is not None
    assert source.token_types is not None
    unknown_seen = False
    roles = {source.roles.bos_id, source.roles.eos_id, *source.roles.end_ids}
    rows = zip(source.pieces, source.scores, source.token_types, strict=True)
    for token_id, (piece, score, kind) in enumerate(rows):
        text = vocabulary_text(source.path, piece)
        if kind == TokenKind.UNKNOWN:
            kind = TokenKind.UNUSED if unknown_seen else kind
            unknown_seen = True
        elif kind == TokenKind.USER_DEFINED and (token_id in roles or _MARKER.fullmatch(text)):
            kind = TokenKind.CONTROL
        elif kind == TokenKind.BYTE and not _BYTE_PIECE.fullmatch(text):
            raise FormatError(source.path, f"token {token_id} is {text!r}, expected a byte such as '<0x0A>'")
        elif not 0 <= kind <= max(TokenKind):  # 0 is llama.cpp's word for a type that nobody said
            raise FormatError(source.path, f"token {token_id} is of type {kind}, expected one of 1 to 6")
        yield ScoredPiece(text if kind == TokenKind.CONTROL else text.replace(" ", META_SPACE), score, kind)
