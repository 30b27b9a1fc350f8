"""Tiny models with random weights of any type, in memory, and what the reference makes of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import gguf
import numpy as np
from numpy.typing import NDArray

from tests.kernels.blocks import (
    BLOCK_SIZES,
    D_OFFSET,
    FLOAT_TYPES,
    MIN_OFFSET,
    TYPES,
    random_weights,
    set_halves,
    weights_of,
)
from tropilla.engine.executor import BLOCK_TOKENS, CPUExecutor
from tropilla.engine.scheduler import next_span
from tropilla.engine.sequence import Goal, LiveSequence
from tropilla.formats.stored import StoredTensor
from tropilla.formats.tensor_types import TensorType
from tropilla.model.config import LlamaConfig, tensor_shapes
from tropilla.model.reference import forward
from tropilla.model.weights import ModelWeights

Array = NDArray[Any]
NO_OTHERS: Mapping[str, str] = {}

CONFIG = LlamaConfig(
    dim=64, n_layers=2, n_heads=4, n_kv_heads=2, head_dim=16, ffn_dim=96, vocab_size=101, context_length=2048
)


@dataclasses.dataclass(frozen=True)
class Model:
    """A model twice: as the engine loads it, and as float64 arrays for the reference."""

    weights: ModelWeights
    tensors: Mapping[str, Array]

    @property
    def config(self) -> LlamaConfig:
        return self.weights.config


def random_model(
    config: LlamaConfig = CONFIG, type_name: str = "F32", others: Mapping[str, str] = NO_OTHERS, seed: int = 0
) -> Model:
    """Return a model whose matrices have one type, but for those that `others` names; vectors are F32."""
    rng = np.random.default_rng(seed)
    stored: dict[str, StoredTensor] = {}
    arrays: dict[str, Array] = {}
    for name, shape in tensor_shapes(config).items():
        if len(shape) == 1:
            tensor_type = "F32"
            data, values = random_vector(name, shape, rng)
        else:
            tensor_type = next((other for part, other in others.items() if part in name), type_name)
            data, values = random_matrix(tensor_type, shape, rng)
        stored[name] = StoredTensor(name, TensorType[tensor_type], shape, memoryview(data.tobytes()))
        arrays[name] = values.astype(np.float64).reshape(shape)
    return Model(ModelWeights(config, stored), arrays)


def random_vector(name: str, shape: Sequence[int], rng: np.random.Generator) -> tuple[Array, Array]:
    """Return norms around 1 and biases around 0, as bytes and as values."""
    values = rng.uniform(0.5, 1.5, shape) if "norm" in name else rng.normal(0, 0.5, shape)
    return values.astype(np.float32), values.astype(np.float32)


def random_matrix(type_name: str, shape: Sequence[int], rng: np.random.Generator) -> tuple[Array, Array]:
    """Return encoded rows and their values, scaled so that outputs are about as large as inputs."""
    n_rows, n_cols = shape
    weights = random_weights(type_name, n_rows, n_cols, rng)
    factor = float(1.5 / (np.sqrt(n_cols) * weights.values.std()))
    rows = weights.rows.copy()
    if type_name in FLOAT_TYPES:
        values = weights.values * np.float32(2.0 ** round(np.log2(factor)))  # exact in each type
        return gguf.quants.quantize(values, gguf.GGMLQuantizationType[type_name]), values
    for offset in (D_OFFSET.get(type_name, 0), MIN_OFFSET.get(type_name)):
        if offset is not None:
            set_halves(rows, type_name, offset, halves(rows, type_name, offset) * factor)
    return rows, weights_of(type_name, rows).values


def halves(rows: Array, type_name: str, offset: int) -> Array:
    """Return the f16 field at a byte offset of every block."""
    blocks = rows.reshape(-1, BLOCK_SIZES[TYPES[type_name]][1])
    return np.ascontiguousarray(blocks[:, offset : offset + 2]).view(np.float16).astype(np.float64).ravel()


def make_executor(
    model: Model, *, n_tokens: int = 256, threads: int = 2, isa: str | None = None, kv_type: str = "f16"
) -> CPUExecutor:
    """Load a model for steps of up to n_tokens, with logits for all of them."""
    return CPUExecutor(
        model.weights,
        max_tokens=n_tokens,
        max_logit_rows=n_tokens,
        n_kv_blocks=64,
        n_threads=threads,
        isa=isa,
        kv_type=kv_type,
    )


def sequence_of(token_ids: Sequence[int], first_block: int = 0) -> LiveSequence:
    """Return a sequence with blocks of its own, to be fed to an executor by hand."""
    n_blocks = -(-len(token_ids) // BLOCK_TOKENS)
    sequence = LiveSequence(
        id=first_block,
        token_ids=list(token_ids),
        n_prompt=len(token_ids),
        goal=Goal.SCORE,
        max_length=0,
    )
    # Not in order: a block's number must say nothing about its place.
    sequence.blocks = list(range(first_block, first_block + n_blocks))[::-1]
    return sequence


def read(executor: CPUExecutor, parts: Sequence[tuple[LiveSequence, int]]) -> list[Array]:
    """Compute one step with n tokens of each sequence; return each one's logits (n, V)."""
    spans = [next_span(sequence, n_tokens) for sequence, n_tokens in parts]
    total = sum(span.n_tokens for span in spans)
    assert executor.step(spans, range(total))
    rows = np.stack([executor.logits(row) for row in range(total)])
    for span in spans:
        span.sequence.n_cached += span.n_tokens
    ends = np.cumsum([span.n_tokens for span in spans])
    return np.split(rows, ends[:-1])


