"""Foreign spellings: the tables translate both ways and refuse what they do not know."""

from __future__ import annotations

from pathlib import Path

import pytest

from tropilla.errors import UnsupportedError
from tropilla.formats.names import (
    GGUF,
    HUGGING_FACE,
    META,
    TORCHTUNE,
    Dialect,
    architecture_of_gguf,
    architecture_of_hugging_face,
    from_foreign,
    layer_and_name,
    to_foreign,
)

# From the papers' reference code, transformers' modeling_llama.py, torchtune's transformer.py and gguf.md.
SAME = [
    ("token_embd.weight", "model.embed_tokens.weight", "tok_embeddings.weight", "tok_embeddings.weight"),
    ("output_norm.weight", "model.norm.weight", "norm.weight", "norm.scale"),
    ("output.weight", "lm_head.weight", "output.weight", "output.weight"),
    (
        "blk.0.attn_norm.weight",
        "model.layers.0.input_layernorm.weight",
        "layers.0.attention_norm.weight",
        "layers.0.sa_norm.scale",
    ),
    (
        "blk.31.attn_output.weight",
        "model.layers.31.self_attn.o_proj.weight",
        "layers.31.attention.wo.weight",
        "layers.31.attn.output_proj.weight",
    ),
    (
        "blk.2.ffn_norm.weight",
        "model.layers.2.post_attention_layernorm.weight",
        "layers.2.ffn_norm.weight",
        "layers.2.mlp_norm.scale",
    ),
    (
        "blk.2.ffn_gate.weight",
        "model.layers.2.mlp.gate_proj.weight",
        "layers.2.feed_forward.w1.weight",
        "layers.2.mlp.w1.weight",
    ),
    (
        "blk.2.ffn_down.weight",
        "model.layers.2.mlp.down_proj.weight",
        "layers.2.feed_forward.w2.weight",
        "layers.2.mlp.w2.weight",
    ),
    (
        "blk.2.ffn_up.weight",
        "model.layers.2.mlp.up_proj.weight",
        "layers.2.feed_forward.w3.weight",
        "layers.2.mlp.w3.weight",
    ),
]


@pytest.mark.parametrize("row", SAME, ids=[row[0] for row in SAME])
def test_each_program_says_it_its_own_way(row: tuple[str, str, str, str]) -> None:
    ours = row[0]
    for theirs, dialect in zip(row, (GGUF, HUGGING_FACE, META, TORCHTUNE), strict=True):
        assert from_foreign(theirs, dialect) == ours
        assert to_foreign(ours, dialect) == theirs


@pytest.mark.parametrize(
    "name",
    ["", "blk.weight", "model.layers.00.mlp.up_proj.weight", "model.layers.-1.mlp.up_proj.weight",
     "model.layers.0.mlp.experts.weight", "model.layers.99999999999.mlp.up_proj.weight"],
)  # fmt: skip
def test_unknown_names(name: str) -> None:
    assert from_foreign(name, HUGGING_FACE) is None


@pytest.mark.parametrize("dialect", [META, HUGGING_FACE])
def test_a_tensor_without_a_place_is_refused(dialect: Dialect) -> None:
    with pytest.raises(UnsupportedError, match=r"rope_freqs\.weight"):
        to_foreign("rope_freqs.weight", dialect)


def test_meta_has_no_biases() -> None:
    with pytest.raises(UnsupportedError, match=r"blk\.0\.attn_q\.bias"):
        to_foreign("blk.0.attn_q.bias", META)


def test_layers() -> None:
    assert layer_and_name("blk.12.attn_q.weight") == (12, "attn_q.weight")
    assert layer_and_name("output.weight") == (None, "output.weight")


FILE = Path("m.gguf")


def test_architectures() -> None:
    assert architecture_of_gguf(FILE, "qwen2") == "qwen2"
    assert architecture_of_hugging_face(FILE, "MistralForCausalLM") == "mistral"
    with pytest.raises(UnsupportedError, match=r"m.gguf: architecture 'gemma2' .* runs llama, qwen2, qwen3"):
        architecture_of_gguf(FILE, "gemma2")
    with pytest.raises(UnsupportedError, match="SmolLM3ForCausalLM"):
        architecture_of_hugging_face(FILE, "SmolLM3ForCausalLM")
