"""Hugging Face folders; `transformers` writes them, and its own module says what is in them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
import torch
from numpy.typing import NDArray

from tropilla.errors import FormatError, UnsupportedError
from tropilla.formats.checkpoint import open_checkpoint
from tropilla.formats.tensor_types import TensorType
from tropilla.formats.tokenizer_source import SentencePieceModel, TokenizersJson

HEAD_DIM = 8
TINY: dict[str, Any] = {
    "vocab_size": 50, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64, "rms_norm_eps": 1e-6,
}  # fmt: skip
LINEAR = {"rope_type": "linear", "factor": 2.0}
LLAMA3 = {
    "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}  # fmt: skip


def save(folder: Path, family: str = "Llama", max_shard_size: str = "1GB", **config: Any) -> dict[str, Any]:
    """Let transformers save a tiny random model; returns its state dictionary."""
    import transformers

    torch.manual_seed(0)
    settings = getattr(transformers, f"{family}Config")(**(TINY | config))
    model = getattr(transformers, f"{family}ForCausalLM")(settings)
    for parameter in model.parameters():  # biases and norms begin as constants, which would hide mistakes
        torch.nn.init.normal_(parameter)
    model.save_pretrained(folder, max_shard_size=max_shard_size)
    return dict(model.state_dict())


def interleaved(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Meta's order from Hugging Face's, by reshaping."""
    heads = rows.reshape(-1, 2, HEAD_DIM // 2, *rows.shape[1:])
    return np.ascontiguousarray(heads.swapaxes(1, 2)).reshape(rows.shape)


FAMILIES: list[tuple[str, dict[str, Any]]] = [
    ("Llama", {}),
    ("Llama", {"attention_bias": True, "mlp_bias": True}),
    ("Mistral", {"sliding_window": 16, "head_dim": 8}),
    ("Qwen2", {"tie_word_embeddings": True}),
    ("Qwen3", {"head_dim": 8}),
]


@pytest.mark.parametrize(("family", "config"), FAMILIES)
def test_what_transformers_saves(tmp_path: Path, family: str, config: dict[str, Any]) -> None:
    state = {name: tensor.numpy() for name, tensor in save(tmp_path, family, **config).items()}
    with open_checkpoint(tmp_path) as model:
        assert model.format == "Hugging Face"
        assert model.architecture == family.lower()
        expected: dict[str, object] = {
            "dim": 32, "n_layers": 2, "n_heads": 4, "n_kv_heads": 2, "head_dim": 8, "ffn_dim": 48,
            "vocab_size": 50, "context_length": 64, "norm_eps": 1e-6, "rope_theta": 10000.0,
            "rope_scaling": None, "qkv_bias": family == "Qwen2" or "attention_bias" in config,
            "output_bias": "attention_bias" in config, "mlp_bias": "mlp_bias" in config,
            "qk_norm": family == "Qwen3", "tied_embeddings": "tie_word_embeddings" in config,
            "sliding_window": config.get("sliding_window"),
        }  # fmt: skip
        assert dict(model.hyperparameters) == expected
        for turned in ("q", "k"):
            for kind in ("weight", "bias") if expected["qkv_bias"] else ("weight",):
                theirs = state[f"model.layers.1.self_attn.{turned}_proj.{kind}"]
                ours = model.tensors[f"blk.1.attn_{turned}.{kind}"].to_float32()
                np.testing.assert_array_equal(ours, interleaved(theirs))
        if family == "Qwen3":
            theirs = state["model.layers.0.self_attn.q_norm.weight"]
            ours = model.tensors["blk.0.attn_q_norm.weight"].to_float32()
            np.testing.assert_array_equal(ours, interleaved(theirs))
        same = {
            "token_embd.weight": "model.embed_tokens.weight",
            "output_norm.weight": "model.norm.weight",
            "blk.0.attn_v.weight": "model.layers.0.self_attn.v_proj.weight",
            "blk.0.attn_output.weight": "model.layers.0.self_attn.o_proj.weight",
            "blk.1.attn_norm.weight": "model.layers.1.input_layernorm.weight",
            "blk.1.ffn_norm.weight": "model.layers.1.post_attention_layernorm.weight",
            "blk.1.ffn_gate.weight": "model.layers.1.mlp.gate_proj.weight",
            "blk.1.ffn_up.weight": "model.layers.1.mlp.up_proj.weight",
            "blk.1.ffn_down.weight": "model.layers.1.mlp.down_proj.weight",
        }
        for name, theirs_name in same.items():
            np.testing.assert_array_equal(model.tensors[name].to_float32(), state[theirs_name])
        n_theirs = len(state) - ("tie_word_embeddings" in config)
        assert len(model.tensors) == n_theirs


def test_shards(tmp_path: Path) -> None:
    save(tmp_path / "whole")
    save(tmp_path / "cut", max_shard_size="20KB")
    assert len(list((tmp_path / "cut").glob("*.safetensors"))) > 2
    with open_checkpoint(tmp_path / "whole") as whole, open_checkpoint(tmp_path / "cut") as cut:
        assert set(whole.tensors) == set(cut.tensors)
        for name in whole.tensors:
            assert bytes(whole.tensors[name].data) == bytes(cut.tensors[name].data)
    one = next((tmp_path / "cut").glob("*.safetensors"))
    with open_checkpoint(one) as by_name:
        assert len(by_name.tensors) == 21  # 9 in each of 2 layers and 3 outside


def edit_config(folder: Path, **changes: Any) -> None:
    config = json.loads((folder / "config.json").read_text())
    changed = {key: value for key, value in (config | changes).items() if value is not ...}
    (folder / "config.json").write_text(json.dumps(changed))


def test_torch_weights_and_half_types(tmp_path: Path) -> None:
    """Folders from before safetensors hold torch archives; the type of each tensor stays."""
    state = save(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    state = {name: tensor.bfloat16() for name, tensor in state.items()}
    state["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.ones(4)
    torch.save(state, tmp_path / "pytorch_model.bin")
    with open_checkpoint(tmp_path) as model:
        assert model.tensors.layouts["output.weight"].type is TensorType.BF16
        got = model.tensors["output.weight"].to_float32()
        np.testing.assert_array_equal(got, state["lm_head.weight"].float().numpy())


@pytest.mark.parametrize("scaling", [LINEAR, LLAMA3])
@pytest.mark.parametrize("spelling", ["transformers 4", "old word", "transformers 5"])
def test_rope_spellings(tmp_path: Path, scaling: dict[str, Any], spelling: str) -> None:
    save(tmp_path)
    words = dict(scaling)
    if spelling == "old word":
        words["type"] = words.pop("rope_type")
    if spelling == "transformers 5":
        edit_config(tmp_path, rope_theta=..., rope_parameters=words | {"rope_theta": 5e5})
    else:
        edit_config(tmp_path, rope_parameters=..., rope_theta=5e5, rope_scaling=words)
    with open_checkpoint(tmp_path) as model:
        assert model.hyperparameters["rope_theta"] == 5e5
        expected: dict[str, object] = {"kind": scaling["rope_type"], "factor": scaling["factor"]}
        if scaling is LLAMA3:
            expected |= {"low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_context_length": 32}
        assert model.hyperparameters["rope_scaling"] == expected


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hidden_size": ...}, "does not say hidden_size"),
        ({"hidden_size": "32"}, "hidden_size is '32', expected a whole number"),
        ({"num_attention_heads": 0}, "num_attention_heads is 0"),
        ({"num_attention_heads": True}, "num_attention_heads is True"),
        ({"num_key_value_heads": 5}, "from 1 to 4"),
        ({"rms_norm_eps": 0}, "a number above 0"),
        ({"rms_norm_eps": 10**400}, "a number above 0"),
        ({"max_position_embeddings": 10**30}, "max_position_embeddings"),
        ({"tie_word_embeddings": "yes"}, "expected true or false"),
        ({"rope_parameters": [1]}, "rope_parameters is .*, expected an object"),
        ({"rope_parameters": {"rope_type": "linear", "factor": "2"}}, "factor is '2'"),
        ({"rope_parameters": {"rope_type": "linear"}}, "does not say factor"),
        ({"head_dim": 7}, "whole heads of 7"),
    ],
)
def test_untrusted_values(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    save(tmp_path)
    edit_config(tmp_path, **changes)
    with pytest.raises(FormatError, match=message):
        open_checkpoint(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"architectures": ["GemmaForCausalLM"]}, "'GemmaForCausalLM' is not supported; .* LlamaForCausalLM"),
        ({"architectures": ..., "model_type": "phi3"}, "'phi3' is not supported"),
        ({"quantization_config": {"quant_method": "gptq"}}, "quantized by 'gptq'"),
        ({"hidden_act": "gelu"}, "activation 'gelu'"),
        ({"partial_rotary_factor": 0.5}, "partial rotation"),
        ({"rope_parameters": {"rope_type": "longrope", "factor": 2.0}}, "'longrope' is not supported"),
        ({"rope_parameters": {"rope_type": "yarn", "factor": 2.0, "mscale": 1.0}}, "with mscale"),
    ],
)
def test_sound_but_not_ours(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    save(tmp_path)
    edit_config(tmp_path, **changes)
    with pytest.raises(UnsupportedError, match=message):
        open_checkpoint(tmp_path)


def test_windows_of_some_layers_are_refused(tmp_path: Path) -> None:
    save(tmp_path, "Qwen2", use_sliding_window=True, sliding_window=8, max_window_layers=1)
    with pytest.raises(UnsupportedError, match="different attention windows"):
        open_checkpoint(tmp_path)
    edit_config(tmp_path, layer_types=..., max_window_layers=0)
    with open_checkpoint(tmp_path) as model:
        assert model.hyperparameters["sliding_window"] == 8
    edit_config(tmp_path, max_window_layers=2)
    with open_checkpoint(tmp_path) as model:
        assert model.hyperparameters["sliding_window"] is None


def test_missing_and_unknown_tensors(tmp_path: Path) -> None:
    state = save(tmp_path)
    arrays = {name: tensor.numpy() for name, tensor in state.items()}
    path = tmp_path / "model.safetensors"
    safetensors.numpy.save_file({n: a for n, a in arrays.items() if n != "lm_head.weight"}, path)
    with pytest.raises(FormatError, match=r"has no lm_head\.weight"):
        open_checkpoint(tmp_path)
    safetensors.numpy.save_file(arrays | {"model.layers.0.mlp.gate.weight": np.zeros(2, np.float32)}, path)
    with pytest.raises(UnsupportedError, match=r"'model\.layers\.0\.mlp\.gate\.weight'"):
        open_checkpoint(tmp_path)
    path.unlink()
    with pytest.raises(FormatError, match=r"no model\.safetensors"):
        open_checkpoint(tmp_path)


@pytest.mark.parametrize(
    "name", ["../secret.safetensors", "/etc/passwd", "a/b", "missing.safetensors", "..\\x", ""]
)
def test_an_index_cannot_lead_elsewhere(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "m"
    save(folder)
    (tmp_path / "secret.safetensors").write_bytes((folder / "model.safetensors").read_bytes())
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"lm_head.weight": name}}))
    with pytest.raises(FormatError, match="is not beside it"):
        open_checkpoint(folder)


