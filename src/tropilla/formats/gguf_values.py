"""The values of a GGUF header: their kinds, and arrays that are decoded only when used."""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterator, Sequence
from enum import IntEnum
from pathlib import Path
from typing import overload

from tropilla.errors import FormatError

Scalar = int | float | bool | str

LENGTH = struct.Struct("<Q")


class ValueKind(IntEnum):
    """Name the kinds of a metadata value; the number is the id in the file (gguf.md)."""

    UINT8 = 0
    INT8 = 1
    UINT16 = 2
    INT16 = 3
    UINT32 = 4
    INT32 = 5
    FLOAT32 = 6
    BOOL = 7
    STRING = 8
    ARRAY = 9
    UINT64 = 10
    INT64 = 11
    FLOAT64 = 12


# How each kind of fixed size is stored; a bool is a byte that must be 0 or 1.
FIXED = {
    ValueKind.UINT8: struct.Struct("<B"),
    ValueKind.INT8: struct.Struct("<b"),
    ValueKind.UINT16: struct.Struct("<H"),
    ValueKind.INT16: struct.Struct("<h"),
    ValueKind.UINT32: struct.Struct("<I"),
    ValueKind.INT32: struct.Struct("<i"),
    ValueKind.FLOAT32: struct.Struct("<f"),
    ValueKind.BOOL: struct.Struct("<B"),
    ValueKind.UINT64: struct.Struct("<Q"),
    ValueKind.INT64: struct.Struct("<q"),
    ValueKind.FLOAT64: struct.Struct("<d"),
}


class GGUFArray(Sequence[Scalar]):
    """Present an array of a GGUF header without decoding it; items are decoded as they are asked for.

    kind is the kind of its items; raw is their encoding in the file. Usable until the file is closed:
    take list(array) to keep it longer. Raises FormatError on text that is not UTF-8.
    """

    def __init__(self, path: Path, kind: ValueKind, length: int, raw: memoryview, offset: int) -> None:
        self.kind = kind
        self.raw = raw
        self._path = path
        self._length = length
        self._offset = offset
        self._starts: array[int] | None = None

    def __len__(self) -> int:
        return self._length

    def __repr__(self) -> str:
        return f"<GGUFArray of {self._length} {self.kind.name}>"

    @overload
    def __getitem__(self, index: int) -> Scalar: ...
    @overload
    def __getitem__(self, index: slice) -> list[Scalar]: ...
    def __getitem__(self, index: int | slice) -> Scalar | list[Scalar]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(self._length))]
        if not -self._length <= index < self._length:
            raise IndexError(f"index {index} of an array of {self._length} items")
        index %= self._length
        if self.kind is ValueKind.STRING:
            return self._string_at(self._string_starts()[index])
        fixed = FIXED[self.kind]
        return self._as_item(fixed.unpack_from(self.raw, index * fixed.size)[0])

    def __iter__(self) -> Iterator[Scalar]:
        if self.kind is ValueKind.STRING:
            return self._strings()
        numbers = (number for (number,) in FIXED[self.kind].iter_unpack(self.raw))
        return map(self._as_item, numbers) if self.kind is ValueKind.BOOL else numbers

    def bytes_at(self, index: int) -> bytes:
        """Return the bytes of a string, which need not be UTF-8."""
        start = self._string_starts()[index]
        return bytes(self.raw[start + LENGTH.size : start + LENGTH.size + self._string_bytes(start)])

    def _as_item(self, number: int | float) -> Scalar:
        return bool(number) if self.kind is ValueKind.BOOL else number

    def _string_bytes(self, start: int) -> int:
        length: int = LENGTH.unpack_from(self.raw, start)[0]
        return length

    def _strings(self) -> Iterator[str]:
        """Decode all strings in one bare loop over a copy, four times as fast as one by one in the file."""
        raw, end, unpack = bytes(self.raw), 0, LENGTH.unpack_from
        try:
            for _ in range(self._length):
                start = end + LENGTH.size
                end = start + unpack(raw, end)[0]
                yield raw[start:end].decode()
        except UnicodeDecodeError as error:
            raise self._not_utf8(start) from error

    def _walk_strings(self) -> Iterator[int]:
        position = 0
        for _ in range(self._length):
            yield position
            position += LENGTH.size + self._string_bytes(position)

    def _string_starts(self) -> array[int]:
        if self._starts is None:
            self._starts = array("Q", self._walk_strings())
        return self._starts

    def _string_at(self, start: int) -> str:
        first = start + LENGTH.size
        try:
            return str(self.raw[first : first + self._string_bytes(start)], "utf-8")
        except UnicodeDecodeError as error:
            raise self._not_utf8(first) from error

    def _not_utf8(self, position: int) -> FormatError:
        return FormatError(self._path, "a string of the header is not UTF-8", self._offset + position)
