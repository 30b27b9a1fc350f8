"""Turn any tokenizer source into the arrays that a GGUF file holds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from tropilla.errors import FormatError, UnsupportedError
from tropilla.formats.tokenizer_source import (
    GGUF_PREFIX,
    GGUFVocabulary,
    Llama2cVocabulary,
    SentencePieceModel,
    TiktokenRanks,
    TokenizersJson,
    TokenizerSource,
    TokenKind,
    TokenRoles,
)
from tropilla.quant.json_vocabulary import from_json
from tropilla.text.sentencepiece_model import ScoredPiece, decode_model
from tropilla.text.sentencepiece_vocabulary import model_bytes
from tropilla.text.tiktoken_ranks import read_entries
from tropilla.text.tokenizer import load_tokenizer


def gguf_vocabulary_of(source: TokenizerSource, vocab_size: int) -> GGUFVocabulary:
    """Return the source as GGUF arrays of vocab_size entries, with every role's id filled in.

    Raises UnsupportedError for a tokenizer that a GGUF file cannot state.
    """
    if isinstance(source, GGUFVocabulary):
        return source
    if isinstance(source, TiktokenRanks):
        vocabulary = _from_ranks(source)
    elif isinstance(source, TokenizersJson):
        vocabulary = from_json(source)
    else:
        vocabulary = _from_sentencepiece(source)
    return _padded(replace(vocabulary, roles=_roles(source, vocabulary)), vocab_size)


def vocabulary_metadata(vocabulary: GGUFVocabulary) -> dict[str, object]:
    """Return the GGUF keys of a vocabulary."""
    roles = vocabulary.roles
    ends = [token_id for token_id in roles.end_ids if token_id != roles.eos_id]
    keys: dict[str, object] = {
        "model": vocabulary.model,
        "pre": vocabulary.pre,
        "tokens": vocabulary.pieces,
        "scores": vocabulary.scores,
        "token_type": vocabulary.token_types,
        "merges": vocabulary.merges,
        "bos_token_id": roles.bos_id,
        "eos_token_id": roles.eos_id,
        "eot_token_id": next(iter(ends), None),
        "unknown_token_id": roles.unk_id,
        "padding_token_id": roles.pad_id,
        "add_bos_token": roles.add_bos,
        "add_eos_token": roles.add_eos,
        "add_space_prefix": vocabulary.add_space_prefix,
        "remove_extra_whitespaces": vocabulary.remove_extra_whitespaces,
    }
    return {GGUF_PREFIX + key: value for key, value in keys.items() if value is not None}


def _roles(source: TokenizerSource, vocabulary: GGUFVocabulary) -> TokenRoles:
    """Return the roles as the loaded tokenizer has them, defaults of its family included."""
    tokenizer = load_tokenizer(source)
    kinds = vocabulary.token_types or ()
    unknown = next((i for i, kind in enumerate(kinds) if kind == TokenKind.UNKNOWN), None)
    return TokenRoles(
        bos_id=tokenizer.bos_id,
        eos_id=tokenizer.eos_id,
        unk_id=unknown if tokenizer.unk_id is None else tokenizer.unk_id,
        pad_id=tokenizer.pad_id,
        end_ids=tuple(sorted(tokenizer.end_ids)),
        add_bos=tokenizer.adds_bos,
        add_eos=None if isinstance(source, Llama2cVocabulary) else source.roles.add_eos,
    )


def _from_sentencepiece(source: SentencePieceModel | Llama2cVocabulary) -> GGUFVocabulary:
    try:
        model = decode_model(model_bytes(source))
    except ValueError as error:
        raise FormatError(source.path, f"is no SentencePiece model: {error}") from None
    if not model.is_bpe or model.rewrites_text:
        raise UnsupportedError(f"{source.path}: only SentencePiece BPE without normalization fits in GGUF")
    pieces = dict(enumerate(model.pieces))
    if isinstance(source, SentencePieceModel):
        pieces |= {i: ScoredPiece(text, 0.0, TokenKind.CONTROL) for text, i in source.added_tokens.items()}
    entries = list(_filled(pieces))
    return GGUFVocabulary(
        path=source.path,
        model="llama",
        pre="default",
        pieces=[entry.text for entry in entries],
        scores=[entry.score for entry in entries],
        token_types=[int(entry.kind) for entry in entries],
        add_space_prefix=model.dummy_prefix,
        remove_extra_whitespaces=model.remove_extra_spaces,
    )


def _from_ranks(source: TiktokenRanks) -> GGUFVocabulary:
    entries = read_entries(source)
    normal = {i: ScoredPiece(text, 0.0, TokenKind.NORMAL) for text, i in entries.ids.items()}
    special = {i: ScoredPiece(text, 0.0, TokenKind.CONTROL) for text, i in entries.specials.items()}
    pieces = list(_filled(normal | special))
    return GGUFVocabulary(
        path=source.path,
        model="gpt2",
        pre="llama-bpe",
        pieces=[piece.text for piece in pieces],
        token_types=[int(piece.kind) for piece in pieces],
        merges=[" ".join(pair) for pair in entries.merges],
    )


def _filled(pieces: Mapping[int, ScoredPiece]) -> Iterable[ScoredPiece]:
    """Yield an entry for every id up to the largest, unused ones where pieces has none."""
    return (pieces.get(i) or _unused(i) for i in range(max(pieces, default=-1) + 1))


def _unused(token_id: int) -> ScoredPiece:
    """Return the entry for an id without a token, such as models whose vocabulary is rounded up have."""
    return ScoredPiece(f"[PAD{token_id}]", 0.0, TokenKind.UNUSED)


def _padded(vocabulary: GGUFVocabulary, vocab_size: int) -> GGUFVocabulary:
    """Fill up to the model's number of ids; raises FormatError if the tokenizer has more than the model."""
    size = len(vocabulary.pieces)
    if size > vocab_size:
        raise FormatError(vocabulary.path, f"has {size} tokens, but the model only {vocab_size}")
    unused = [_unused(i) for i in range(size, vocab_size)]
    scores, kinds = vocabulary.scores, vocabulary.token_types
    return replace(
        vocabulary,
        pieces=[*vocabulary.pieces, *(entry.text for entry in unused)],
        scores=None if scores is None else [*scores, *(entry.score for entry in unused)],
        token_types=None if kinds is None else [*kinds, *(int(entry.kind) for entry in unused)],
    )
