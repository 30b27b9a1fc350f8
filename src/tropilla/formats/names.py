"""How other programs spell what Tropilla names: every foreign word lives in these tables.

Inside Tropilla a tensor has the name that GGUF files give it, and a hyperparameter has the name of
a `LlamaConfig` field.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from tropilla.errors import UnsupportedError


class Dialect(NamedTuple):
    """Hold one program's tensor names, in the order of `_MODEL_TENSORS` and `_LAYER_TENSORS`."""

    layer_prefix: str  # what comes before the layer's number
    model_tensors: tuple[str, ...]
    layer_tensors: tuple[str, ...]
    ignored: tuple[str, ...] = ()  # endings of tensors that hold nothing trained


_MODEL_TENSORS = ("token_embd.weight", "output_norm.weight", "output.weight", "rope_freqs.weight")
_LAYER_TENSORS = (
    "attn_norm.weight",
    "attn_q.weight",
    "attn_k.weight",
    "attn_v.weight",
    "attn_output.weight",
    "ffn_norm.weight",
    "ffn_gate.weight",
    "ffn_up.weight",
    "ffn_down.weight",
    "attn_q_norm.weight",
    "attn_k_norm.weight",
    "attn_q.bias",
    "attn_k.bias",
    "attn_v.bias",
    "attn_output.bias",
    "ffn_gate.bias",
    "ffn_up.bias",
    "ffn_down.bias",
)

GGUF = Dialect("blk.", _MODEL_TENSORS, _LAYER_TENSORS)
HUGGING_FACE = Dialect(
    "model.layers.",
    ("model.embed_tokens.weight", "model.norm.weight", "lm_head.weight", ""),
    (
        "input_layernorm.weight",
        "self_attn.q_proj.weight",
        "self_attn.k_proj.weight",
        "self_attn.v_proj.weight",
        "self_attn.o_proj.weight",
        "post_attention_layernorm.weight",
        "mlp.gate_proj.weight",
        "mlp.up_proj.weight",
        "mlp.down_proj.weight",
        "self_attn.q_norm.weight",
        "self_attn.k_norm.weight",
        "self_attn.q_proj.bias",
        "self_attn.k_proj.bias",
        "self_attn.v_proj.bias",
        "self_attn.o_proj.bias",
        "mlp.gate_proj.bias",
        "mlp.up_proj.bias",
        "mlp.down_proj.bias",
    ),
    ignored=("rotary_emb.inv_freq", "attn.masked_bias"),
)
META = Dialect(
    "layers.",
    ("tok_embeddings.weight", "norm.weight", "output.weight", ""),
    (
        "attention_norm.weight",
        "attention.wq.weight",
        "attention.wk.weight",
        "attention.wv.weight",
        "attention.wo.weight",
        "ffn_norm.weight",
        "feed_forward.w1.weight",
        "feed_forward.w3.weight",
        "feed_forward.w2.weight",
    ),
    ignored=("rope.freqs", "freqs_cis"),
)
TORCHTUNE = Dialect(
    "layers.",
    ("tok_embeddings.weight", "norm.scale", "output.weight", ""),
    (
        "sa_norm.scale",
        "attn.q_proj.weight",
        "attn.k_proj.weight",
        "attn.v_proj.weight",
        "attn.output_proj.weight",
        "mlp_norm.scale",
        "mlp.w1.weight",
        "mlp.w3.weight",
        "mlp.w2.weight",
        "attn.q_norm.scale",
        "attn.k_norm.scale",
        "attn.q_proj.bias",
        "attn.k_proj.bias",
        "attn.v_proj.bias",
    ),
)


def from_foreign(name: str, dialect: Dialect) -> str | None:
    """Return Tropilla's name of a tensor; None for one that the dialect does not know."""
    match = re.fullmatch(re.escape(dialect.layer_prefix) + r"(0|[1-9]\d{0,5})\.(.+)", name)
    if match is None:
        return dict(zip(dialect.model_tensors, _MODEL_TENSORS, strict=True)).get(name) if name else None
    ours = dict(zip(dialect.layer_tensors, _LAYER_TENSORS, strict=False)).get(match[2])
    return None if ours is None else f"blk.{match[1]}.{ours}"


def to_foreign(name: str, dialect: Dialect) -> str:
    """Return the dialect's name of one of Tropilla's tensors.

    Raises UnsupportedError where the dialect has no place for it.
    """
    layer, within = layer_and_name(name)
    known = zip(_MODEL_TENSORS, dialect.model_tensors, strict=False)
    if layer is not None:
        known = zip(_LAYER_TENSORS, dialect.layer_tensors, strict=False)
    theirs = dict(known).get(within)
    if not theirs:
        raise UnsupportedError(f"{name} has no place in the target format")
    return theirs if layer is None else f"{dialect.layer_prefix}{layer}.{theirs}"


def layer_and_name(name: str) -> tuple[int | None, str]:
    """Split "blk.3.attn_q.weight" into 3 and "attn_q.weight"; the layer is None outside the layers."""
    match = re.fullmatch(r"blk\.(\d+)\.(.+)", name)
    return (None, name) if match is None else (int(match[1]), match[2])


