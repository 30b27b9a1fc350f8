"""The default model in transformers, built from our dequantised tensors: an independent forward pass."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import transformers
from numpy.typing import NDArray

from tropilla.model.config import LlamaConfig

Array = NDArray[Any]

NAMES = {
    "attn_q.weight": "self_attn.q_proj.weight",
    "attn_k.weight": "self_attn.k_proj.weight",
    "attn_v.weight": "self_attn.v_proj.weight",
    "attn_output.weight": "self_attn.o_proj.weight",
    "ffn_gate.weight": "mlp.gate_proj.weight",
    "ffn_up.weight": "mlp.up_proj.weight",
    "ffn_down.weight": "mlp.down_proj.weight",
    "attn_norm.weight": "input_layernorm.weight",
    "ffn_norm.weight": "post_attention_layernorm.weight",
}


def transformers_model(config: LlamaConfig, tensors: Mapping[str, Array]) -> Any:
    """Return a float32 LlamaForCausalLM with tied embeddings that holds these tensors."""
    settings = transformers.LlamaConfig(
        hidden_size=config.dim,
        intermediate_size=config.ffn_dim,
        num_hidden_layers=config.n_layers,
        num_attention_heads=config.n_heads,
        num_key_value_heads=config.n_kv_heads,
        vocab_size=config.vocab_size,
        max_position_embeddings=config.context_length,
        rms_norm_eps=config.norm_eps,
        rope_parameters={"rope_type": "default", "rope_theta": config.rope_theta},
        tie_word_embeddings=config.tied_embeddings,
    )
    model = transformers.LlamaForCausalLM(settings).float().eval()
    state = {"model.embed_tokens.weight": tensors["token_embd.weight"]}
    state["lm_head.weight"] = tensors.get("output.weight", tensors["token_embd.weight"])
    state["model.norm.weight"] = tensors["output_norm.weight"]
    for layer in range(config.n_layers):
        for ours, theirs in NAMES.items():
            array = tensors[f"blk.{layer}.{ours}"]
            rotated = ours in ("attn_q.weight", "attn_k.weight")
            state[f"model.layers.{layer}.{theirs}"] = _halves(array, config.head_dim) if rotated else array
    model.load_state_dict({name: torch.from_numpy(np.array(array)) for name, array in state.items()})
    return model


def _halves(rows: Array, head_dim: int) -> Array:
    """Turn rows paired (2i, 2i+1) into rows paired (i, i + Dh/2), head by head."""
    heads = rows.reshape(-1, head_dim // 2, 2, rows.shape[1])
    return heads.swapaxes(1, 2).reshape(rows.shape)


def log_probabilities(model: Any, token_ids: list[int]) -> Array:
    """Return log p of each token after the first, given those before it, in nats."""
    with torch.no_grad():
        logits = model(torch.tensor([token_ids])).logits[0]
    log_p = torch.log_softmax(logits[:-1].double(), dim=-1)
    picked: Array = log_p.gather(1, torch.tensor(token_ids[1:])[:, None])[:, 0].numpy()
    return picked
