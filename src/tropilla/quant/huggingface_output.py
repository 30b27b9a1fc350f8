"""Write a checkpoint as a Hugging Face folder that `transformers` loads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from tropilla.errors import UnsupportedError
from tropilla.events import Event, Notice, Saved
from tropilla.formats.checkpoint import Checkpoint
from tropilla.formats.names import (
    ARCHITECTURES,
    HUGGING_FACE,
    HUGGING_FACE_KEYS,
    HUGGING_FACE_SCALING_KEYS,
    to_foreign,
)
from tropilla.formats.safetensors_writer import SafetensorsWriter
from tropilla.formats.tensor_types import TensorType
from tropilla.formats.tensors import to_half_split
from tropilla.quant.folder_vocabulary import write_tokenizer_files
from tropilla.quant.llama3_rope import ROPE_FACTORS, rope_rule
from tropilla.quant.new_folder import folder_bytes, new_folder, write_json
from tropilla.quant.outputs import Output, stream
from tropilla.quant.target_types import float_type, prevailing

_DTYPES = {TensorType.F32: "float32", TensorType.F16: "float16", TensorType.BF16: "bfloat16"}


def write_hugging_face(
    checkpoint: Checkpoint, destination: Path, wanted: TensorType | None
) -> Iterator[Event]:
    """Write config.json, model.safetensors and the tokenizer's files, yielding events.

    Raises UnsupportedError if no class of `transformers` has the model's mixture of biases and norms.
    """
    config = _config(checkpoint, _architecture(checkpoint))
    outputs = list(_outputs(checkpoint, wanted))
    dtype = prevailing((output.type, output.tensor.n_weights) for output in outputs)
    config |= dict.fromkeys(("dtype", "torch_dtype"), _DTYPES[dtype])  # transformers 5 and 4
    with new_folder(destination) as folder:
        ids = write_tokenizer_files(checkpoint, folder)
        if ids is None:
            yield Notice(text="the source has no tokenizer, so the result has none")
        write_json(folder / "config.json", config | (ids or {}))
        planned = [output.planned for output in outputs]
        with SafetensorsWriter(folder / "model.safetensors", planned, {"format": "pt"}) as writer:
            yield from stream(writer, outputs, "converting")
    yield Saved(path=destination, size_bytes=folder_bytes(destination))


def _outputs(checkpoint: Checkpoint, wanted: TensorType | None) -> Iterator[Output]:
    head_dim = checkpoint.hyperparameters["head_dim"]
    assert isinstance(head_dim, int)
    for name, tensor in checkpoint.tensors.layouts.items():
        if name != ROPE_FACTORS:
            kind = float_type(tensor.type, wanted)
            yield Output(to_foreign(name, HUGGING_FACE), kind, to_half_split(name, tensor, head_dim))


class _Switches(NamedTuple):
    qkv_bias: bool
    output_bias: bool
    mlp_bias: bool
    qk_norm: bool
    window: bool


def _architecture(checkpoint: Checkpoint) -> str:
    """Return the class whose layers have this model's biases, norms and window: its own if it can."""
    ours = checkpoint.hyperparameters
    has = _Switches(
        qkv_bias=ours["qkv_bias"] is True,
        output_bias=ours["output_bias"] is True,
        mlp_bias=ours["mlp_bias"] is True,
        qk_norm=ours["qk_norm"] is True,
        window=ours.get("sliding_window") is not None,
    )
    fitting = {
        "llama": not (has.qk_norm or has.window) and has.qkv_bias == has.output_bias,
        "mistral": not (has.qkv_bias or has.output_bias or has.mlp_bias or has.qk_norm),
        "qwen2": has.qkv_bias and not (has.output_bias or has.mlp_bias or has.qk_norm),
        "qwen3": has.qk_norm and not has.mlp_bias and has.qkv_bias == has.output_bias,
    }
    for name in (checkpoint.architecture, *fitting):
        if fitting[name]:
            return name
    raise UnsupportedError(f"{checkpoint.path}: no Hugging Face class has this mixture of biases and norms")


def _config(checkpoint: Checkpoint, architecture: str) -> dict[str, object]:
    ours = checkpoint.hyperparameters
    names = ARCHITECTURES[architecture]
    config: dict[str, object] = {
        "architectures": [names.hugging_face],
        "model_type": names.model_type,
        "hidden_act": "silu",
        **{theirs: ours.get(name) for name, theirs in HUGGING_FACE_KEYS.items()},
    }
    if architecture in ("llama", "qwen3"):
        config["attention_bias"] = ours["qkv_bias"]
    if architecture == "llama":
        config["mlp_bias"] = ours["mlp_bias"]
    if architecture.startswith("qwen"):
        config |= {"use_sliding_window": ours.get("sliding_window") is not None, "max_window_layers": 0}
    config["rope_scaling"] = _rope_scaling(rope_rule(checkpoint))
    return config


def _rope_scaling(rule: Mapping[str, object] | None) -> dict[str, object] | None:
    """Return the rule in the words of transformers 4, which transformers 5 reads too."""
    if rule is None:
        return None
    words = {theirs: rule[name] for name, theirs in HUGGING_FACE_SCALING_KEYS.items() if name in rule}
    return {"rope_type": rule["kind"], **words}