def is_ignored(name: str, dialect: Dialect) -> bool:
    """Return whether a tensor holds nothing trained, such as a table that loaders recompute."""
    return name.endswith(dialect.ignored) if dialect.ignored else False


class Architecture(NamedTuple):
    """Say how one architecture of the family is called and how its files store q and k."""

    gguf: str
    hugging_face: str
    model_type: str
    gguf_is_half_split: bool  # GGUF keeps Hugging Face's order of rotary pairs


# Mistral files convert to "llama" in GGUF, so that name does not appear there.
ARCHITECTURES: Mapping[str, Architecture] = {
    "llama": Architecture("llama", "LlamaForCausalLM", "llama", gguf_is_half_split=False),
    "mistral": Architecture("llama", "MistralForCausalLM", "mistral", gguf_is_half_split=False),
    "qwen2": Architecture("qwen2", "Qwen2ForCausalLM", "qwen2", gguf_is_half_split=True),
    "qwen3": Architecture("qwen3", "Qwen3ForCausalLM", "qwen3", gguf_is_half_split=True),
}


def architecture_of_gguf(path: Path, name: object) -> str:
    """Return our name of a GGUF architecture; raises UnsupportedError naming it and ours."""
    return _look_up(path, name, {ours: ours for ours, a in ARCHITECTURES.items() if a.gguf == ours})


def architecture_of_hugging_face(path: Path, name: object) -> str:
    """Return our name of a Hugging Face class; raises UnsupportedError naming it and ours."""
    return _look_up(path, name, {a.hugging_face: ours for ours, a in ARCHITECTURES.items()})


def unknown_tensor(path: Path, name: str) -> UnsupportedError:
    """Make the error for a tensor that no model of the family has; leaving it out would be silent damage."""
    return UnsupportedError(f"{path}: tensor {name[:80]!r} belongs to no model that Tropilla runs")


def mixture_of_experts(path: Path) -> UnsupportedError:
    """Make the error for a model that chooses among several feed-forward layers."""
    return UnsupportedError(f"{path}: mixtures of experts are not supported; Tropilla runs dense models")


def _look_up(path: Path, name: object, known: Mapping[str, str]) -> str:
    if isinstance(name, str) and name in known:
        return known[name]
    raise UnsupportedError(
        f"{path}: architecture {name!r} is not supported; Tropilla runs {', '.join(known)}"
    )


# Our name of a hyperparameter -> the GGUF key after the architecture's name.
GGUF_KEYS: Mapping[str, str] = {
    "dim": "embedding_length",
    "n_layers": "block_count",
    "n_heads": "attention.head_count",
    "n_kv_heads": "attention.head_count_kv",
    "head_dim": "attention.key_length",
    "value_dim": "attention.value_length",
    "rope_dim": "rope.dimension_count",
    "ffn_dim": "feed_forward_length",
    "vocab_size": "vocab_size",
    "context_length": "context_length",
    "norm_eps": "attention.layer_norm_rms_epsilon",
    "rope_theta": "rope.freq_base",
    "sliding_window": "attention.sliding_window",
    "n_experts": "expert_count",
    "attention_scale": "attention.scale",
    "scaling_kind": "rope.scaling.type",
    "scaling_factor": "rope.scaling.factor",
    "scaling_factor_before_2023_10": "rope.scale_linear",
    "scaling_original_context_length": "rope.scaling.original_context_length",
    "scaling_attention_factor": "rope.scaling.attn_factor",
    "scaling_beta_fast": "rope.scaling.yarn_beta_fast",
    "scaling_beta_slow": "rope.scaling.yarn_beta_slow",
}

HUGGING_FACE_KEYS: Mapping[str, str] = {
    "dim": "hidden_size",
    "n_layers": "num_hidden_layers",
    "n_heads": "num_attention_heads",
    "n_kv_heads": "num_key_value_heads",
    "head_dim": "head_dim",
    "ffn_dim": "intermediate_size",
    "vocab_size": "vocab_size",
    "context_length": "max_position_embeddings",
    "norm_eps": "rms_norm_eps",
    "rope_theta": "rope_theta",
    "sliding_window": "sliding_window",
    "tied_embeddings": "tie_word_embeddings",
}

# The same words serve `rope_scaling` (transformers 4) and `rope_parameters` (transformers 5).
HUGGING_FACE_SCALING_KEYS: Mapping[str, str] = {
    "factor": "factor",
    "original_context_length": "original_max_position_embeddings",
    "low_freq_factor": "low_freq_factor",
    "high_freq_factor": "high_freq_factor",
    "beta_fast": "beta_fast",
    "beta_slow": "beta_slow",
    "attention_factor": "attention_factor",
}

META_KEYS: Mapping[str, str] = {
    "dim": "dim",
    "n_layers": "n_layers",
    "n_heads": "n_heads",
    "n_kv_heads": "n_kv_heads",
    "norm_eps": "norm_eps",
    "rope_theta": "rope_theta",
    "head_dim": "head_dim",
    "sliding_window": "sliding_window",
    "context_length": "max_seq_len",
    "scaled_rope": "use_scaled_rope",
    "scaling_factor": "rope_scaling_factor",
    "scaling_high_freq_factor": "rope_high_freq_factor",
}
