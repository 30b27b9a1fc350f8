"""Read checkpoints as Meta released LLaMA: `consolidated.*.pth` and params.json.

Mistral's own releases and torchtune's checkpoints have the same shape with a few other words.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from tropilla.errors import FormatError
from tropilla.formats.checkpoint import Checkpoint
from tropilla.formats.fields import Fields
from tropilla.formats.folder_tokenizer import folder_chat_template, folder_tokenizer
from tropilla.formats.json_file import read_json_object
from tropilla.formats.model_parallel import join_shards
from tropilla.formats.names import (
    META,
    META_KEYS,
    TORCHTUNE,
    from_foreign,
    is_ignored,
    mixture_of_experts,
    unknown_tensor,
)
from tropilla.formats.stored import StoredTensor
from tropilla.formats.tensors import LazyTensor, Tensors
from tropilla.formats.torch_archive import TorchArchive
from tropilla.formats.traits import LARGEST, checked_heads, traits


def open_meta(path: Path) -> Checkpoint:
    """Open a folder with params.json and one `.pth` for each GPU, or one such file by its name."""
    folder = path if path.is_dir() else path.parent
    with ExitStack() as stack:
        archives = []
        for file in _weight_files(path):
            archives.append(TorchArchive(file))
            stack.callback(archives[-1].close)
        fields = Fields(folder / "params.json", read_json_object(folder / "params.json"))
        stored = _by_our_names(path, [archive.tensors for archive in archives])
        hyperparameters = _hyperparameters(fields, stored)
        return Checkpoint(
            path=path,
            format="Meta",
            architecture=_architecture(hyperparameters),
            hyperparameters=hyperparameters,
            tensors=Tensors(stored),
            tokenizer=folder_tokenizer(folder),
            chat_template=folder_chat_template(folder),
            metadata={"name": folder.resolve().name},
            on_close=stack.pop_all().close,
        )


def _weight_files(path: Path) -> list[Path]:
    """Return the weight files in the order of their GPUs."""
    if path.is_file():
        numbered = path.match("consolidated.*.pth")
        return sorted(path.parent.glob("consolidated.*.pth")) if numbered else [path]
    for pattern in ("consolidated.*.pth", "*.pth", "*.pt"):
        files = sorted(path.glob(pattern))
        if len(files) > 1 and not pattern.startswith("consolidated"):
            raise FormatError(path, f"holds {len(files)} files {pattern}; name the one to open")
        if files:
            return files
    raise FormatError(path, "has params.json but no consolidated.*.pth beside it")


def _by_our_names(path: Path, shards: Sequence[Mapping[str, StoredTensor]]) -> dict[str, LazyTensor]:
    if any(shard.keys() != shards[0].keys() for shard in shards):
        raise FormatError(path, "its files hold different tensors, so they are not parts of one model")
    dialect = TORCHTUNE if "layers.0.attn.q_proj.weight" in shards[0] else META
    embedding = shards[0].get("norm.scale" if dialect is TORCHTUNE else "norm.weight")
    dim = embedding.shape[0] if embedding is not None and embedding.shape else 0
    joined = {}
    for name in shards[0]:
        ours = from_foreign(name, dialect)
        if ours is not None:
            joined[ours] = join_shards(path, ours, [shard[name] for shard in shards], dim)
        elif not is_ignored(name, dialect):
            raise unknown_tensor(path, name)
    return joined


def _hyperparameters(fields: Fields, tensors: Mapping[str, LazyTensor]) -> dict[str, object]:
    if "moe" in fields:
        raise mixture_of_experts(fields.path)
    values: dict[str, object] = {
        name: fields.whole(META_KEYS[name], at_most=LARGEST[name]) for name in ("dim", "n_layers", "n_heads")
    }
    values |= checked_heads(fields, META_KEYS, values)
    values |= traits(fields.path, {name: tensor.shape for name, tensor in tensors.items()})
    gate = tensors.get("blk.0.ffn_gate.weight")
    if gate is None or len(gate.shape) != 2:
        raise FormatError(fields.path, "the model beside it has no feed-forward layer")
    # The file gives the width only as a rule (multiple_of, ffn_dim_multiplier) with historic variants.
    values["ffn_dim"] = gate.shape[0]
    eps, theta, window = META_KEYS["norm_eps"], META_KEYS["rope_theta"], META_KEYS["sliding_window"]
    values["norm_eps"] = fields.number(eps, at_most=1.0) if eps in fields else 1e-5
    values["rope_theta"] = fields.number(theta) if theta in fields else 10000.0
    if window in fields:
        values["sliding_window"] = fields.whole(window, at_most=LARGEST["context_length"])
    values["rope_scaling"] = _rope_scaling(fields)
    values["context_length"] = _context_length(fields, values)
    return values


def _rope_scaling(fields: Fields) -> dict[str, object] | None:
    """Return Llama 3.1's stretching, whose numbers stand in Meta's code and not in the file."""
    if not fields.flag(META_KEYS["scaled_rope"], default=False):
        return None
    factor, high = META_KEYS["scaling_factor"], META_KEYS["scaling_high_freq_factor"]
    return {
        "kind": "llama3",
        "factor": fields.number(factor) if factor in fields else 8.0,
        "original_context_length": 8192,
        "low_freq_factor": 1.0,
        "high_freq_factor": fields.number(high) if high in fields else 4.0,
    }


def _context_length(fields: Fields, values: Mapping[str, object]) -> int:
    """Return the context length, which Meta's files do not say, by the marks of each generation."""
    key = META_KEYS["context_length"]
    if key in fields:
        return fields.whole(key, at_most=LARGEST["context_length"])
    if values["rope_scaling"] is not None:
        return 131072
    if values["rope_theta"] == 500000.0:
        return 8192
    return 2048 if values["norm_eps"] == 1e-6 else 4096


def _architecture(hyperparameters: Mapping[str, object]) -> str:
    return "llama" if hyperparameters.get("sliding_window") is None else "mistral"
