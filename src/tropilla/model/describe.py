"""Say what a model file is and what it will need, without reading its weights."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from tropilla.formats.checkpoint import Checkpoint, open_checkpoint
from tropilla.formats.tensor_types import tensor_bytes
from tropilla.formats.tokenizer_source import (
    GGUFVocabulary,
    Llama2cVocabulary,
    SentencePieceModel,
    TiktokenRanks,
    TokenizersJson,
    TokenizerSource,
)
from tropilla.model.config import LlamaConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class TypeShare:
    """Count the tensors of one type, their weights and bytes."""

    tensors: int
    weights: int
    size_bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelDescription:
    """Describe a model file or folder."""

    path: str
    format: str
    architecture: str
    name: str | None
    licence: str | None
    config: LlamaConfig
    types: Mapping[str, TypeShare]  # by the type's name, the largest first
    tokenizer: str | None  # in words; None if the file brings none
    chat_template: str | None

    @property
    def n_parameters(self) -> int:
        """Return the number of weights."""
        return sum(share.weights for share in self.types.values())

    @property
    def weights_bytes(self) -> int:
        """Return the size of the weights as they are stored."""
        return sum(share.size_bytes for share in self.types.values())

    @property
    def bits_per_weight(self) -> float:
        """Return how many bits a weight takes on average, scales included."""
        return 8 * self.weights_bytes / self.n_parameters

    def memory_bytes(self, context_length: int) -> int:
        """Return what the weights and the keys and values of so many tokens take, in bytes."""
        return self.weights_bytes + context_length * self.config.kv_bytes_per_token()


def describe(path: str | os.PathLike[str]) -> ModelDescription:
    """Open a model just far enough to describe it; raises what `open_checkpoint` raises."""
    with open_checkpoint(path) as checkpoint:
        config = LlamaConfig.from_hyperparameters(checkpoint.hyperparameters, path=checkpoint.name)
        name, licence = (checkpoint.metadata.get(key) for key in ("name", "license"))
        return ModelDescription(
            path=checkpoint.name,
            format=checkpoint.format,
            architecture=checkpoint.architecture,
            name=name if isinstance(name, str) else None,
            licence=licence if isinstance(licence, str) else None,
            config=config,
            types=_types(checkpoint),
            tokenizer=None if checkpoint.tokenizer is None else _tokenizer_words(checkpoint.tokenizer),
            chat_template=checkpoint.chat_template,
        )


def _types(checkpoint: Checkpoint) -> dict[str, TypeShare]:
    tensors: Counter[str] = Counter()
    weights: Counter[str] = Counter()
    size_bytes: Counter[str] = Counter()
    for layout in checkpoint.tensors.layouts.values():
        tensors[layout.type.name] += 1
        weights[layout.type.name] += layout.n_weights
        size_bytes[layout.type.name] += tensor_bytes(layout.type, layout.shape)
    return {
        name: TypeShare(tensors=tensors[name], weights=weights[name], size_bytes=size)
        for name, size in size_bytes.most_common()
    }


def _tokenizer_words(source: TokenizerSource) -> str:
    match source:
        case GGUFVocabulary(model="llama"):
            return f"SentencePiece BPE, {len(source.pieces)} tokens"
        case GGUFVocabulary(model="gpt2"):
            return f"byte-level BPE ({source.pre}), {len(source.pieces)} tokens"
        case GGUFVocabulary():
            return f"{source.model}, {len(source.pieces)} tokens"
        case SentencePieceModel():
            return f"SentencePiece, {source.path.name}"
        case TiktokenRanks():
            return f"Llama 3 ranks, {source.path.name}"
        case TokenizersJson():
            return f"tokenizers library, {source.path.name}"
        case Llama2cVocabulary():
            return f"SentencePiece BPE as llama2.c stores it, {source.path.name}"
