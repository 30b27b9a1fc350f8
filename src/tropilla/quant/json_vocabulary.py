"""Take a Hugging Face `tokenizer.json` apart into the arrays that a GGUF file holds."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from tropilla.errors import UnsupportedError
from tropilla.formats.json_file import MAX_VOCABULARY_BYTES, read_json_object
from tropilla.formats.tokenizer_source import GGUFVocabulary, TokenizersJson, TokenKind
from tropilla.text.byte_level import SPLITS
from tropilla.text.sentencepiece_model import META_SPACE, ScoredPiece

_BYTE_PIECE = re.compile(r"<0x[0-9A-F]{2}>")
Json = Any  # the content of a file that `tokenizers` has accepted, so its shape is known


def from_json(source: TokenizersJson) -> GGUFVocabulary:
    """Return the vocabulary, roles left out; raises UnsupportedError if GGUF cannot state it."""
    content: Json = read_json_object(source.path, at_most=MAX_VOCABULARY_BYTES)
    model = content["model"]
    if model.get("type", "BPE") != "BPE":
        raise UnsupportedError(f"{source.path}: a {model['type']} vocabulary does not fit in GGUF; BPE does")
    pairs = [tuple(merge.split(" ") if isinstance(merge, str) else merge) for merge in model["merges"]]
    if model.get("byte_fallback"):
        scores = _scores(pairs)
        entries = list(_entries(content, scores))
        return GGUFVocabulary(
            path=source.path,
            model="llama",
            pre="default",
            pieces=[entry.text for entry in entries],
            scores=[entry.score for entry in entries],
            token_types=[int(entry.kind) for entry in entries],
            add_space_prefix=_adds_space(content),
        )
    entries = list(_entries(content, {}))
    return GGUFVocabulary(
        path=source.path,
        model="gpt2",
        pre=_split_name(source, content),
        pieces=[entry.text for entry in entries],
        token_types=[int(entry.kind) for entry in entries],
        merges=[" ".join(pair) for pair in pairs],
    )


def _scores(pairs: list[tuple[str, ...]]) -> dict[str, float]:
    """Rebuild SentencePiece's scores: a piece that is merged earlier scores higher."""
    return {left + right: -float(rank) for rank, (left, right) in reversed(list(enumerate(pairs)))}


def _entries(content: Json, scores: Mapping[str, float]) -> Iterator[ScoredPiece]:
    """Yield an entry for each id; single characters score below all merges, as SentencePiece has it."""
    texts = {token_id: text for text, token_id in content["model"]["vocab"].items()}
    added = {token["id"]: token for token in content.get("added_tokens") or []}
    unknown = content["model"].get("unk_token") or "<unk>"  # files with bytes to fall back on may not say
    lowest = -float(len(scores))
    for token_id in range(max([*texts, *added]) + 1):
        text = added[token_id]["content"] if token_id in added else texts.get(token_id)
        if text is None:
            yield ScoredPiece(f"[PAD{token_id}]", 0.0, TokenKind.UNUSED)
        elif text == unknown:
            yield ScoredPiece(text, 0.0, TokenKind.UNKNOWN)
        elif token_id in added:
            kind = TokenKind.CONTROL if added[token_id]["special"] else TokenKind.USER_DEFINED
            yield ScoredPiece(text, 0.0, kind)
        elif scores and _BYTE_PIECE.fullmatch(text):
            yield ScoredPiece(text, 0.0, TokenKind.BYTE)
        else:
            yield ScoredPiece(text, scores.get(text, lowest) if scores else 0.0, TokenKind.NORMAL)


def _adds_space(content: Json) -> bool:
    """Return whether a space is put before a text, by either of the two steps that can do it."""
    normalizer, splitter = content.get("normalizer") or {}, content.get("pre_tokenizer") or {}
    steps = normalizer.get("normalizers", [normalizer])
    prepends = any(step.get("type") == "Prepend" and step.get("prepend") == META_SPACE for step in steps)
    return prepends or splitter.get("prepend_scheme", "never") != "never"


def _split_name(source: TokenizersJson, content: Json) -> str:
    """Return GGUF's name for how the file cuts text into words; a wrong one would give wrong ids silently."""
    step = content.get("pre_tokenizer") or {}
    steps = {inner.get("type"): inner for inner in step.get("pretokenizers", [step])}
    pattern = steps.get("Split", {}).get("pattern", {}).get("Regex")
    digits = bool(steps.get("Digits", {}).get("individual_digits"))
    known = "ByteLevel" in steps and set(steps) <= {"ByteLevel", "Split", "Digits"}
    for name, split in SPLITS.items():
        if known and (split.pattern, split.single_digits) == (pattern, digits):
            return name
    raise UnsupportedError(f"{source.path}: GGUF has no name that Tropilla knows for how it splits words")
