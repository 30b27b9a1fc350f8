"""Byte-level BPE vocabularies (SmolLM, Llama 3, Qwen2, Tekken, GPT-2), run by the `tokenizers` library."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tropilla.errors import FormatError, UnsupportedError
from tropilla.formats.tokenizer_source import GGUFVocabulary, TokenKind, TokenRoles
from tropilla.text.vocabulary_file import vocabulary_texts

if TYPE_CHECKING:
    from tokenizers import Tokenizer as Library
    from tokenizers.pre_tokenizers import PreTokenizer


class Split(NamedTuple):
    """How a model family cuts text into words before the merges; the patterns are part of the model."""

    pattern: str | None = None  # None: GPT-2's own, built into the library
    single_digits: bool = False
    ignore_merges: bool = False  # a word that is in the vocabulary is taken whole
    normalize_nfc: bool = False
    add_bos: bool = False  # where the file does not say


_LLAMA3_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_TEKKEN_PATTERN = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
    r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
GPT2 = Split()
SMOLLM = Split(single_digits=True)
LLAMA3 = Split(_LLAMA3_PATTERN, ignore_merges=True, add_bos=True)
QWEN2 = Split(_LLAMA3_PATTERN.replace(r"\p{N}{1,3}", r"\p{N}"), normalize_nfc=True)
TEKKEN = Split(_TEKKEN_PATTERN, ignore_merges=True, add_bos=True)
SPLITS: Mapping[str, Split] = {
    "gpt-2": GPT2,
    "smollm": SMOLLM,
    "llama-bpe": LLAMA3,
    "llama3": LLAMA3,
    "llama-v3": LLAMA3,
    "qwen2": QWEN2,
    "deepseek-r1-qwen": QWEN2,
    "tekken": TEKKEN,
}

_MARKER = re.compile(r"<\|.+\|>")


class Entries(NamedTuple):
    """The parts of a byte-level vocabulary, its pieces in GPT-2's spelling.

    specials are parsed only where asked; literal ones, the user-defined, always. The library never
    hears of the specials, so that no text can become one of them behind our back.
    """

    ids: dict[str, int]
    merges: list[tuple[str, str]]
    specials: Mapping[str, int]
    literal: Mapping[str, int]
    vocab_size: int


class ByteLevelVocabulary:
    """A byte-level BPE model with added tokens, which are spelt as plain text."""

    space_prefix = False
    space_after_special = False

    def __init__(self, split: Split, entries: Entries) -> None:
        self._library = _build_library(split, entries)
        self._added = {i: text for text, i in (*entries.specials.items(), *entries.literal.items())}
        self.specials = entries.specials
        self.vocab_size = entries.vocab_size

    def encode(self, text: str, _at_start: bool = True, /) -> list[int]:
        """Return the ids of a text, special tokens in it taken as ordinary characters."""
        token_ids: list[int] = self._library.encode(text, add_special_tokens=False).ids
        return token_ids

    def piece(self, token_id: int) -> str:
        """Return the vocabulary entry as it is stored; "" for an id without one."""
        return self._added.get(token_id) or self._library.id_to_token(token_id) or ""

    def piece_bytes(self, token_id: int) -> bytes:
        """Return the bytes that the token stands for."""
        added = self._added.get(token_id)
        return spelled_bytes(self.piece(token_id)) if added is None else added.encode()


class Loaded(NamedTuple):
    """A vocabulary with the roles of its ids filled in."""

    vocabulary: ByteLevelVocabulary
    roles: TokenRoles


def load(source: GGUFVocabulary) -> Loaded:
    """Build the vocabulary of a GGUF file.

    Raises UnsupportedError naming a model or split that is not ours: a wrong split gives wrong ids
    without any other sign.
    """
    split = _split_of(source)
    try:
        vocabulary = ByteLevelVocabulary(split, _entries(source))
    except ValueError as error:
        raise FormatError(source.path, f"its vocabulary does not fit together: {error}") from None
    return Loaded(vocabulary, fill_roles(source.roles, split))


def tokenizer_json(source: GGUFVocabulary) -> str:
    """Return the vocabulary as a Hugging Face `tokenizer.json`, its special tokens and BOS rule included."""
    from tokenizers import AddedToken, decoders
    from tokenizers.processors import TemplateProcessing

    split, entries = _split_of(source), _entries(source)
    library = _build_library(split, entries._replace(ids=entries.ids | dict(entries.specials)))
    library.add_special_tokens([AddedToken(text, normalized=False) for text in entries.specials])
    library.decoder = decoders.ByteLevel()
    roles = fill_roles(source.roles, split)
    if roles.add_bos and roles.bos_id is not None:
        bos = next(text for text, token_id in entries.specials.items() if token_id == roles.bos_id)
        library.post_processor = TemplateProcessing(single=[bos, "$A"], special_tokens=[(bos, roles.bos_id)])
    text: str = library.to_str()
    return text


def fill_roles(roles: TokenRoles, split: Split) -> TokenRoles:
    """Give the family's own answer where the file does not say whether BOS is added."""
    return replace(roles, add_bos=split.add_bos if roles.add_bos is None else roles.add_bos)


