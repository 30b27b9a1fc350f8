"""The two orders of a head's rows: Meta rotates rows (2i, 2i+1), Hugging Face rows (i, i + Dh/2).

Tropilla keeps Meta's interleaved order everywhere. A missed reordering does not fail, it only makes
the model talk nonsense, so the rule stands here once. Whole rows move, so quantized rows can too.
"""

from __future__ import annotations

from collections.abc import Iterator

_ROTATED = ("attn_q.weight", "attn_k.weight", "attn_q.bias", "attn_k.bias")
_ROTATED_NORMS = ("attn_q_norm.weight", "attn_k_norm.weight")


def is_rotated(name: str) -> bool:
    """Return whether rows of the tensor `name` are rotated, so that their order matters."""
    return name.endswith(_ROTATED + _ROTATED_NORMS)


def interleave_rows(data: memoryview, *, head_dim: int, row_bytes: int) -> memoryview:
    """Return a copy with each head's rows in Meta's order; data has them in Hugging Face's."""
    return _reorder(data, _interleaving(head_dim), row_bytes)


def split_rows(data: memoryview, *, head_dim: int, row_bytes: int) -> memoryview:
    """Return a copy with each head's rows in Hugging Face's order; data has them in Meta's."""
    order = [0] * head_dim
    for target, source in enumerate(_interleaving(head_dim)):
        order[source] = target
    return _reorder(data, iter(order), row_bytes)


def _interleaving(head_dim: int) -> Iterator[int]:
    """Yield, for each row in Meta's order, its place within the head in Hugging Face's order."""
    half = head_dim // 2
    return (i + part * half for i in range(half) for part in (0, 1))


def _reorder(data: memoryview, order: Iterator[int], row_bytes: int) -> memoryview:
    sources = list(order)
    head_bytes = len(sources) * row_bytes
    assert data.nbytes % head_bytes == 0, "the caller checks the shape"
    result = bytearray(data.nbytes)
    for head in range(0, data.nbytes, head_bytes):
        for target, source in enumerate(sources):
            at, start = head + target * row_bytes, head + source * row_bytes
            result[at : at + row_bytes] = data[start : start + row_bytes]
    return memoryview(result)
