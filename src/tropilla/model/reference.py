"""The definition of the model: the LLaMA forward pass in NumPy, for tests and for readers.

Shape letters: T tokens, D dim, H heads, K kv heads, G = H / K, Dh head_dim, V vocab.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from tropilla.model.config import LlamaConfig, RopeTable, rope_table

Array = NDArray[Any]  # Any: float32 or float64, as the caller asks
Linear = Callable[[Array, Array], Array]


def forward(
    config: LlamaConfig,
    tensors: Mapping[str, Array],
    token_ids: Sequence[int],
    *,
    dtype: DTypeLike = np.float64,
    keep: Callable[[Array], Array] | None = None,
    linear: Linear | None = None,
) -> Array:
    """Return the logits (T, V) of one sequence that starts at position 0.

    keep: rounds keys and values, (T, K, Dh), as an engine's cache does.
    linear: replaces x (T, in), weight (out, in) -> (T, out), to study quantized activations.
    """
    apply = linear if linear is not None else plain_linear
    weights = {name: np.asarray(tensor, dtype) for name, tensor in tensors.items()}
    factors = tensors.get("rope_freqs.weight")
    table = rope_table(config, None if factors is None else tuple(float(f) for f in factors))
    x = weights["token_embd.weight"][np.asarray(token_ids)]  # (T, D)
    for layer in range(config.n_layers):
        prefix = f"blk.{layer}."
        w = {name.removeprefix(prefix): t for name, t in weights.items() if name.startswith(prefix)}
        x = x + attention(config, w, rms_norm(x, w["attn_norm.weight"], config.norm_eps), table, keep, apply)
        x = x + feed_forward(w, rms_norm(x, w["ffn_norm.weight"], config.norm_eps), apply)
    x = rms_norm(x, weights["output_norm.weight"], config.norm_eps)
    return apply(x, weights.get("output.weight", weights["token_embd.weight"]))


def attention(
    config: LlamaConfig,
    w: Mapping[str, Array],
    x: Array,
    table: RopeTable,
    keep: Callable[[Array], Array] | None,
    linear: Linear,
) -> Array:
    """Return grouped-query causal attention of x (T, D) over itself, (T, D)."""
    T, K, Dh = len(x), config.n_kv_heads, config.head_dim
    q: Array = (linear(x, w["attn_q.weight"]) + w.get("attn_q.bias", 0)).reshape(T, -1, Dh)  # (T, H, Dh)
    k = (linear(x, w["attn_k.weight"]) + w.get("attn_k.bias", 0)).reshape(T, K, Dh)
    v = (linear(x, w["attn_v.weight"]) + w.get("attn_v.bias", 0)).reshape(T, K, Dh)
    if config.qk_norm:
        q = rms_norm(q, w["attn_q_norm.weight"], config.norm_eps)
        k = rms_norm(k, w["attn_k_norm.weight"], config.norm_eps)
    q, k = rope(q, table), rope(k, table)
    if keep is not None:
        k, v = keep(k), keep(v)
    q = q.reshape(T, K, -1, Dh)  # heads g of a group read the same key head
    scores = np.einsum("tkgd,skd->kgts", q, k) * Dh**-0.5  # keeps softmax inputs at unit variance
    scores = np.where(visible(T, config.sliding_window), scores, -np.inf)
    mixed = np.einsum("kgts,skd->tkgd", softmax(scores), v).reshape(T, -1)
    out: Array = linear(mixed, w["attn_output.weight"]) + w.get("attn_output.bias", 0)
    return out


def feed_forward(w: Mapping[str, Array], x: Array, linear: Linear) -> Array:
    """Return the SwiGLU block of x (T, D) (Shazeer 2020)."""
    gate = linear(x, w["ffn_gate.weight"]) + w.get("ffn_gate.bias", 0)
    up = linear(x, w["ffn_up.weight"]) + w.get("ffn_up.bias", 0)
    out: Array = linear(silu(gate) * up, w["ffn_down.weight"]) + w.get("ffn_down.bias", 0)
    return out


def rms_norm(x: Array, weight: Array, eps: float) -> Array:
    """Scale the last axis to unit root mean square, then by weight (Zhang and Sennrich 2019)."""
    out: Array = x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + eps) * weight
    return out


def rope(x: Array, table: RopeTable) -> Array:
    """Rotate pairs (2i, 2i+1) of each head by position * inv_freq[i]; x (T, heads, Dh).

    Interleaved convention of Meta's checkpoints. Source: Su et al. 2021, section 3.4.2.
    """
    angles = np.arange(len(x))[:, None] * np.asarray(table.inv_freq)  # (T, Dh / 2)
    cos = (np.cos(angles) * table.attention_factor)[:, None, :].astype(x.dtype)
    sin = (np.sin(angles) * table.attention_factor)[:, None, :].astype(x.dtype)
    even, odd = x[..., 0::2], x[..., 1::2]
    out = np.empty_like(x)
    out[..., 0::2] = even * cos - odd * sin
    out[..., 1::2] = even * sin + odd * cos
    return out


def visible(n_tokens: int, sliding_window: int | None) -> NDArray[np.bool_]:
    """Return which token (row) sees which (column): itself and those before it within the window."""
    distance = np.arange(n_tokens)[:, None] - np.arange(n_tokens)[None, :]
    return (distance >= 0) & (distance < (sliding_window or n_tokens))


def silu(x: Array) -> Array:
    """Return x * sigmoid(x)."""
    out: Array = x / (1 + np.exp(-x))
    return out


def softmax(x: Array) -> Array:
    """Return probabilities over the last axis."""
    weights = np.exp(x - x.max(axis=-1, keepdims=True))
    out: Array = weights / weights.sum(axis=-1, keepdims=True)
    return out


def plain_linear(x: Array, weight: Array) -> Array:
    """Return x (T, in) times weight (out, in), (T, out)."""
    return x @ weight.T
