"""Text to token ids and back, the same for every kind of vocabulary."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from tropilla.errors import FormatError, RequestError
from tropilla.formats.tokenizer_source import (
    GGUFVocabulary,
    Llama2cVocabulary,
    SentencePieceModel,
    TokenizersJson,
    TokenizerSource,
    TokenRoles,
)
from tropilla.text.special_tokens import Guard, SpecialTokens
from tropilla.text.stream_decoder import StreamDecoder

# Ends of a turn that files forget to name: a Llama 3 file may give <|end_of_text|> as EOS while every
# reply ends with <|eot_id|>, and generation then never stops.
END_PIECES = frozenset(
    ("</s>", "<|endoftext|>", "<|end_of_text|>", "<|eot_id|>", "<|eom_id|>", "<|im_end|>", "<|end|>")
)


class Vocabulary(Protocol):
    """Encode text that holds no special tokens, and spell out each id; one class for each library."""

    @property
    def vocab_size(self) -> int:
        """Return the number of ids."""

    @property
    def space_prefix(self) -> bool:
        """Return whether encode puts a space before a text."""

    @property
    def space_after_special(self) -> bool:
        """Return whether it also does so before text that follows a special token."""

    @property
    def specials(self) -> Mapping[str, int]:
        """Return the special tokens, text to id: those that only count where they are asked for."""

    def encode(self, text: str, at_start: bool, /) -> list[int]:
        """Return the ids of a text, special tokens in it taken as ordinary characters.

        at_start: nothing comes before the text, not even a special token.
        """

    def piece(self, token_id: int) -> str:
        """Return the vocabulary entry as it is stored."""

    def piece_bytes(self, token_id: int) -> bytes:
        """Return the bytes that the token stands for."""


class Tokenizer:
    """Encode and decode with one vocabulary and its model's rules for special tokens, BOS and EOS."""

    def __init__(self, vocabulary: Vocabulary, roles: TokenRoles) -> None:
        self._vocabulary = vocabulary
        self._special_tokens = SpecialTokens(vocabulary.specials)
        self._special_ids = frozenset(vocabulary.specials.values())
        self._add_bos = bool(roles.add_bos) and roles.bos_id is not None
        self._add_eos = bool(roles.add_eos) and roles.eos_id is not None
        self.vocab_size = vocabulary.vocab_size
        self.bos_id = roles.bos_id
        self.eos_id = roles.eos_id
        self.unk_id = roles.unk_id
        self.pad_id = roles.pad_id
        self.end_ids = _end_ids(vocabulary.specials, roles)

    @property
    def adds_bos(self) -> bool:
        """Return whether the model wants BOS before a text."""
        return self._add_bos

    @property
    def special_tokens(self) -> Mapping[str, int]:
        """Return the special tokens, text to id."""
        return self._vocabulary.specials

    def encode(
        self,
        text: str,
        *,
        add_bos: bool | None = None,
        add_eos: bool | None = False,
        parse_special: bool = False,
        guard: Guard | None = None,
    ) -> list[int]:
        """Return the token ids of a text.

        add_bos, add_eos: None follows the model's policy; BOS and EOS are never doubled.
        parse_special: take special tokens written in the text as such, but for those broken by guard.
        Raises RequestError if the text holds half of a surrogate pair, which no UTF-8 can carry.
        """
        _check_encodable(text)
        parts = self._special_tokens.split(text) if parse_special else [text] if text else []
        token_ids: list[int] = []
        for number, part in enumerate(parts):
            if isinstance(part, int):
                token_ids.append(part)
            else:
                plain = part if guard is None else guard.remove(part)
                token_ids += self._vocabulary.encode(plain, number == 0)
        return self._with_ends(
            token_ids,
            add_bos=self._add_bos if add_bos is None else add_bos,
            add_eos=self._add_eos if add_eos is None else add_eos,
        )

    def _with_ends(self, token_ids: list[int], *, add_bos: bool, add_eos: bool) -> list[int]:
        if add_bos and self.bos_id is not None and token_ids[:1] != [self.bos_id]:
            token_ids.insert(0, self.bos_id)
        if add_eos and self.eos_id is not None and token_ids[-1:] != [self.eos_id]:
            token_ids.append(self.eos_id)
        return token_ids

    def decode(self, token_ids: Iterable[int], *, skip_special: bool = True) -> str:
        """Return the text of the ids; special tokens are left out unless skip_special is False."""
        decoder = self.stream_decoder(skip_special=skip_special)
        return "".join(map(decoder.push, token_ids)) + decoder.flush()

    def stream_decoder(self, after: Sequence[int] = (), *, skip_special: bool = True) -> StreamDecoder:
        """Return a decoder for ids that arrive one at a time.

        after: the ids before them; a text that goes on from a prompt keeps its leading space.
        """
        shown = self._shown_bytes if skip_special else self.decode_bytes
        at_start = all(map(self.is_special, after)) or self._opens_fragment(after[-1])
        return StreamDecoder(shown, self._opens_fragment, at_start=self._vocabulary.space_prefix and at_start)

    def decode_bytes(self, token_id: int) -> bytes:
        """Return the bytes that one token stands for; a special token gives its own text."""
        self._check_id(token_id)
        if token_id in self._special_ids:
            return self._vocabulary.piece(token_id).encode()
        return self._vocabulary.piece_bytes(token_id)

    def is_special(self, token_id: int) -> bool:
        """Return whether the id is a special token, which is parsed and shown only where asked."""
        return token_id in self._special_ids

    def piece(self, token_id: int) -> str:
        """Return the token as the vocabulary spells it."""
        self._check_id(token_id)
        return self._vocabulary.piece(token_id)

    def _shown_bytes(self, token_id: int) -> bytes:
        return b"" if token_id in self._special_ids else self.decode_bytes(token_id)

    def _opens_fragment(self, token_id: int) -> bool:
        return self._vocabulary.space_after_special and token_id in self._special_ids

    def _check_id(self, token_id: int) -> None:
        if not 0 <= token_id < self.vocab_size:
            raise RequestError(
                f"token id {token_id} is not in the vocabulary; ids run from 0 to {self.vocab_size - 1}"
            )


