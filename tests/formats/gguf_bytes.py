"""Spell GGUF files field by field, so that tests can damage any of them."""

from __future__ import annotations

import struct

U8, U32, F32, BOOL, STRING, ARRAY, U64 = 0, 4, 6, 7, 8, 9, 10


def u32(number: int) -> bytes:
    return struct.pack("<I", number)


def u64(number: int) -> bytes:
    return struct.pack("<Q", number)


def text(content: str | bytes, length: int | None = None) -> bytes:
    """Spell a string; a length given says something else than the truth."""
    encoded = content.encode() if isinstance(content, str) else content
    return u64(len(encoded) if length is None else length) + encoded


def pair(key: str | bytes, kind: int, value: bytes) -> bytes:
    return text(key) + u32(kind) + value


def array(kind: int, length: int, items: bytes) -> bytes:
    return u32(kind) + u64(length) + items


def tensor(name: str | bytes, dims: tuple[int, ...], type_id: int = 0, offset: int = 0) -> bytes:
    """Describe a tensor; dims as in the file, the fastest first."""
    return text(name) + u32(len(dims)) + b"".join(map(u64, dims)) + u32(type_id) + u64(offset)


def file(
    pairs: list[bytes],
    tensors: list[bytes],
    data: bytes = b"",
    *,
    magic: bytes = b"GGUF",
    version: bytes = u32(3),
    n_pairs: int | None = None,
    n_tensors: int | None = None,
    alignment: int = 32,
) -> bytes:
    """Put a whole file together; counts that are given say something else than the truth."""
    counts = u64(len(tensors) if n_tensors is None else n_tensors)
    counts += u64(len(pairs) if n_pairs is None else n_pairs)
    header = magic + version + counts + b"".join(pairs) + b"".join(tensors)
    return header + bytes(-len(header) % alignment) + data
