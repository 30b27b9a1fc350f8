"""Tensor types by their GGUF ids, and the one definition of how each lays out its blocks.

A row of weights is a run of blocks; a block is its fields in order, little-endian, without padding.
Sources: ggml's ggml-common.h (which asserts these sizes) and gguf.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import IntEnum
from math import prod
from types import MappingProxyType
from typing import NamedTuple


class TensorType(IntEnum):
    """Name the tensor types whose block layout Tropilla knows; the value is the id in a GGUF file."""

    F32 = 0
    F16 = 1
    Q4_0 = 2
    Q4_1 = 3
    Q5_0 = 6
    Q5_1 = 7
    Q8_0 = 8
    Q8_1 = 9
    Q2_K = 10
    Q3_K = 11
    Q4_K = 12
    Q5_K = 13
    Q6_K = 14
    Q8_K = 15
    IQ2_XXS = 16
    IQ2_XS = 17
    IQ3_XXS = 18
    IQ1_S = 19
    IQ4_NL = 20
    IQ3_S = 21
    IQ2_S = 22
    IQ4_XS = 23
    I8 = 24
    I16 = 25
    I32 = 26
    I64 = 27
    F64 = 28
    IQ1_M = 29
    BF16 = 30
    TQ1_0 = 34
    TQ2_0 = 35
    MXFP4 = 39
    NVFP4 = 40


class BlockLayout(NamedTuple):
    """Describe one block: how many weights of a row it holds, its size, and its fields in order.

    fields maps a name to a NumPy type string such as "f2" (one float16) or "16u1" (16 bytes).
    """

    columns: int
    bytes: int
    fields: Mapping[str, str]

    @property
    def bits_per_weight(self) -> float:
        """Return how many bits of the file one weight takes, scales included."""
        return 8 * self.bytes / self.columns


def _field_bytes(code: str) -> int:
    kind = code.lstrip("0123456789")
    count = int(code.removesuffix(kind) or "1")
    return count * int(kind[1:])


def _block(columns: int, **fields: str) -> BlockLayout:
    size_bytes = sum(_field_bytes(code) for code in fields.values())
    return BlockLayout(columns, size_bytes, MappingProxyType(fields))


BLOCKS: Mapping[TensorType, BlockLayout] = MappingProxyType(
    {
        TensorType.F32: _block(1, x="f4"),
        TensorType.F16: _block(1, x="f2"),
        TensorType.BF16: _block(1, x="u2"),
        TensorType.F64: _block(1, x="f8"),
        TensorType.I8: _block(1, x="i1"),
        TensorType.I16: _block(1, x="i2"),
        TensorType.I32: _block(1, x="i4"),
        TensorType.I64: _block(1, x="i8"),
        TensorType.Q4_0: _block(32, d="f2", qs="16u1"),
        TensorType.Q4_1: _block(32, d="f2", m="f2", qs="16u1"),
        TensorType.Q5_0: _block(32, d="f2", qh="u4", qs="16u1"),
        TensorType.Q5_1: _block(32, d="f2", m="f2", qh="u4", qs="16u1"),
        TensorType.Q8_0: _block(32, d="f2", qs="32i1"),
        TensorType.Q8_1: _block(32, d="f2", s="f2", qs="32i1"),
        TensorType.Q2_K: _block(256, scales="16u1", qs="64u1", d="f2", dmin="f2"),
        TensorType.Q3_K: _block(256, hmask="32u1", qs="64u1", scales="12u1", d="f2"),
        TensorType.Q4_K: _block(256, d="f2", dmin="f2", scales="12u1", qs="128u1"),
        TensorType.Q5_K: _block(256, d="f2", dmin="f2", scales="12u1", qh="32u1", qs="128u1"),
        TensorType.Q6_K: _block(256, ql="128u1", qh="64u1", scales="16i1", d="f2"),
        TensorType.Q8_K: _block(256, d="f4", qs="256i1", bsums="16i2"),
        TensorType.TQ1_0: _block(256, qs="48u1", qh="4u1", d="f2"),
        TensorType.TQ2_0: _block(256, qs="64u1", d="f2"),
        TensorType.IQ1_S: _block(256, d="f2", qs="32u1", qh="8u2"),
        TensorType.IQ1_M: _block(256, qs="32u1", qh="16u1", scales="8u1"),
        TensorType.IQ2_XXS: _block(256, d="f2", qs="32u2"),
        TensorType.IQ2_XS: _block(256, d="f2", qs="32u2", scales="8u1"),
        TensorType.IQ2_S: _block(256, d="f2", qs="64u1", qh="8u1", scales="8u1"),
        TensorType.IQ3_XXS: _block(256, d="f2", qs="96u1"),
        TensorType.IQ3_S: _block(256, d="f2", qs="64u1", qh="8u1", signs="32u1", scales="4u1"),
        TensorType.IQ4_NL: _block(32, d="f2", qs="16u1"),
        TensorType.IQ4_XS: _block(256, d="f2", scales_h="u2", scales_l="4u1", qs="128u1"),
        TensorType.MXFP4: _block(32, e="u1", qs="16u1"),
        TensorType.NVFP4: _block(64, d="4u1", qs="32u1"),
    }
)

_REMOVED = {
    4: "Q4_2",
    5: "Q4_3",
    31: "Q4_0_4_4",
    32: "Q4_0_4_8",
    33: "Q4_0_8_8",
    36: "IQ4_NL_4_4",
    37: "IQ4_NL_4_8",
    38: "IQ4_NL_8_8",
}
_FORK_IDS = (range(133, 159), range(202, 234), range(335, 400))
_UNREAD = {41: "Q1_0", 42: "Q2_0"}


def foreign_type(type_id: int) -> str | None:
    """Say what a tensor type id means that others define and Tropilla does not read; None if nobody does."""
    if type_id in _REMOVED:
        return f"{_REMOVED[type_id]} (id {type_id}), a type that llama.cpp has removed"
    if type_id in _UNREAD:
        return f"{_UNREAD[type_id]} (id {type_id}), a type that Tropilla does not read"
    if any(type_id in ids for ids in _FORK_IDS):
        return f"id {type_id}, a type that only the ik_llama.cpp fork has"
    return None


def tensor_bytes(tensor_type: TensorType, shape: Sequence[int]) -> int:
    """Return the bytes that a tensor of this row-major shape takes.

    Raises ValueError if a row is not a whole number of blocks.
    """
    layout = BLOCKS[tensor_type]
    columns = shape[-1] if shape else 1
    if columns % layout.columns:
        raise ValueError(
            f"rows of {columns} weights are not a whole number of {tensor_type.name} blocks"
            f" of {layout.columns}"
        )
    return prod(shape) // layout.columns * layout.bytes
