"""Read a GGUF file as a model: its keys as hyperparameters, its tensors in Tropilla's conventions.

Nothing here needs an array library, so that a chat starts fast and lean.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

from tropilla.errors import FormatError, UnsupportedError
from tropilla.formats.checkpoint import Checkpoint
from tropilla.formats.fields import Fields
from tropilla.formats.gguf import GGUFFile
from tropilla.formats.names import (
    ARCHITECTURES,
    GGUF,
    GGUF_KEYS,
    architecture_of_gguf,
    from_foreign,
    mixture_of_experts,
    unknown_tensor,
)
from tropilla.formats.stored import StoredTensor
from tropilla.formats.tensors import LazyTensor, Tensors, as_stored, from_half_split
from tropilla.formats.tokenizer_source import gguf_vocabulary
from tropilla.formats.traits import LARGEST, checked_heads, traits

_PASSED_ON = (
    "name",
    "license",
    "organization",
    "basename",
    "finetune",
    "size_label",
    "file_type",
)


def open_gguf(path: Path) -> Checkpoint:
    """Open a GGUF file, or all parts of a split one through its first part."""
    file = GGUFFile(path)
    try:
        return _checkpoint(path, file)
    except BaseException:
        file.close()
        raise


def _checkpoint(path: Path, file: GGUFFile) -> Checkpoint:
    if "general.architecture" not in file.metadata:
        raise FormatError(path, "does not say general.architecture, so it is no model file")
    architecture = architecture_of_gguf(path, file.metadata["general.architecture"])
    hyperparameters = _hyperparameters(path, architecture, file.metadata, file.tensors)
    template = Fields(path, file.metadata).text("tokenizer.chat_template")
    return Checkpoint(
        path=path,
        format="GGUF",
        architecture=architecture,
        hyperparameters=hyperparameters,
        tensors=_tensors(path, architecture, hyperparameters, file.tensors),
        tokenizer=gguf_vocabulary(path, file.metadata),
        chat_template=template,
        metadata={
            key: file.metadata["general." + key] for key in _PASSED_ON if "general." + key in file.metadata
        },
        on_close=file.close,
    )


def _tensors(
    path: Path, architecture: str, hyperparameters: Mapping[str, object], stored: Mapping[str, StoredTensor]
) -> Tensors:
    head_dim = hyperparameters["head_dim"]
    assert isinstance(head_dim, int)
    layouts: dict[str, LazyTensor] = {}
    for name, tensor in stored.items():
        if from_foreign(name, GGUF) is None:
            raise unknown_tensor(path, name)
        if ARCHITECTURES[architecture].gguf_is_half_split:
            layouts[name] = from_half_split(path, name, tensor, head_dim)
        else:
            layouts[name] = as_stored(name, tensor)
    return Tensors(layouts)


def _hyperparameters(
    path: Path, architecture: str, metadata: Mapping[str, object], stored: Mapping[str, StoredTensor]
) -> dict[str, object]:
    fields = Fields(path, metadata, prefix=architecture + ".")
    _refuse_what_we_lack(path, fields)
    values: dict[str, object] = {
        name: fields.whole(GGUF_KEYS[name], at_most=LARGEST[name])
        for name in ("dim", "n_layers", "n_heads", "ffn_dim", "context_length")
    }
    values |= checked_heads(fields, GGUF_KEYS, values)
    rope_dim = GGUF_KEYS["rope_dim"]
    if rope_dim in fields and fields.whole(rope_dim, at_most=LARGEST["head_dim"]) != values["head_dim"]:
        raise UnsupportedError(f"{path}: {architecture}.{rope_dim} is not the head size, as it must be")
    values["norm_eps"] = fields.number(GGUF_KEYS["norm_eps"], at_most=1.0)
    theta = GGUF_KEYS["rope_theta"]
    values["rope_theta"] = fields.number(theta) if theta in fields else 10000.0
    window = GGUF_KEYS["sliding_window"]
    # Zero is how some converters say "none".
    if window in fields and fields.raw(window) != 0:
        values["sliding_window"] = fields.whole(window, at_most=LARGEST["context_length"])
    values["rope_scaling"] = _rope_scaling(fields, values["context_length"])
    return values | traits(path, {name: tensor.shape for name, tensor in stored.items()})


def _refuse_what_we_lack(path: Path, fields: Fields) -> None:
    if fields.raw(GGUF_KEYS["n_experts"]) not in (None, 0):
        raise mixture_of_experts(path)
    if fields.raw(GGUF_KEYS["attention_scale"]) not in (None, 0, 0.0):
        raise UnsupportedError(f"{path}: a special attention scale is not supported")
    key, value = GGUF_KEYS["head_dim"], GGUF_KEYS["value_dim"]
    if key in fields and value in fields and fields.raw(key) != fields.raw(value):
        raise UnsupportedError(f"{path}: keys and values of different sizes are not supported")


def _rope_scaling(fields: Fields, context_length: object) -> dict[str, object] | None:
    kind = fields.text(GGUF_KEYS["scaling_kind"])
    old = GGUF_KEYS["scaling_factor_before_2023_10"]
    if kind is None and old in fields:
        factor = fields.number(old)
        return None if factor == 1.0 else {"kind": "linear", "factor": factor}
    if kind in (None, "none"):
        return None
    if kind not in ("linear", "yarn"):
        raise UnsupportedError(f"{fields.path}: rope scaling {kind!r} is not supported; linear and yarn are")
    scaling: dict[str, object] = {"kind": kind, "factor": fields.number(GGUF_KEYS["scaling_factor"])}
    if kind == "yarn":
        scaling["original_context_length"] = context_length  # where the file does not say, as in llama.cpp
    original = GGUF_KEYS["scaling_original_context_length"]
    if original in fields:
        scaling["original_context_length"] = fields.whole(original, at_most=LARGEST["context_length"])
    for name in ("beta_fast", "beta_slow"):
        if GGUF_KEYS["scaling_" + name] in fields:
            scaling[name] = fields.number(GGUF_KEYS["scaling_" + name])
    attention = GGUF_KEYS["scaling_attention_factor"]
    if attention in fields:
        scaling["attention_factor"] = fields.number(attention) * yarn_attention_factor(scaling)
    return scaling


def yarn_attention_factor(scaling: Mapping[str, object]) -> float:
    """Return YaRN's own factor on cos and sin, which GGUF files leave out of theirs; 1 for other kinds.

    Source: Peng et al. 2023, section 3.4.
    """
    factor = scaling["factor"]
    assert isinstance(factor, float)
    return 0.1 * math.log(factor) + 1.0 if scaling["kind"] == "yarn" and factor > 1 else 1.0
