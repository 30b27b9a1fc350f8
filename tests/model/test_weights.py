from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from tropilla.errors import FormatError, UnsupportedError
from tropilla.formats.checkpoint import Checkpoint
from tropilla.formats.stored import StoredTensor
from tropilla.formats.tensor_types import TensorType
from tropilla.formats.tensors import Tensors, as_stored
from tropilla.model.config import LlamaConfig, tensor_shapes
from tropilla.model.weights import ModelWeights, load_weights

CONFIG = LlamaConfig(
    dim=8, n_layers=2, n_heads=2, n_kv_heads=1, head_dim=4, ffn_dim=12, vocab_size=10, context_length=16
)


@dataclass
class Parts:
    """The parts of a checkpoint that a test may damage before it is opened."""

    hyperparameters: dict[str, object] = field(
        default_factory=lambda: {
            "dim": 8, "n_layers": 2, "n_heads": 2, "n_kv_heads": 1, "ffn_dim": 12, "context_length": 16
        }
    )  # fmt: skip
    tensors: dict[str, StoredTensor] = field(
        default_factory=lambda: {name: zeros(name, shape) for name, shape in tensor_shapes(CONFIG).items()}
    )

    def load(self) -> ModelWeights:
        checkpoint = Checkpoint(
            path=Path("m.gguf"),
            format="GGUF",
            architecture="llama",
            hyperparameters=self.hyperparameters,
            tensors=Tensors({name: as_stored(name, tensor) for name, tensor in self.tensors.items()}),
            tokenizer=None,
            chat_template=None,
            metadata={},
            on_close=lambda: None,
        )
        return load_weights(checkpoint)


def zeros(name: str, shape: tuple[int, ...]) -> StoredTensor:
    return StoredTensor(name, TensorType.F32, shape, memoryview(np.zeros(shape, np.float32).tobytes()))


def test_a_whole_checkpoint_gives_its_config() -> None:
    assert Parts().load().config == CONFIG


def test_switches_follow_from_the_tensors() -> None:
    parts = Parts()
    del parts.tensors["output.weight"]
    for layer in range(2):
        for name, size in (("attn_q.bias", 8), ("attn_k.bias", 4), ("attn_v.bias", 4)):
            parts.tensors[f"blk.{layer}.{name}"] = zeros(name, (size,))
    config = parts.load().config
    assert config.tied_embeddings
    assert config.qkv_bias
    assert (config.output_bias, config.mlp_bias, config.qk_norm) == (False, False, False)


@pytest.mark.parametrize("name", tensor_shapes(CONFIG).keys() - {"output.weight"})
def test_each_missing_tensor_is_named(name: str) -> None:
    parts = Parts()
    del parts.tensors[name]
    parts.hyperparameters["vocab_size"] = 10
    with pytest.raises(FormatError, match=rf"m\.gguf: the tensor {name} is missing"):
        parts.load()


def test_a_misshapen_tensor_tells_both_shapes() -> None:
    parts = Parts()
    parts.tensors["blk.1.attn_k.weight"] = zeros("", (8, 8))
    with pytest.raises(FormatError, match=r"blk\.1\.attn_k\.weight has shape \(8, 8\), expected \(4, 8\)"):
        parts.load()


@pytest.mark.parametrize("name", ["blk.0.ffn_gate_inp.weight", "blk.2.attn_q.weight", "mm.0.weight"])
def test_a_tensor_of_another_architecture_is_refused(name: str) -> None:
    parts = Parts()
    parts.tensors[name] = zeros(name, (4, 8))
    with pytest.raises(UnsupportedError, match="which no LLaMA-family decoder has"):
        parts.load()


def test_a_file_that_claims_many_layers_fails_at_the_first_missing_one() -> None:
    parts = Parts()
    parts.hyperparameters["n_layers"] = 4000
    with pytest.raises(FormatError, match=r"blk\.2\.attn_norm\.weight is missing"):
        parts.load()


def test_rope_factors_are_read_and_checked() -> None:
    parts = Parts()
    data = memoryview(np.array([1.0, 8.0], np.float32).tobytes())
    parts.tensors["rope_freqs.weight"] = StoredTensor("rope_freqs.weight", TensorType.F32, (2,), data)
    assert parts.load().rope_factors() == (1.0, 8.0)
    parts.tensors["rope_freqs.weight"] = zeros("rope_freqs.weight", (3,))
    with pytest.raises(FormatError, match=r"rope_freqs\.weight is F32 \(3,\), expected F32 \(2,\)"):
        parts.load()
