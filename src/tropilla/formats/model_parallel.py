"""Meta's large checkpoints are cut into one file for each GPU; here the cuts are joined again.

Column-parallel layers are cut by rows, row-parallel ones by columns, norms are repeated in each file
(fairscale's model-parallel layers, with which LLaMA was trained).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tropilla.errors import FormatError
from tropilla.formats.stored import StoredTensor
from tropilla.formats.tensors import LazyTensor, as_stored

_CUT_BY_COLUMNS = ("attn_output.weight", "ffn_down.weight")


def join_shards(path: Path, name: str, shards: Sequence[StoredTensor], dim: int) -> LazyTensor:
    """Return the whole tensor of which each file holds a part, joined when read.

    name: canonical; dim: the model's, which tells how the embedding was cut.
    """
    first = shards[0]
    if any(shard.shape != first.shape or shard.type != first.type for shard in shards):
        raise FormatError(path, f"{name} differs in shape or type between the files")
    if len(first.shape) != 2 or len(shards) == 1:
        return as_stored(name, first)
    rows, columns = first.shape
    by_columns = name.endswith(_CUT_BY_COLUMNS)
    if name == "token_embd.weight":
        # LLaMA 1 and 2 cut the embedding's columns, LLaMA 3 the vocabulary.
        by_columns = columns * len(shards) == dim
    shape = (rows, columns * len(shards)) if by_columns else (rows * len(shards), columns)

    def read() -> StoredTensor:
        data = _beside(shards, rows) if by_columns else b"".join(shard.data for shard in shards)
        return StoredTensor(name, first.type, shape, memoryview(data))

    return LazyTensor(first.type, shape, read)


def _beside(shards: Sequence[StoredTensor], rows: int) -> bytearray:
    """Put the shards' columns side by side."""
    width = shards[0].data.nbytes // max(rows, 1)
    joined = bytearray(width * rows * len(shards))
    for part, shard in enumerate(shards):
        for row in range(rows):
            at = (row * len(shards) + part) * width
            joined[at : at + width] = shard.data[row * width : (row + 1) * width]
    return joined
