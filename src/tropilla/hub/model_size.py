"""What a model takes, reckoned from its shape: file, memory, and bytes read for each token."""

from __future__ import annotations

from collections.abc import Iterator
from types import MappingProxyType
from typing import NamedTuple

from tropilla.formats.tensor_types import BLOCKS, TensorType
from tropilla.hub.catalogue import Shape

# A tokenizer's pieces, scores, kinds and merges in a GGUF file: bytes for each piece (SmolLM2's 39).
_BYTES_PER_PIECE = 40
_KV_BYTES = 2  # keys and values are kept as f16


class _Mix(NamedTuple):
    """The types of one named mix; in about half of the layers, value and down have the type `more`."""

    base: TensorType
    output: TensorType
    more: TensorType


T = TensorType
_MIXES = MappingProxyType(
    {
        "F16": _Mix(T.F16, T.F16, T.F16),
        "Q8_0": _Mix(T.Q8_0, T.Q8_0, T.Q8_0),
        "Q6_K": _Mix(T.Q6_K, T.Q6_K, T.Q6_K),
        "Q5_K_M": _Mix(T.Q5_K, T.Q6_K, T.Q6_K),
        "Q5_1": _Mix(T.Q5_1, T.Q6_K, T.Q5_1),
        "Q5_0": _Mix(T.Q5_0, T.Q6_K, T.Q5_0),
        "Q4_K_M": _Mix(T.Q4_K, T.Q6_K, T.Q6_K),
        "Q4_1": _Mix(T.Q4_1, T.Q6_K, T.Q4_1),
        "Q4_0": _Mix(T.Q4_0, T.Q6_K, T.Q4_0),
    }
)
MIXES = tuple(_MIXES)

# What llama.cpp's quantizer takes for rows that are no whole number of 256-weight blocks.
_FALLBACK = MappingProxyType({T.Q4_K: T.Q5_0, T.Q5_K: T.Q5_1, T.Q6_K: T.Q8_0})


class _Matrix(NamedTuple):
    rows: int
    columns: int
    type: TensorType

    @property
    def size_bytes(self) -> int:
        layout = BLOCKS[self.type]
        if self.columns % layout.columns:
            layout = BLOCKS[_FALLBACK.get(self.type, TensorType.F16)]
        return self.rows * self.columns * layout.bytes // layout.columns


class ModelSize(NamedTuple):
    """Bytes of a model in one type: its file, what a token reads of it, and a context's keys and values."""

    file_bytes: int
    read_bytes: int
    kv_bytes: int


def model_size(shape: Shape, mix: str, context_length: int) -> ModelSize:
    """Return what a model of that shape takes in one of MIXES, with that many tokens of context."""
    types = _MIXES[mix]
    layers = sum(matrix.size_bytes for matrix in _layers(shape, types))
    vectors = 4 * shape.n_vector_parameters  # norms and biases stay f32
    output = _Matrix(shape.vocab_size, shape.dim, types.output).size_bytes
    embedding = _Matrix(shape.vocab_size, shape.dim, types.base).size_bytes
    weights = layers + vectors + output
    file_bytes = weights + (0 if shape.tied_embeddings else embedding) + shape.vocab_size * _BYTES_PER_PIECE
    kv_bytes = 2 * _KV_BYTES * shape.n_layers * shape.n_kv_heads * shape.head_dim * context_length
    return ModelSize(file_bytes=file_bytes, read_bytes=weights, kv_bytes=kv_bytes)


def _layers(shape: Shape, types: _Mix) -> Iterator[_Matrix]:
    """Yield every matrix of every layer."""
    q_dim, kv_dim = shape.n_heads * shape.head_dim, shape.n_kv_heads * shape.head_dim
    for layer in range(shape.n_layers):
        special = types.more if gets_more_bits(layer, shape.n_layers) else types.base
        yield _Matrix(q_dim, shape.dim, types.base)
        yield _Matrix(kv_dim, shape.dim, types.base)
        yield _Matrix(kv_dim, shape.dim, special)
        yield _Matrix(shape.dim, q_dim, types.base)
        yield _Matrix(2 * shape.ffn_dim, shape.dim, types.base)
        yield _Matrix(shape.dim, shape.ffn_dim, special)


def gets_more_bits(layer: int, n_layers: int) -> bool:
    """Return whether the _M mixes give a layer's value and down matrices more bits (llama.cpp's rule)."""
    eighth = n_layers // 8
    return layer < eighth or layer >= 7 * n_layers // 8 or (layer - eighth) % 3 == 2
