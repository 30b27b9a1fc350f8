"""Read llama2.c's first checkpoint layout ("v0"): a header of seven numbers, then float32 tensors.

q and k are already in Meta's order of rotary pairs. The file has no magic number, so its size must
match its header to the byte. Source: karpathy/llama2.c, export.py and run.c.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import NamedTuple

from tropilla.errors import FormatError
from tropilla.formats.checkpoint import Checkpoint
from tropilla.formats.fields import Fields
from tropilla.formats.mapped import MappedFile
from tropilla.formats.stored import StoredTensor
from tropilla.formats.tensor_types import TensorType
from tropilla.formats.tensors import LazyTensor, Tensors, as_stored
from tropilla.formats.tokenizer_source import Llama2cVocabulary
from tropilla.formats.traits import LARGEST

HEADER = struct.Struct("<7i")
HEADER_FIELDS = ("dim", "ffn_dim", "n_layers", "n_heads", "n_kv_heads", "vocab_size", "context_length")
# The program that reads these files fixes both.
NORM_EPS = 1e-5
ROPE_THETA = 10000.0


class Run(NamedTuple):
    """Name one tensor of every layer, or of the model, in the order of the file; None is skipped."""

    name: str | None
    shape: tuple[int, ...]
    per_layer: bool


def layout(values: dict[str, int], *, tied: bool) -> list[Run]:
    """Return the tensors of a file in order; those of the layers stand together, layer by layer."""
    dim, ffn_dim, vocab_size = values["dim"], values["ffn_dim"], values["vocab_size"]
    head_dim = dim // values["n_heads"]
    kv_dim = head_dim * values["n_kv_heads"]
    runs = [
        Run("token_embd.weight", (vocab_size, dim), False),
        Run("attn_norm.weight", (dim,), True),
        Run("attn_q.weight", (dim, dim), True),
        Run("attn_k.weight", (kv_dim, dim), True),
        Run("attn_v.weight", (kv_dim, dim), True),
        Run("attn_output.weight", (dim, dim), True),
        Run("ffn_norm.weight", (dim,), True),
        Run("ffn_gate.weight", (ffn_dim, dim), True),
        Run("ffn_down.weight", (dim, ffn_dim), True),
        Run("ffn_up.weight", (ffn_dim, dim), True),
        Run("output_norm.weight", (dim,), False),
        # Tables of cosines and sines that readers compute themselves.
        Run(None, (values["context_length"], head_dim // 2), False),
        Run(None, (values["context_length"], head_dim // 2), False),
    ]
    return runs if tied else [*runs, Run("output.weight", (vocab_size, dim), False)]


def open_llama2c(path: Path) -> Checkpoint:
    """Open a v0 `.bin` file; its tokenizer is `tokenizer.bin` or `tok<vocabulary>.bin` beside it."""
    file = MappedFile(path)
    try:
        values, tied = _header(path, file.view)
        tensors = Tensors(dict(_tensors(path, file.view, values, tied)))
    except BaseException:
        file.close()
        raise
    return Checkpoint(
        path=path,
        format="llama2.c",
        architecture="llama",
        hyperparameters=_hyperparameters(values, tied),
        tensors=tensors,
        tokenizer=_tokenizer(path, values["vocab_size"]),
        chat_template=None,
        metadata={"name": path.stem},
        on_close=file.close,
    )


def _header(path: Path, view: memoryview) -> tuple[dict[str, int], bool]:
    """Return the checked header; a negative vocabulary size says that the output has its own weights."""
    if len(view) < HEADER.size:
        raise FormatError(path, f"has {len(view)} bytes, too few for a llama2.c header of {HEADER.size}", 0)
    numbers = dict(zip(HEADER_FIELDS, HEADER.unpack_from(view), strict=True))
    tied = numbers["vocab_size"] > 0
    fields = Fields(path, numbers | {"vocab_size": abs(numbers["vocab_size"])})
    values = {name: fields.whole(name, at_most=LARGEST[name]) for name in HEADER_FIELDS}
    if values["dim"] % values["n_heads"] or values["dim"] // values["n_heads"] % 2:
        raise FormatError(path, f"{values['dim']} dimensions cannot be shared by {values['n_heads']} heads")
    if values["n_heads"] % values["n_kv_heads"]:
        raise FormatError(path, f"{values['n_heads']} heads cannot share {values['n_kv_heads']} keys evenly")
    return values, tied


def _tensors(
    path: Path, view: memoryview, values: dict[str, int], tied: bool
) -> Iterator[tuple[str, LazyTensor]]:
    runs = layout(values, tied=tied)
    n_layers = values["n_layers"]
    item_bytes = 4
    expected = HEADER.size + item_bytes * sum(
        prod(run.shape) * (n_layers if run.per_layer else 1) for run in runs
    )
    if expected != len(view):
        raise FormatError(path, f"has {len(view)} bytes, but its llama2.c header announces {expected}")
    offset = HEADER.size
    for run in runs:
        for layer in range(n_layers if run.per_layer else 1):
            size = item_bytes * prod(run.shape)
            if run.name is not None:
                name = f"blk.{layer}.{run.name}" if run.per_layer else run.name
                data = view[offset : offset + size]
                yield name, as_stored(name, StoredTensor(name, TensorType.F32, run.shape, data, offset))
            offset += size


def _hyperparameters(values: dict[str, int], tied: bool) -> dict[str, object]:
    return {
        **values,
        "head_dim": values["dim"] // values["n_heads"],
        "norm_eps": NORM_EPS,
        "rope_theta": ROPE_THETA,
        "rope_scaling": None,
        "tied_embeddings": tied,
        "qkv_bias": False,
        "output_bias": False,
        "mlp_bias": False,
        "qk_norm": False,
    }


def _tokenizer(path: Path, vocab_size: int) -> Llama2cVocabulary | None:
    for name in (f"tok{vocab_size}.bin", "tokenizer.bin"):
        if (path.parent / name).is_file() and path.name != name:
            return Llama2cVocabulary(path=path.parent / name, vocab_size=vocab_size)
    return None
