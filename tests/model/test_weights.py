from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest

from tropilla.errors import FormatError, UnsupportedError
from tropilla.formats.stored import StoredTensor
from tropilla.formats.tensor_types import TensorType
from tropilla.model.config import LlamaConfig, tensor_shapes
from tropilla.model.weights import load_weights

CONFIG = LlamaConfig(
    dim=8, n_layers=2, n_heads=2, n_kv_heads=1, head_dim=4, ffn_dim=12, vocab_size=10, context_length=16
)


@dataclass
class Checkpoint:
    """An opened checkpoint whose parts a test may damage."""

    name: str = "m.gguf"
    hyperparameters: dict[str, object] = field(
        default_factory=lambda: {
            "dim": 8, "n_layers": 2, "n_heads": 2, "n_kv_heads": 1, "ffn_dim": 12, "context_length": 16
        }
    )  # fmt: skip
    tensors: dict[str, StoredTensor] = field(
        default_factory=lambda: {name: zeros(name, shape) for name, shape in tensor_shapes(CONFIG).items()}
    )


def zeros(name: str, shape: tuple[int, ...]) -> StoredTensor:
    return StoredTensor(name, TensorType.F32, shape, memoryview(np.zeros(shape, np.float32).tobytes()))


def test_a_whole_checkpoint_gives_its_config() -> None:
    assert load_weights(Checkpoint()).config == CONFIG


def test_switches_follow_from_the_tensors() -> None:
    checkpoint = Checkpoint()
    del checkpoint.tensors["output.weight"]
    for layer in range(2):
        for name, size in (("attn_q.bias", 8), ("attn_k.bias", 4), ("attn_v.bias", 4)):
            checkpoint.tensors[f"blk.{layer}.{name}"] = zeros(name, (size,))
    config = load_weights(checkpoint).config
    assert config.tied_embeddings
    assert config.qkv_bias
    assert (config.output_bias, config.mlp_bias, config.qk_norm) == (False, False, False)


@pytest.mark.parametrize("name", tensor_shapes(CONFIG).keys() - {"output.weight"})
def test_each_missing_tensor_is_named(name: str) -> None:
    checkpoint = Checkpoint()
    del checkpoint.tensors[name]
    checkpoint.hyperparameters["vocab_size"] = 10
    with pytest.raises(FormatError, match=rf"m\.gguf: the tensor {name} is missing"):
        load_weights(checkpoint)


def test_a_misshapen_tensor_tells_both_shapes() -> None:
    checkpoint = Checkpoint()
    checkpoint.tensors["blk.1.attn_k.weight"] = zeros("", (8, 8))
    with pytest.raises(FormatError, match=r"blk\.1\.attn_k\.weight has shape \(8, 8\), expected \(4, 8\)"):
        load_weights(checkpoint)


@pytest.mark.parametrize("name", ["blk.0.ffn_gate_inp.weight", "blk.2.attn_q.weight", "mm.0.weight"])
def test_a_tensor_of_another_architecture_is_refused(name: str) -> None:
    checkpoint = Checkpoint()
    checkpoint.tensors[name] = zeros(name, (4, 8))
    with pytest.raises(UnsupportedError, match="which no LLaMA-family decoder has"):
        load_weights(checkpoint)


def test_a_file_that_claims_many_layers_fails_at_the_first_missing_one() -> None:
    checkpoint = Checkpoint()
    checkpoint.hyperparameters["n_layers"] = 4000
    with pytest.raises(FormatError, match=r"blk\.2\.attn_norm\.weight is missing"):
        load_weights(checkpoint)


def test_rope_factors_are_read_and_checked() -> None:
    checkpoint = Checkpoint()
    data = memoryview(np.array([1.0, 8.0], np.float32).tobytes())
    checkpoint.tensors["rope_freqs.weight"] = StoredTensor("rope_freqs.weight", TensorType.F32, (2,), data)
    assert load_weights(checkpoint).rope_factors() == (1.0, 8.0)
    checkpoint.tensors["rope_freqs.weight"] = zeros("rope_freqs.weight", (3,))
    with pytest.raises(FormatError, match=r"rope_freqs\.weight is F32 \(3,\), expected F32 \(2,\)"):
        load_weights(checkpoint)
