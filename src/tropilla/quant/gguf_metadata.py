"""The key-value part of a GGUF file for a checkpoint of any format."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

from tropilla.formats.checkpoint import Checkpoint
from tropilla.formats.gguf import GGUFFile
from tropilla.formats.gguf_checkpoint import yarn_attention_factor
from tropilla.formats.gguf_values import ValueKind
from tropilla.formats.names import ARCHITECTURES, GGUF_KEYS
from tropilla.formats.tensor_types import TensorType
from tropilla.quant.gguf_vocabulary import gguf_vocabulary_of, vocabulary_metadata
from tropilla.quant.target_types import FILE_TYPES, FLOAT_TYPES

_QUANTIZATION_VERSION = 2  # of the block layouts since May 2023 (ggml.h, GGML_QNT_VERSION)


class Metadata(NamedTuple):
    """Hold keys with their values, and the kinds where a value alone would not tell."""

    values: dict[str, object]
    kinds: Mapping[str, ValueKind]


@contextmanager
def open_metadata(checkpoint: Checkpoint, file_type: TensorType) -> Iterator[Metadata]:
    """Offer the metadata for a file whose matrices are mostly of file_type.

    Everything that a GGUF source says is carried on, also what Tropilla does not know; its long arrays
    are usable within the block.
    """
    if checkpoint.format == "GGUF":
        with GGUFFile(checkpoint.path) as file:
            yield Metadata(_with_file_type(dict(file.metadata), file_type), file.kinds)
        return
    values = _general(checkpoint) | _architecture(checkpoint)
    if checkpoint.tokenizer is not None:
        vocab_size = checkpoint.hyperparameters["vocab_size"]
        assert isinstance(vocab_size, int)
        values |= vocabulary_metadata(gguf_vocabulary_of(checkpoint.tokenizer, vocab_size))
    if checkpoint.chat_template is not None:
        values["tokenizer.chat_template"] = checkpoint.chat_template
    yield Metadata(_with_file_type(values, file_type), {})


def _with_file_type(values: dict[str, object], file_type: TensorType) -> dict[str, object]:
    if file_type in FILE_TYPES:
        values["general.file_type"] = FILE_TYPES[file_type]
    if file_type not in FLOAT_TYPES:
        values["general.quantization_version"] = _QUANTIZATION_VERSION
    return values


def _general(checkpoint: Checkpoint) -> dict[str, object]:
    named = {"general." + key: value for key, value in checkpoint.metadata.items() if isinstance(value, str)}
    return {
        "general.architecture": ARCHITECTURES[checkpoint.architecture].gguf,
        "general.type": "model",
        **named,
    }


def _architecture(checkpoint: Checkpoint) -> dict[str, object]:
    """Return the hyperparameters in GGUF's words."""
    prefix = ARCHITECTURES[checkpoint.architecture].gguf + "."
    ours = dict(checkpoint.hyperparameters)
    ours["rope_dim"] = ours["value_dim"] = ours["head_dim"]
    scaling = ours.get("rope_scaling")
    # Llama 3's scaling is the tensor rope_freqs.weight.
    if isinstance(scaling, dict) and scaling["kind"] != "llama3":
        ours |= {"scaling_" + name: value for name, value in scaling.items()}
        if scaling.get("attention_factor") is not None:
            ours["scaling_attention_factor"] = scaling["attention_factor"] / yarn_attention_factor(scaling)
    return {prefix + key: ours[name] for name, key in GGUF_KEYS.items() if ours.get(name) is not None}