def read_in_chunks(executor: CPUExecutor, sequence: LiveSequence, chunk: int) -> Array:
    """Return the logits of all of a sequence's tokens, read chunk by chunk."""
    chunks = []
    while sequence.n_pending:
        chunks += read(executor, [(sequence, chunk)])
    return np.concatenate(chunks)


def quantize_rows(x: Array) -> Array:
    """Return x as the kernels read it: int8 codes with a float32 scale for each 32 columns."""
    blocks = x.astype(np.float32).reshape(*x.shape[:-1], -1, 32)
    amax = np.abs(blocks).max(axis=-1, keepdims=True)
    inverse = np.divide(np.float32(127), amax, out=np.zeros_like(amax), where=amax > 0)
    codes = np.rint(blocks * inverse)
    rounded: Array = (codes * (amax / np.float32(127))).astype(np.float64).reshape(x.shape)
    return rounded


def kept_as(kv_type: str, x: Array) -> Array:
    """Return keys or values (..., Dh) as a cache of a type gives them back."""
    if kv_type == "f16":
        return x.astype(np.float16).astype(x.dtype)
    if kv_type == "q4_0":
        turn = hadamard(x.shape[-1])
        turned_back: Array = quantized("q4_0", x @ turn) @ turn
        return turned_back
    return quantized(kv_type, x)


def hadamard(n: int) -> Array:
    """Return Sylvester's matrix of Hadamard, (n, n), n a power of two, orthonormal and its own inverse."""
    matrix: Array = np.ones((1, 1))
    while len(matrix) < n:
        matrix = np.block([[matrix, matrix], [matrix, -matrix]])
    orthonormal: Array = matrix / np.sqrt(n)
    return orthonormal


def quantized(kv_type: str, x: Array) -> Array:
    """Return x (..., Dh) rounded to codes of a type with an f16 scale for each 32."""
    blocks = x.astype(np.float32).reshape(*x.shape[:-1], -1, 32)
    extreme = np.take_along_axis(blocks, np.abs(blocks).argmax(axis=-1, keepdims=True), axis=-1)
    scale = np.abs(extreme) / np.float32(127) if kv_type == "q8_0" else extreme / np.float32(-8)
    codes = np.clip(np.rint(blocks / scale), *((-127, 127) if kv_type == "q8_0" else (-8, 7)))
    kept: Array = (codes * scale.astype(np.float16)).astype(x.dtype).reshape(x.shape)
    return kept


def expected_logits(
    model: Model, token_ids: Sequence[int], noise: np.random.Generator | None = None, kv_type: str = "f16"
) -> Array:
    """Return the reference's logits in float64, with the engine's own roundings of inputs and cache.

    noise: also change each product by a random part of what float32 arithmetic may do to it:
    sqrt(n) * u * sum |w x| (Higham and Mary 2019, theorem 2.4 with lambda = 1).
    """
    types = {name: tensor.type.name for name, tensor in model.weights.tensors.items()}
    floats = {id(array) for name, array in model.tensors.items() if types[name] in FLOAT_TYPES}

    def linear(x: Array, weight: Array) -> Array:
        if id(weight) not in floats:
            x = quantize_rows(x)
        out: Array = x @ weight.T
        if noise is not None:
            size = np.sqrt(weight.shape[1]) * 2.0**-24 * (np.abs(x) @ np.abs(weight).T)
            out = out + noise.uniform(-1, 1, out.shape) * size
        return out

    keep = partial(kept_as, kv_type)
    logits: Array = forward(model.config, model.tensors, token_ids, keep=keep, linear=linear)
    return logits


def distance(logits: Array, others: Array) -> float:
    """Return the root mean square difference over the vocabulary, of the token where it is largest."""
    return float(np.sqrt(np.mean((logits - others) ** 2, axis=-1)).max())


def rounding_bound(model: Model, token_ids: Sequence[int], expected: Array, kv_type: str = "f16") -> float:
    """Return how far float32 arithmetic may take the logits from the exact ones, as distance().

    The way from one rounding to the logits, through f16 keys and int8 inputs that may round to the
    other side, has no useful closed form. So the reference itself carries random errors of the size
    that theory allows for each product (Monte Carlo arithmetic, Parker 1997), and the engine may be
    LAMBDA times as far off as the worst of a few such runs. (With int8 inputs a code that rounds the
    other way moves all that follows, so that even good runs differ by the noise of quantization.)
    """
    runs = [expected_logits(model, token_ids, np.random.default_rng(seed), kv_type) for seed in range(6)]
    return LAMBDA * max(distance(run, expected) for run in runs)


# Products are not all that rounds: norms, exponentials, rotations and sums of residuals do too, each
# within a few u of its value.
LAMBDA = 2

# A wrong rotation, mask, head or sign moves logits by as much as they vary: far more than this share.
MISTAKE = 0.1
