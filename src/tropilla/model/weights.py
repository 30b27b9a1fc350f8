"""A checkpoint's tensors, checked against the shape of the model that they are meant for."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

from tropilla.errors import FormatError, UnsupportedError
from tropilla.formats.checkpoint import Checkpoint
from tropilla.formats.stored import StoredTensor
from tropilla.formats.tensor_types import TensorType
from tropilla.formats.tensors import LazyTensor
from tropilla.model.config import LlamaConfig, layer_shapes, tensor_shapes

# Frequency factors of Llama 3; not weights, and not every file has them.
ROPE_FACTORS = "rope_freqs.weight"


@dataclass(frozen=True, slots=True)
class ModelWeights:
    """Hold a config and every tensor that it asks for, each of the right shape."""

    config: LlamaConfig
    tensors: Mapping[str, StoredTensor]

    def rope_factors(self) -> tuple[float, ...] | None:
        """Return Llama 3's divisor for each rotary frequency, where the file holds them."""
        tensor = self.tensors.get(ROPE_FACTORS)
        if tensor is None:
            return None
        return tuple(tensor.data.cast("B").cast("f"))


def load_weights(checkpoint: Checkpoint) -> ModelWeights:
    """Match a checkpoint's tensors with its hyperparameters.

    Which biases and norms a model has is read off the tensors, because GGUF metadata does not say.
    Raises FormatError for a missing or misshapen tensor and UnsupportedError for an unknown one.
    """
    path, layouts = checkpoint.name, checkpoint.tensors.layouts
    hyperparameters = {**checkpoint.hyperparameters, **_switches(layouts)}
    embedding = layouts.get("token_embd.weight")
    if embedding is not None and len(embedding.shape) == 2:
        hyperparameters.setdefault("vocab_size", embedding.shape[0])
    config = LlamaConfig.from_hyperparameters(hyperparameters, path=path)
    _check_tensors(path, config, layouts)
    return ModelWeights(config, checkpoint.tensors)


def _switches(tensors: Mapping[str, LazyTensor]) -> dict[str, bool]:
    return {
        "tied_embeddings": "output.weight" not in tensors,
        "qkv_bias": "blk.0.attn_q.bias" in tensors,
        "output_bias": "blk.0.attn_output.bias" in tensors,
        "mlp_bias": "blk.0.ffn_gate.bias" in tensors,
        "qk_norm": "blk.0.attn_q_norm.weight" in tensors,
    }


def _check_tensors(path: str, config: LlamaConfig, tensors: Mapping[str, LazyTensor]) -> None:
    # One layer at a time: a file that claims a million layers fails at the first that is missing.
    outer = tensor_shapes(dataclasses.replace(config, n_layers=1))
    for name, shape in outer.items():
        _check_tensor(path, config, tensors, name, shape)
    within_layer = layer_shapes(config)
    for layer in range(1, config.n_layers):
        for name, shape in within_layer.items():
            _check_tensor(path, config, tensors, f"blk.{layer}.{name}", shape)
    known = set(outer) | {ROPE_FACTORS}
    for name in tensors:
        if name not in known and not _is_layer_tensor(name, config.n_layers, within_layer):
            raise UnsupportedError(
                f"{path} holds the tensor {name}, which no LLaMA-family decoder has; "
                "Tropilla runs dense LLaMA-family models only"
            )
    _check_rope_factors(path, config, tensors.get(ROPE_FACTORS))


def _check_rope_factors(path: str, config: LlamaConfig, factors: LazyTensor | None) -> None:
    if factors is None:
        return
    half = config.head_dim // 2
    if factors.shape != (half,) or factors.type is not TensorType.F32:
        raise FormatError(
            path, f"{ROPE_FACTORS} is {factors.type.name} {factors.shape}, expected F32 ({half},)"
        )


def _is_layer_tensor(name: str, n_layers: int, within_layer: Mapping[str, tuple[int, ...]]) -> bool:
    prefix, _, rest = name.partition(".")
    number, _, inner = rest.partition(".")
    return prefix == "blk" and number.isdecimal() and int(number) < n_layers and inner in within_layer


def _check_tensor(
    path: str,
    config: LlamaConfig,
    tensors: Mapping[str, LazyTensor],
    name: str,
    shape: tuple[int, ...],
) -> None:
    tensor = tensors.get(name)
    if tensor is None:
        raise FormatError(path, f"the tensor {name} is missing; the file is incomplete")
    if tensor.shape != shape:
        raise FormatError(
            path,
            f"{name} has shape {tensor.shape}, expected {shape} from dim={config.dim}, "
            f"n_heads={config.n_heads}, n_kv_heads={config.n_kv_heads}, head_dim={config.head_dim}, "
            f"ffn_dim={config.ffn_dim}",
        )
