"""Hugging Face `tokenizer.json`, run by the `tokenizers` library that wrote it."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from tropilla.errors import FormatError
from tropilla.formats.tokenizer_source import TokenizersJson, TokenRoles
from tropilla.text.byte_level import spelled_bytes
from tropilla.text.sentencepiece_model import META_SPACE
from tropilla.text.vocabulary_file import read_vocabulary_file

if TYPE_CHECKING:
    from tokenizers import Tokenizer as Library

_BYTE_PIECE = re.compile(r"<0x([0-9A-F]{2})>")


class JsonVocabulary:
    """A tokenizer.json, with either way of spelling bytes: GPT-2's or SentencePiece's."""

    def __init__(self, library: Library) -> None:
        self._library = library
        # Special tokens are found before the library is asked; it takes them as ordinary characters.
        library.encode_special_tokens = True
        added = library.get_added_tokens_decoder()
        self._added = {token_id: token.content for token_id, token in added.items()}
        self.specials = {token.content: token_id for token_id, token in added.items() if token.special}
        self.vocab_size = max(library.get_vocab_size(with_added_tokens=True), *self._added, 0)
        spaced = library.encode("a b", add_special_tokens=False).tokens
        self._metaspace = any(META_SPACE in token for token in spaced)
        self.space_prefix = self._metaspace and spaced[0].startswith(META_SPACE)
        self._first_only = _take_over_first_prefix(library)
        self.space_after_special = self.space_prefix and not self._first_only

    def encode(self, text: str, at_start: bool = True, /) -> list[int]:
        """Return the ids of a text, special tokens in it taken as ordinary characters."""
        if self._first_only and at_start and not text.startswith((" ", META_SPACE)):
            text = " " + text
        token_ids: list[int] = self._library.encode(text, add_special_tokens=False).ids
        return token_ids

    def piece(self, token_id: int) -> str:
        """Return the vocabulary entry as it is stored; "" for an id without one."""
        return self._library.id_to_token(token_id) or ""

    def piece_bytes(self, token_id: int) -> bytes:
        """Return the bytes that the token stands for."""
        added = self._added.get(token_id)
        if added is not None:
            return added.encode()
        piece = self.piece(token_id)
        if not self._metaspace:
            return spelled_bytes(piece)
        byte = _BYTE_PIECE.fullmatch(piece)
        return bytes((int(byte[1], 16),)) if byte else piece.replace(META_SPACE, " ").encode()

    def bos_written_by_default(self) -> int | None:
        """Return the id that the file's own post-processor puts before every text, if any."""
        around_nothing: list[int] = self._library.encode("", add_special_tokens=True).ids
        return around_nothing[0] if around_nothing else None


def _take_over_first_prefix(library: Library) -> bool:
    """Return whether only the very first word gets a space, and if so leave that to the caller.

    The library is given the text between special tokens piece by piece, so each would look like the first.
    """
    from tokenizers import pre_tokenizers

    step = library.pre_tokenizer
    if not isinstance(step, pre_tokenizers.Metaspace) or step.prepend_scheme != "first":
        return False
    step.prepend_scheme = "never"
    library.pre_tokenizer = step
    return True


class Loaded(NamedTuple):
    """A vocabulary with the roles of its ids filled in."""

    vocabulary: JsonVocabulary
    roles: TokenRoles


def load(source: TokenizersJson) -> Loaded:
    """Load a tokenizer.json; raises FormatError where `tokenizers` would not take it."""
    from tokenizers import Tokenizer

    data = read_vocabulary_file(source.path)
    try:
        library = Tokenizer.from_buffer(data)
    except Exception as error:  # the library raises bare Exceptions
        raise FormatError(source.path, f"tokenizers refuses it: {error}") from None
    vocabulary = JsonVocabulary(library)
    return Loaded(vocabulary, _fill_roles(source.roles, vocabulary))


def _fill_roles(roles: TokenRoles, vocabulary: JsonVocabulary) -> TokenRoles:
    written = vocabulary.bos_written_by_default()
    bos_id = written if roles.bos_id is None else roles.bos_id
    add_bos = written is not None and written == bos_id if roles.add_bos is None else roles.add_bos
    return replace(roles, bos_id=bos_id, add_bos=add_bos)
