"""Encode the values of a GGUF header."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from tropilla.formats.gguf_values import FIXED, LENGTH, GGUFArray, ValueKind


def encode_number(kind: ValueKind, number: int | float) -> bytes:
    """Encode a number, without its kind; raises ValueError if the kind cannot hold it."""
    try:
        return FIXED[kind].pack(number)
    except (struct.error, OverflowError) as error:
        raise ValueError(f"{number!r} does not fit in a {kind.name}") from error


def encode_string(text: str | bytes) -> bytes:
    """Encode a length and the text in UTF-8; bytes are taken as they are."""
    encoded = text.encode() if isinstance(text, str) else text
    return LENGTH.pack(len(encoded)) + encoded


def encode_value(value: object, kind: ValueKind | None = None) -> bytes:
    """Encode a kind and a value; of an array that is no GGUFArray, `kind` may give the items' kind.

    Raises ValueError if the value, or an item, has a type that the kind cannot hold.
    """
    if isinstance(value, GGUFArray):
        return _encode_array(value.kind, len(value), bytes(value.raw))
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        items = kind if kind not in (None, ValueKind.ARRAY) else _kind_of_items(value)
        return _encode_array(items, len(value), b"".join(_encode(items, item) for item in value))
    kind = _kind_of_number(value) if kind is None else kind
    return encode_number(ValueKind.UINT32, kind) + _encode(kind, value)


def _encode_array(items: ValueKind, length: int, encoded: bytes) -> bytes:
    kinds = encode_number(ValueKind.UINT32, ValueKind.ARRAY) + encode_number(ValueKind.UINT32, items)
    return kinds + LENGTH.pack(length) + encoded


def _encode(kind: ValueKind, value: object) -> bytes:
    if kind is ValueKind.STRING and isinstance(value, str | bytes):
        return encode_string(value)
    if kind is ValueKind.BOOL and isinstance(value, bool):
        return encode_number(kind, value)
    if kind in FIXED and kind is not ValueKind.BOOL and type(value) in (int, float):
        assert isinstance(value, int | float)
        return encode_number(kind, value)
    raise ValueError(f"{value!r} cannot be stored as {kind.name}")


def _kind_of_number(value: object) -> ValueKind:
    if isinstance(value, bool):
        return ValueKind.BOOL
    if isinstance(value, float):
        return ValueKind.FLOAT32
    if isinstance(value, int):
        return _kind_of_range(value, value, (ValueKind.UINT32, ValueKind.INT32))
    return ValueKind.STRING


def _kind_of_items(items: Sequence[object]) -> ValueKind:
    """Return the kind that holds all items; whole numbers are INT32 if they can be, as llama.cpp has them."""
    types = {type(item) for item in items}
    if types == {int}:
        numbers = [item for item in items if isinstance(item, int)]
        return _kind_of_range(min(numbers), max(numbers), (ValueKind.INT32, ValueKind.UINT32))
    if types and types <= {int, float}:
        return ValueKind.FLOAT32
    if types == {bool}:
        return ValueKind.BOOL
    if types and types <= {str, bytes}:
        return ValueKind.STRING
    raise ValueError("the kind of an empty or mixed array cannot be told; say it in `kinds`")


def _kind_of_range(least: int, greatest: int, preferred: tuple[ValueKind, ...]) -> ValueKind:
    for kind in (*preferred, ValueKind.UINT64):
        try:
            FIXED[kind].pack(least)
            FIXED[kind].pack(greatest)
        except struct.error:
            continue
        return kind
    return ValueKind.INT64