def load_tokenizer(source: TokenizerSource) -> Tokenizer:
    """Build the tokenizer that a model file describes; only the library that it needs is imported.

    Raises FormatError for a broken vocabulary, UnsupportedError for a kind that is not ours.
    """
    vocabulary, roles = _load(source)
    return Tokenizer(vocabulary, _known_roles(source.path, roles, vocabulary.vocab_size))


def _load(source: TokenizerSource) -> tuple[Vocabulary, TokenRoles]:
    if isinstance(source, SentencePieceModel | Llama2cVocabulary) or (
        isinstance(source, GGUFVocabulary) and source.model == "llama"
    ):
        from tropilla.text import sentencepiece_vocabulary

        return sentencepiece_vocabulary.load(source)
    if isinstance(source, GGUFVocabulary):
        from tropilla.text import byte_level

        return byte_level.load(source)
    if isinstance(source, TokenizersJson):
        from tropilla.text import tokenizers_json

        return tokenizers_json.load(source)
    from tropilla.text import tiktoken_ranks

    return tiktoken_ranks.load(source)


def _known_roles(path: Path, roles: TokenRoles, vocab_size: int) -> TokenRoles:
    """Check the ids that go into prompts or end replies; a negative id is how configurations say "none"."""
    for token_id in (roles.bos_id, roles.eos_id, *roles.end_ids):
        if token_id is not None and token_id >= vocab_size:
            raise FormatError(path, f"gives a role to token {token_id}, but the vocabulary has {vocab_size}")

    def known(token_id: int | None) -> int | None:
        return token_id if token_id is not None and 0 <= token_id < vocab_size else None

    return replace(
        roles,
        bos_id=known(roles.bos_id),
        eos_id=known(roles.eos_id),
        unk_id=known(roles.unk_id),
        pad_id=known(roles.pad_id),
        end_ids=tuple(token_id for token_id in roles.end_ids if token_id >= 0),
    )


def _end_ids(specials: Mapping[str, int], roles: TokenRoles) -> frozenset[int]:
    named = {specials[piece] for piece in END_PIECES & specials.keys()}
    return frozenset({*roles.end_ids, *named} | ({roles.eos_id} if roles.eos_id is not None else set()))


def _check_encodable(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise RequestError(
            f"character {error.start} of the text is half of a surrogate pair; send it as one character"
        ) from None
