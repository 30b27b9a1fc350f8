"""What a model file says about its tokenizer, before any tokenizer library is loaded.

Each container stores the vocabulary in its own way; `tropilla.text` builds a tokenizer from any of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import Any, NoReturn

from tropilla.errors import FormatError
from tropilla.formats.gguf_values import GGUFArray, ValueKind

GGUF_PREFIX = "tokenizer.ggml."

# What each array may hold, the usual kind first.
_ITEM_KINDS = {
    "tokens": (ValueKind.STRING,),
    "merges": (ValueKind.STRING,),
    "scores": (ValueKind.FLOAT32,),
    "token_type": (ValueKind.INT32, ValueKind.UINT32, ValueKind.INT8, ValueKind.UINT8),
}


class TokenKind(IntEnum):
    """Name the kinds of vocabulary entries; the numbers are those of GGUF and of SentencePiece."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenRoles:
    """Say which ids play a role and what is added around a text; None means that the source is silent."""

    bos_id: int | None = None
    eos_id: int | None = None
    unk_id: int | None = None
    pad_id: int | None = None
    end_ids: tuple[int, ...] = ()  # further ids that end a turn or a message
    add_bos: bool | None = None
    add_eos: bool | None = None


@dataclass(frozen=True, kw_only=True)
class GGUFVocabulary:
    """Hold the vocabulary arrays of a GGUF file; long ones may be lazy sequences.

    model: "llama" for SentencePiece, "gpt2" for byte-level BPE; pre names the split before the merges.
    """

    path: Path
    model: str
    pieces: Sequence[str | bytes]
    pre: str | None = None
    scores: Sequence[float] | None = None
    token_types: Sequence[int] | None = None
    merges: Sequence[str | bytes] | None = None
    add_space_prefix: bool | None = None
    remove_extra_whitespaces: bool | None = None
    roles: TokenRoles = field(default_factory=TokenRoles)


@dataclass(frozen=True, kw_only=True)
class SentencePieceModel:
    """Point at a SentencePiece `tokenizer.model` (LLaMA 1 and 2, Mistral)."""

    path: Path
    added_tokens: Mapping[str, int] = field(default_factory=dict)  # specials appended after training
    roles: TokenRoles = field(default_factory=TokenRoles)


@dataclass(frozen=True, kw_only=True)
class TokenizersJson:
    """Point at a Hugging Face `tokenizer.json`; roles come from the configuration files beside it."""

    path: Path
    roles: TokenRoles = field(default_factory=TokenRoles)


@dataclass(frozen=True, kw_only=True)
class TiktokenRanks:
    """Point at a Llama 3 `tokenizer.model`: lines of base64 bytes and rank."""

    path: Path
    roles: TokenRoles = field(default_factory=TokenRoles)


@dataclass(frozen=True, kw_only=True)
class Llama2cVocabulary:
    """Point at a llama2.c `tokenizer.bin`: scored SentencePiece pieces without their kinds."""

    path: Path
    vocab_size: int | None = None  # from the checkpoint beside it; None reads to the end of the file


TokenizerSource = GGUFVocabulary | SentencePieceModel | TokenizersJson | TiktokenRanks | Llama2cVocabulary


def gguf_vocabulary(path: Path, metadata: Mapping[str, object]) -> GGUFVocabulary | None:
    """Return the vocabulary that a GGUF file's metadata describes, or None if it has none.

    Raises FormatError naming the key that is missing or of the wrong kind.
    """
    if GGUF_PREFIX + "model" not in metadata:
        return None
    keys = _Keys(path, metadata)
    model, pieces = keys.text("model"), keys.sequence("tokens")
    if model is None or pieces is None:
        raise FormatError(path, f"{GGUF_PREFIX}tokens is missing, so the file's vocabulary is unknown")
    return GGUFVocabulary(
        path=path,
        model=model,
        pieces=pieces,
        pre=keys.text("pre"),
        scores=keys.sequence("scores", len(pieces)),
        token_types=keys.sequence("token_type", len(pieces)),
        merges=keys.sequence("merges"),
        add_space_prefix=keys.flag("add_space_prefix"),
        remove_extra_whitespaces=keys.flag("remove_extra_whitespaces"),
        roles=_roles(keys, len(pieces)),
    )


def _roles(keys: _Keys, vocab_size: int) -> TokenRoles:
    ends = (keys.token_id(role, vocab_size) for role in ("eot_token_id", "eom_token_id"))
    return TokenRoles(
        bos_id=keys.token_id("bos_token_id", vocab_size),
        eos_id=keys.token_id("eos_token_id", vocab_size),
        unk_id=keys.token_id("unknown_token_id", vocab_size),
        pad_id=keys.token_id("padding_token_id", vocab_size),
        end_ids=tuple(end for end in ends if end is not None),
        add_bos=keys.flag("add_bos_token"),
        add_eos=keys.flag("add_eos_token"),
    )


class _Keys:
    """Read the tokenizer keys of GGUF metadata, each checked for its kind."""

    def __init__(self, path: Path, metadata: Mapping[str, object]) -> None:
        self._path = path
        self._metadata = metadata

    def text(self, name: str) -> str | None:
        value = self._metadata.get(GGUF_PREFIX + name)
        return value if value is None or isinstance(value, str) else self._refuse(name, value, "a text")

    def flag(self, name: str) -> bool | None:
        value = self._metadata.get(GGUF_PREFIX + name)
        return value if value is None or isinstance(value, bool) else self._refuse(name, value, "a boolean")

    def token_id(self, name: str, vocab_size: int) -> int | None:
        value = self._metadata.get(GGUF_PREFIX + name)
        if value is None:
            return None
        if not isinstance(value, int) or isinstance(value, bool):
            return self._refuse(name, value, "a token id")
        # Converters write 2**32 - 1 or -1 for "no such token".
        return value if 0 <= value < vocab_size else None

    def sequence(self, name: str, length: int | None = None) -> Sequence[Any] | None:
        """Return an array of the items that its name calls for; Any, because those differ."""
        value = self._metadata.get(GGUF_PREFIX + name)
        if value is None:
            return None
        if not isinstance(value, Sequence) or isinstance(value, str | bytes):
            return self._refuse(name, value, "an array")
        if isinstance(value, GGUFArray) and value.kind not in _ITEM_KINDS[name]:
            return self._refuse(name, value, f"an array of {_ITEM_KINDS[name][0].name}")
        if length is not None and len(value) != length:
            return self._refuse(name, f"{len(value)} entries", f"{length}, one for each token")
        return value

    def _refuse(self, name: str, value: object, expected: str) -> NoReturn:
        raise FormatError(self._path, f"{GGUF_PREFIX}{name} is {str(value)[:80]!r}, expected {expected}")