def spelled_bytes(piece: str) -> bytes:
    """Return the bytes of a piece in GPT-2's spelling; a character outside it stands for itself."""
    values = _byte_of_character()
    return b"".join(
        bytes((values[character],)) if character in values else character.encode() for character in piece
    )


def spell_bytes(data: bytes) -> str:
    """Return bytes in GPT-2's spelling."""
    characters = _character_of_byte()
    return "".join([characters[byte] for byte in data])


@lru_cache(maxsize=1)
def _character_of_byte() -> str:
    """Return the character for each byte: printable Latin-1 as itself, the rest from U+0100 on.

    Source: Radford et al. 2019, the released GPT-2 encoder.
    """
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(0x100, 0x200))
    return "".join(chr(byte) if byte in printable else chr(next(others)) for byte in range(256))


@lru_cache(maxsize=1)
def _byte_of_character() -> dict[str, int]:
    return {character: byte for byte, character in enumerate(_character_of_byte())}


def _split_of(source: GGUFVocabulary) -> Split:
    if source.model != "gpt2":
        raise UnsupportedError(
            f"{source.path}: tokenizer model {source.model!r} is not supported; "
            "use a file whose tokenizer.ggml.model is 'llama' or 'gpt2'"
        )
    if source.pre is None or source.pre not in SPLITS:
        named = "no pre-tokenizer" if source.pre is None else f"pre-tokenizer {source.pre!r}"
        raise UnsupportedError(
            f"{source.path}: its vocabulary names {named} (tokenizer.ggml.pre); "
            f"supported are {', '.join(sorted(SPLITS))}; convert the model again with a newer converter"
        )
    return SPLITS[source.pre]


def _entries(source: GGUFVocabulary) -> Entries:
    if source.merges is None:
        raise FormatError(source.path, "a byte-level BPE vocabulary needs tokenizer.ggml.merges")
    pieces = vocabulary_texts(source.path, source.pieces)
    ids = dict(zip(pieces, range(len(pieces)), strict=True))
    specials, literal = _added_tokens(source, ids)
    for text in specials:
        del ids[text]
    merges = _merges(source.path, vocabulary_texts(source.path, source.merges), ids)
    return Entries(ids, merges, specials, literal, len(pieces))


def _added_tokens(source: GGUFVocabulary, ids: dict[str, int]) -> tuple[dict[str, int], dict[str, int]]:
    """Return the special and the literal tokens; a marker or an end of turn is special whatever its type."""
    roles = {source.roles.bos_id, source.roles.eos_id, *source.roles.end_ids}
    specials: dict[str, int] = {}
    literal: dict[str, int] = {}
    if source.token_types is None:
        return specials, literal
    kinds = list(source.token_types)
    for text, token_id in ids.items():
        kind = kinds[token_id]
        if kind == TokenKind.NORMAL:
            continue
        if kind in (TokenKind.CONTROL, TokenKind.UNKNOWN):
            specials[text] = token_id
        elif kind == TokenKind.USER_DEFINED:
            hidden = token_id in roles or _MARKER.fullmatch(text)
            (specials if hidden else literal)[text] = token_id
    return specials, literal


def _merges(path: Path, lines: list[str], ids: Mapping[str, int]) -> list[tuple[str, str]]:
    """Return the pairs; refuse one of or into what is no token: the library would panic, not raise."""
    merges: list[tuple[str, str]] = []
    for line in lines:
        left, _, right = line.partition(" ")
        if not (left and right and left + right in ids and left in ids and right in ids):
            raise _bad_merge(path, len(merges), line)
        merges.append((left, right))
    return merges


def _bad_merge(path: Path, number: int, line: str) -> FormatError:
    left, _, right = line.partition(" ")
    if not (left and right):
        return FormatError(path, f"merge {number} is {line!r}, expected two pieces with a space between")
    return FormatError(path, f"merge {number} joins {left!r} and {right!r}, not all of which are tokens")


def _build_library(split: Split, entries: Entries) -> Library:
    """Return the library's tokenizer; raises ValueError where it refuses the vocabulary."""
    from tokenizers import AddedToken, Tokenizer, models, normalizers

    try:
        model = models.BPE(vocab=entries.ids, merges=entries.merges, ignore_merges=split.ignore_merges)
    except Exception as error:  # the library raises bare Exceptions
        raise ValueError(str(error)) from None
    library = Tokenizer(model)
    library.pre_tokenizer = _pre_tokenizer(split)
    if split.normalize_nfc:
        library.normalizer = normalizers.NFC()
    library.add_tokens([AddedToken(text, normalized=False, special=False) for text in entries.literal])
    return library


def _pre_tokenizer(split: Split) -> PreTokenizer:
    from tokenizers import Regex, pre_tokenizers

    steps: list[PreTokenizer] = []
    if split.single_digits:
        steps.append(pre_tokenizers.Digits(individual_digits=True))
    if split.pattern is not None:
        steps.append(pre_tokenizers.Split(Regex(split.pattern), "isolated"))
    steps.append(pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=split.pattern is None))
    return pre_tokenizers.Sequence(steps)
