"""The NumPy reference against transformers' models (an independent implementation) and closed forms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tropilla.model.config import LlamaConfig, RopeScaling, RopeTable
from tropilla.model.reference import forward, rms_norm, rope, silu, softmax, visible

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

SHAPE = {
    "hidden_size": 48,
    "intermediate_size": 80,
    "num_hidden_layers": 2,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "vocab_size": 61,
    "max_position_embeddings": 256,
    "rms_norm_eps": 1e-5,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "attn_implementation": "eager",
}
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32, "rope_theta": 10000.0}
LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
    "rope_theta": 500000.0,
}
LINEAR = {"rope_type": "linear", "factor": 2.0, "rope_theta": 10000.0}
OURS = {"dim": 48, "n_layers": 2, "n_heads": 6, "n_kv_heads": 2, "ffn_dim": 80, "vocab_size": 61}

# name: (transformers' model, its settings, our settings)
CASES: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "llama": ("Llama", {}, {}),
    "all heads": ("Llama", {"num_key_value_heads": 6}, {"n_kv_heads": 6}),
    "one kv head": ("Llama", {"num_key_value_heads": 1}, {"n_kv_heads": 1}),
    "head_dim": ("Llama", {"head_dim": 16}, {"head_dim": 16}),
    "tied": ("Llama", {"tie_word_embeddings": True}, {"tied_embeddings": True}),
    "biases": (
        "Llama",
        {"attention_bias": True, "mlp_bias": True},
        {"qkv_bias": True, "output_bias": True, "mlp_bias": True},
    ),
    "linear": (
        "Llama",
        {"rope_parameters": LINEAR},
        {"rope_scaling": RopeScaling(kind="linear", factor=2.0)},
    ),
    "yarn": (
        "Llama",
        {"rope_parameters": YARN},
        {"rope_scaling": RopeScaling(kind="yarn", factor=4.0, original_context_length=32)},
    ),
    "llama3": (
        "Llama",
        {"rope_parameters": LLAMA3},
        {
            "rope_theta": 500000.0,
            "rope_scaling": RopeScaling(kind="llama3", factor=8.0, original_context_length=32),
        },
    ),
    "mistral window": ("Mistral", {"sliding_window": 5, "head_dim": 8}, {"sliding_window": 5}),
    "qwen2": ("Qwen2", {}, {"qkv_bias": True}),
    "qwen3": ("Qwen3", {"head_dim": 16}, {"head_dim": 16, "qk_norm": True}),
}

NAMES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}


def interleaved(rows: NDArray[Any], head_dim: int) -> NDArray[Any]:
    """Turn rows paired (i, i + Dh/2) into rows paired (2i, 2i+1), head by head."""
    heads = rows.reshape(-1, 2, head_dim // 2, *rows.shape[1:])
    return heads.swapaxes(1, 2).reshape(rows.shape)


def canonical_tensors(model: Any, head_dim: int) -> dict[str, NDArray[Any]]:
    tensors = {}
    for name, parameter in model.state_dict().items():
        array = parameter.numpy()
        stem, _, kind = name.rpartition(".")
        if stem == "model.embed_tokens":
            tensors["token_embd.weight"] = array
        elif stem == "model.norm":
            tensors["output_norm.weight"] = array
        elif stem == "lm_head":
            tensors["output.weight"] = array
        else:
            _, _, layer, inner = stem.split(".", 3)
            ours = NAMES[inner]
            turned = ours in ("attn_q", "attn_k", "attn_q_norm", "attn_k_norm")
            tensors[f"blk.{layer}.{ours}.{kind}"] = interleaved(array, head_dim) if turned else array
    return tensors


def oracle(case: str) -> tuple[Any, LlamaConfig]:
    family, theirs, ours = CASES[case]
    torch.manual_seed(0)
    settings = getattr(transformers, family + "Config")(**{**SHAPE, **theirs})
    model = getattr(transformers, family + "ForCausalLM")(settings).double().eval()
    for parameter in model.parameters():  # biases and norms start at 0 and 1, which would hide mistakes
        parameter.data.normal_(0, 0.3)
    return model, LlamaConfig.from_hyperparameters({**OURS, **ours}, path="")


@pytest.mark.parametrize("case", CASES)
def test_logits_equal_transformers(case: str) -> None:
    model, config = oracle(case)
    ids = np.random.default_rng(1).integers(0, 61, 40)
    with torch.no_grad():
        expected = model(torch.tensor(ids[None])).logits[0].numpy()
    ours = forward(config, canonical_tensors(model, config.head_dim), ids.tolist())
    # Both compute in float64, but transformers makes its rotary table and norms in float32: 2**-24
    # relative each, amplified by at most 40 keys * angles up to 40 rad * 2 layers.
    assert np.abs(ours - expected).max() <= 40 * 40 * 2 * 2.0**-24 * np.abs(expected).max()


def test_a_token_never_sees_later_ones() -> None:
    model, config = oracle("llama")
    tensors: Mapping[str, NDArray[Any]] = canonical_tensors(model, config.head_dim)
    ids = [3, 14, 15, 9, 26]
    np.testing.assert_allclose(
        forward(config, tensors, ids)[:3], forward(config, tensors, ids[:3]), rtol=1e-12, atol=1e-12
    )


def test_rms_norm_of_a_constant_is_its_sign_times_weight() -> None:
    out = rms_norm(np.full((1, 4), -3.0), np.array([1.0, 2.0, 3.0, 4.0]), 0.0)
    np.testing.assert_allclose(out, [[-1.0, -2.0, -3.0, -4.0]])


def test_rope_turns_a_unit_pair_by_position_times_speed() -> None:
    x = np.tile([1.0, 0.0], (3, 1, 1))
    turned = rope(x, RopeTable((0.5,), 1.0))
    expected = [[[np.cos(p * 0.5), np.sin(p * 0.5)]] for p in range(3)]
    np.testing.assert_allclose(turned, expected)


def test_silu_and_softmax_at_known_points() -> None:
    np.testing.assert_allclose(silu(np.array([0.0, 1.0])), [0.0, 1 / (1 + np.exp(-1.0))])
    np.testing.assert_allclose(softmax(np.array([1000.0, 1000.0])), [0.5, 0.5])


def test_window_of_two_sees_itself_and_one_before() -> None:
    assert visible(3, 2).tolist() == [[True, False, False], [True, True, False], [False, True, True]]
