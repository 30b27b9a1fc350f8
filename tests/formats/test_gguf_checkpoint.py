"""GGUF files as models; the files are written by the `gguf` package, not by us."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import gguf
import numpy as np
import pytest
from numpy.typing import NDArray

from tropilla.errors import FormatError, UnsupportedError
from tropilla.formats.checkpoint import open_checkpoint
from tropilla.formats.tensor_types import TensorType

DIM, N_HEADS, N_KV_HEADS, HEAD_DIM, FFN_DIM, VOCAB_SIZE = 64, 4, 2, 16, 96, 40
SHAPES = {
    "token_embd.weight": (VOCAB_SIZE, DIM),
    "output_norm.weight": (DIM,),
    "blk.0.attn_norm.weight": (DIM,),
    "blk.0.attn_q.weight": (N_HEADS * HEAD_DIM, DIM),
    "blk.0.attn_k.weight": (N_KV_HEADS * HEAD_DIM, DIM),
    "blk.0.attn_v.weight": (N_KV_HEADS * HEAD_DIM, DIM),
    "blk.0.attn_output.weight": (DIM, N_HEADS * HEAD_DIM),
    "blk.0.ffn_norm.weight": (DIM,),
    "blk.0.ffn_gate.weight": (FFN_DIM, DIM),
    "blk.0.ffn_up.weight": (FFN_DIM, DIM),
    "blk.0.ffn_down.weight": (DIM, FFN_DIM),
}
BIASES = {"blk.0.attn_q.bias": (64,), "blk.0.attn_k.bias": (32,), "blk.0.attn_v.bias": (32,)}
NORMS = {"blk.0.attn_q_norm.weight": (HEAD_DIM,), "blk.0.attn_k_norm.weight": (HEAD_DIM,)}
Value = int | float | str
LINEAR: Mapping[str, int | float | str] = {"rope.scaling.type": "linear", "rope.scaling.factor": 4.0}
Weights = dict[str, NDArray[np.float32]]


def weights(*groups: Mapping[str, tuple[int, ...]], seed: int = 0) -> Weights:
    rng = np.random.default_rng(seed)
    return {
        name: rng.normal(size=shape).astype(np.float32) for group in groups for name, shape in group.items()
    }


def write(
    path: Path,
    tensors: Weights,
    arch: str = "llama",
    quantize: bool = False,
    keys: Mapping[str, Value] | None = None,
) -> Path:
    """Write a model with the gguf package; keys are those of the architecture."""
    writer = gguf.GGUFWriter(path, arch)
    writer.add_name("Tiny")
    usual: dict[str, Value] = {
        "block_count": 1, "context_length": 128, "embedding_length": DIM, "feed_forward_length": FFN_DIM,
        "attention.head_count": N_HEADS, "attention.head_count_kv": N_KV_HEADS,
        "attention.layer_norm_rms_epsilon": 1e-6, "rope.freq_base": 5000.0,
    }  # fmt: skip
    for key, value in (usual | dict(keys or {})).items():
        add = {int: writer.add_uint32, float: writer.add_float32, str: writer.add_string}[type(value)]
        add(f"{arch}.{key}", value)
    for name, tensor in tensors.items():
        if quantize and tensor.ndim == 2:
            blocks = gguf.quants.quantize(tensor, gguf.GGMLQuantizationType.Q8_0)
            writer.add_tensor(name, blocks, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
        else:
            writer.add_tensor(name, tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def interleaved(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Meta's order from Hugging Face's, by reshaping: an oracle written another way."""
    heads = rows.reshape(-1, 2, HEAD_DIM // 2, *rows.shape[1:])
    return np.ascontiguousarray(heads.swapaxes(1, 2)).reshape(rows.shape)


def test_a_llama_model(tmp_path: Path) -> None:
    tensors = weights(SHAPES)
    with open_checkpoint(write(tmp_path / "m.gguf", tensors)) as model:
        assert model.format == "GGUF"
        assert model.architecture == "llama"
        assert model.metadata["name"] == "Tiny"
        assert model.tokenizer is None
        assert model.chat_template is None
        expected: dict[str, object] = {
            "dim": DIM, "n_layers": 1, "n_heads": N_HEADS, "n_kv_heads": N_KV_HEADS, "head_dim": HEAD_DIM,
            "ffn_dim": FFN_DIM, "vocab_size": VOCAB_SIZE, "context_length": 128, "rope_theta": 5000.0,
            "norm_eps": float(np.float32(1e-6)), "rope_scaling": None, "tied_embeddings": True,
            "qkv_bias": False, "output_bias": False, "mlp_bias": False, "qk_norm": False,
        }  # fmt: skip
        assert dict(model.hyperparameters) == expected
        assert set(model.tensors) == set(tensors)
        for name, tensor in tensors.items():
            np.testing.assert_array_equal(model.tensors[name].to_float32(), tensor)


def test_untied_output_and_rope_factors(tmp_path: Path) -> None:
    tensors = weights(SHAPES, {"output.weight": (VOCAB_SIZE, DIM), "rope_freqs.weight": (HEAD_DIM // 2,)})
    with open_checkpoint(write(tmp_path / "m.gguf", tensors)) as model:
        assert model.hyperparameters["tied_embeddings"] is False
        assert model.tensors.layouts["rope_freqs.weight"].shape == (HEAD_DIM // 2,)


@pytest.mark.parametrize(("arch", "more"), [("qwen2", BIASES), ("qwen3", NORMS)])
def test_half_split_architectures_are_interleaved(
    tmp_path: Path, arch: str, more: Mapping[str, tuple[int, ...]]
) -> None:
    tensors = weights(SHAPES, more)
    with open_checkpoint(write(tmp_path / "m.gguf", tensors, arch)) as model:
        assert model.architecture == arch
        assert model.hyperparameters["qkv_bias"] is (arch == "qwen2")
        assert model.hyperparameters["qk_norm"] is (arch == "qwen3")
        for name, tensor in tensors.items():
            turns = any(part in name for part in ("attn_q.", "attn_k.", "attn_q_norm.", "attn_k_norm."))
            expected = interleaved(tensor) if turns else tensor
            np.testing.assert_array_equal(model.tensors[name].to_float32(), expected)


def test_quantized_rows_are_interleaved_whole(tmp_path: Path) -> None:
    tensors = weights(SHAPES)
    path = write(tmp_path / "m.gguf", tensors, "qwen2", quantize=True)
    blocks = gguf.quants.quantize(interleaved(tensors["blk.0.attn_q.weight"]), gguf.GGMLQuantizationType.Q8_0)
    with open_checkpoint(path) as model:
        assert model.tensors.layouts["blk.0.attn_q.weight"].type is TensorType.Q8_0
        assert bytes(model.tensors["blk.0.attn_q.weight"].data) == blocks.tobytes()


def test_rope_scaling(tmp_path: Path) -> None:
    tensors = weights(SHAPES)
    linear = write(
        tmp_path / "a.gguf", tensors, keys={"rope.scaling.type": "linear", "rope.scaling.factor": 4.0}
    )
    old = write(tmp_path / "b.gguf", tensors, keys={"rope.scale_linear": 4.0})
    for path in (linear, old):
        with open_checkpoint(path) as model:
            assert model.hyperparameters["rope_scaling"] == {"kind": "linear", "factor": 4.0}
    keys: dict[str, Value] = {
        "rope.scaling.type": "yarn", "rope.scaling.factor": 4.0,
        "rope.scaling.original_context_length": 32, "rope.scaling.attn_factor": 0.5,
    }  # fmt: skip
    yarn = write(tmp_path / "c.gguf", tensors, keys=keys)
    with open_checkpoint(yarn) as model:
        scaling = model.hyperparameters["rope_scaling"]
        assert isinstance(scaling, dict)
        # llama.cpp multiplies the file's factor by 1 + 0.1 ln(factor) when it applies YaRN.
        assert scaling.pop("attention_factor") == pytest.approx(0.5 * (1 + 0.1 * np.log(4.0)), rel=1e-12)
        assert scaling == {"kind": "yarn", "factor": 4.0, "original_context_length": 32}
    keys = {"rope.scaling.type": "yarn", "rope.scaling.factor": 4.0}
    with open_checkpoint(write(tmp_path / "d.gguf", tensors, keys=keys)) as model:
        silent = {"kind": "yarn", "factor": 4.0, "original_context_length": 128}
        assert model.hyperparameters["rope_scaling"] == silent


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("attention.head_count", 0, r"attention\.head_count is 0, expected a whole number from 1"),
        ("attention.head_count", 2**31, "expected a whole number from 1"),
        ("attention.head_count", "four", "is 'four', expected a whole number"),
        ("attention.head_count", 5, "64 dimensions cannot be shared by 5 heads"),
        ("attention.head_count_kv", 5, "from 1 to 4"),
        ("block_count", 2**20, "from 1 to 4096"),
        ("attention.layer_norm_rms_epsilon", -1.0, "a number above 0"),
        ("rope.freq_base", float("nan"), "a number above 0"),
        ("rope.scaling.type", 3, "expected a text"),
    ],
)
def test_untrusted_values(tmp_path: Path, key: str, value: Value, message: str) -> None:
    path = write(tmp_path / "m.gguf", weights(SHAPES), keys={key: value})
    with pytest.raises(FormatError, match=message) as error:
        open_checkpoint(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ({"expert_count": 8}, "mixtures of experts"),
        ({"attention.scale": 0.5}, "attention scale"),
        ({"rope.dimension_count": 8}, "is not the head size"),
        ({"attention.key_length": 16, "attention.value_length": 8}, "different sizes"),
        ({"rope.scaling.type": "longrope"}, "rope scaling 'longrope'"),
    ],
)
def test_sound_but_not_ours(tmp_path: Path, extra: dict[str, Value], message: str) -> None:
    with pytest.raises(UnsupportedError, match=message):
        open_checkpoint(write(tmp_path / "m.gguf", weights(SHAPES), keys=extra))


def test_other_architectures_are_named(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="'gemma2' is not supported; Tropilla runs llama"):
        open_checkpoint(write(tmp_path / "m.gguf", weights(SHAPES), "gemma2"))


def test_unknown_tensors_are_named(tmp_path: Path) -> None:
    tensors = weights(SHAPES, {"blk.0.ffn_gate_inp.weight": (8, DIM)})
    with pytest.raises(UnsupportedError, match=r"'blk\.0\.ffn_gate_inp\.weight'"):
        open_checkpoint(write(tmp_path / "m.gguf", tensors))


def test_a_vocabulary_alone_is_no_model(real_data: Path) -> None:
    with pytest.raises(FormatError):
        open_checkpoint(real_data / "tokenizers/vectors/ggml-vocab-llama-spm.gguf")


def test_rotated_rows_must_be_whole_heads(tmp_path: Path) -> None:
    tensors = weights(SHAPES | {"blk.0.attn_k.weight": (30, DIM)})
    with pytest.raises(FormatError, match=r"attn_k\.weight has shape \(30, 64\), expected whole heads of 16"):
        open_checkpoint(write(tmp_path / "m.gguf", tensors, "qwen2"))


def test_a_real_file(real_data: Path) -> None:
    with open_checkpoint(real_data / "weights/llama-2-tiny-random/llama-2-tiny-random.gguf") as model:
        assert model.hyperparameters["vocab_size"] == 32000
        assert model.tokenizer is not None
        assert len(model.tensors) == 12


def test_opening_needs_no_array_library(tmp_path: Path) -> None:
    path = write(tmp_path / "m.gguf", weights(SHAPES, BIASES), "qwen2")
    code = (
        "import sys; from tropilla.formats.checkpoint import open_checkpoint\n"
        f"with open_checkpoint({str(path)!r}) as model: bytes(model.tensors['blk.0.attn_q.weight'].data)\n"
        "sys.exit('numpy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
