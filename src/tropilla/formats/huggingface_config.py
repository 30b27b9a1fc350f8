"""Read config.json in the spellings of transformers 4 and 5."""

from __future__ import annotations

from collections.abc import Mapping

from tropilla.errors import UnsupportedError
from tropilla.formats.fields import Fields
from tropilla.formats.names import (
    ARCHITECTURES,
    HUGGING_FACE_KEYS,
    HUGGING_FACE_SCALING_KEYS,
    architecture_of_hugging_face,
)
from tropilla.formats.traits import LARGEST, checked_heads

_KINDS = ("linear", "yarn", "llama3")


def architecture_of(config: Fields) -> str:
    """Return our name of the model's architecture; raises UnsupportedError for others."""
    classes = config.raw("architectures")
    if isinstance(classes, list) and classes:
        return architecture_of_hugging_face(config.path, classes[0])
    by_type = {architecture.model_type: architecture for architecture in ARCHITECTURES.values()}
    model_type = config.text("model_type") or ""
    known = by_type.get(model_type)
    return architecture_of_hugging_face(config.path, known.hugging_face if known else model_type or classes)


def hyperparameters_of(config: Fields, architecture: str) -> dict[str, object]:
    """Return the hyperparameters that config.json holds; the tensors say the rest (`traits`)."""
    _refuse_what_we_lack(config)
    values: dict[str, object] = {
        name: config.whole(HUGGING_FACE_KEYS[name], at_most=LARGEST[name])
        for name in ("dim", "n_layers", "n_heads", "ffn_dim", "context_length")
    }
    values |= checked_heads(config, HUGGING_FACE_KEYS, values)
    values["norm_eps"] = config.number(HUGGING_FACE_KEYS["norm_eps"], at_most=1.0)
    rope = config.inner("rope_parameters") or config.inner("rope_scaling")
    values["rope_theta"] = _rope_theta(config, rope)
    values["rope_scaling"] = None if rope is None else _rope_scaling(rope, values)
    n_layers = values["n_layers"]
    assert isinstance(n_layers, int)
    values["sliding_window"] = _sliding_window(config, architecture, n_layers)
    return values


def _refuse_what_we_lack(config: Fields) -> None:
    quantization = config.inner("quantization_config")
    if quantization is not None:
        method = quantization.raw("quant_method")
        raise UnsupportedError(
            f"{config.path}: weights quantized by {method!r} are not supported in safetensors"
        )
    activation = config.text("hidden_act")
    if activation not in (None, "silu", "swish"):
        raise UnsupportedError(f"{config.path}: activation {activation!r} is not supported; silu is")
    if config.raw("partial_rotary_factor") not in (None, 1, 1.0):
        raise UnsupportedError(f"{config.path}: partial rotation of heads is not supported")


def _rope_theta(config: Fields, rope: Fields | None) -> float:
    key = HUGGING_FACE_KEYS["rope_theta"]
    for fields in (rope, config):
        if fields is not None and key in fields:
            return fields.number(key)
    return 10000.0


def _rope_scaling(rope: Fields, values: Mapping[str, object]) -> dict[str, object] | None:
    kind = rope.text("rope_type") or rope.text("type") or "default"
    if kind == "default":
        return None
    unread = [key for key in ("mscale", "mscale_all_dim", "truncate") if key in rope]
    if kind not in _KINDS or unread:
        what = f"rope scaling {kind!r}" + (f" with {unread[0]}" if unread else "")
        raise UnsupportedError(f"{rope.path}: {what} is not supported; {', '.join(_KINDS)} are")
    scaling: dict[str, object] = {"kind": kind}
    for name, key in HUGGING_FACE_SCALING_KEYS.items():
        if name == "original_context_length" and key in rope:
            scaling[name] = rope.whole(key, at_most=LARGEST["context_length"])
        elif key in rope or name == "factor":
            scaling[name] = rope.number(key)
    if kind != "linear":
        scaling.setdefault("original_context_length", values["context_length"])
    return scaling


def _sliding_window(config: Fields, architecture: str, n_layers: int) -> int | None:
    """Return the window if every layer has it; raises UnsupportedError if only some do."""
    key = HUGGING_FACE_KEYS["sliding_window"]
    is_qwen = architecture.startswith("qwen")
    if key not in config or architecture == "llama":
        return None
    if is_qwen and not config.flag("use_sliding_window", default=False):
        return None
    layer_types = config.raw("layer_types")
    if isinstance(layer_types, list):
        kinds = {str(kind) == "sliding_attention" for kind in layer_types}
    else:
        first = config.whole("max_window_layers", at_least=0, at_most=LARGEST["n_layers"]) if is_qwen else 0
        kinds = {layer >= first for layer in range(n_layers)}
    if len(kinds) != 1:
        raise UnsupportedError(f"{config.path}: layers with different attention windows are not supported")
    return config.whole(key, at_most=LARGEST["context_length"]) if True in kinds else None