def test_tokenizer_files_and_roles(tmp_path: Path) -> None:
    save(tmp_path, bos_token_id=1, eos_token_id=[2, 5])
    settings: dict[str, Any] = {
        "bos_token": "<s>", "eos_token": {"content": "<end>"}, "add_bos_token": False,
        "added_tokens_decoder": {"3": {"content": "<s>"}, "7": {"content": "<end>"}},
        "chat_template": [{"name": "tools", "template": "T"}, {"name": "default", "template": "D"}],
    }  # fmt: skip
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    (tmp_path / "tokenizer.model").write_bytes(b"\n\x0e\n\x05<unk>")
    with open_checkpoint(tmp_path) as model:
        source = model.tokenizer
        assert isinstance(source, SentencePieceModel)
        assert dict(source.added_tokens) == {"<end>": 7}
        assert (source.roles.bos_id, source.roles.eos_id, source.roles.end_ids) == (3, 7, (2, 5))
        assert source.roles.add_bos is False
        assert model.chat_template == "D"
    # The model file is what LLaMA was trained with; it wins over a tokenizer.json made from it.
    (tmp_path / "tokenizer.json").write_text('{"added_tokens": [{"id": 9, "content": "<new>"}]}')
    with open_checkpoint(tmp_path) as model:
        assert isinstance(model.tokenizer, SentencePieceModel)
    (tmp_path / "tokenizer_config.json").unlink()
    with open_checkpoint(tmp_path) as model:
        assert isinstance(model.tokenizer, SentencePieceModel)
        assert dict(model.tokenizer.added_tokens) == {"<new>": 9}
    (tmp_path / "tokenizer.model").unlink()
    (tmp_path / "chat_template.jinja").write_text("J")
    with open_checkpoint(tmp_path) as model:
        assert isinstance(model.tokenizer, TokenizersJson)
        assert model.chat_template == "J"
    (tmp_path / "chat_template.jinja").write_bytes(b"ab\xff")
    with pytest.raises(FormatError, match=r"chat_template\.jinja at byte 2: is not UTF-8"):
        open_checkpoint(tmp_path)
