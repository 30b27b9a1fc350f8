"""The values of a GGUF header: read one by one from untrusted bytes, arrays decoded only when used."""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterator, Sequence
from enum import IntEnum
from pathlib import Path
from typing import overload

from tropilla.errors import FormatError, UnsupportedError

Scalar = int | float | bool | str

# Tighter than the format's own 2**63: no real string or vocabulary comes near, so more is damage.
MAX_STRING_BYTES = 64 << 20
MAX_ARRAY_ITEMS = 1 << 30
MAX_ARRAY_STRINGS = 1 << 24

_LENGTH = struct.Struct("<Q")


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


# How `struct` spells each kind of fixed size; a bool is a byte that must be 0 or 1.
FIXED_CODES = {
    ValueKind.UINT8: "B",
    ValueKind.INT8: "b",
    ValueKind.UINT16: "H",
    ValueKind.INT16: "h",
    ValueKind.UINT32: "I",
    ValueKind.INT32: "i",
    ValueKind.FLOAT32: "f",
    ValueKind.BOOL: "B",
    ValueKind.UINT64: "Q",
    ValueKind.INT64: "q",
    ValueKind.FLOAT64: "d",
}
_FIXED = {kind: struct.Struct("<" + code) for kind, code in FIXED_CODES.items()}


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
        fixed = _FIXED[self.kind]
        return self._as_item(fixed.unpack_from(self.raw, index * fixed.size)[0])

    def __iter__(self) -> Iterator[Scalar]:
        if self.kind is ValueKind.STRING:
            return self._strings()
        numbers = (number for (number,) in _FIXED[self.kind].iter_unpack(self.raw))
        return map(self._as_item, numbers) if self.kind is ValueKind.BOOL else numbers

    def bytes_at(self, index: int) -> bytes:
        """Return the bytes of a string, which need not be UTF-8."""
        start = self._string_starts()[index]
        return bytes(self.raw[start + _LENGTH.size : start + _LENGTH.size + self._string_bytes(start)])

    def _as_item(self, number: int | float) -> Scalar:
        return bool(number) if self.kind is ValueKind.BOOL else number

    def _string_bytes(self, start: int) -> int:
        length: int = _LENGTH.unpack_from(self.raw, start)[0]
        return length

    def _strings(self) -> Iterator[str]:
        """Decode all strings in one bare loop, twice as fast as one by one."""
        raw, end, unpack = self.raw, 0, _LENGTH.unpack_from
        try:
            for _ in range(self._length):
                start = end + _LENGTH.size
                end = start + unpack(raw, end)[0]
                yield str(raw[start:end], "utf-8")
        except UnicodeDecodeError as error:
            raise self._not_utf8(start) from error

    def _walk_strings(self) -> Iterator[int]:
        position = 0
        for _ in range(self._length):
            yield position
            position += _LENGTH.size + self._string_bytes(position)

    def _string_starts(self) -> array[int]:
        if self._starts is None:
            self._starts = array("Q", self._walk_strings())
        return self._starts

    def _string_at(self, start: int) -> str:
        first = start + _LENGTH.size
        try:
            return str(self.raw[first : first + self._string_bytes(start)], "utf-8")
        except UnicodeDecodeError as error:
            raise self._not_utf8(first) from error

    def _not_utf8(self, position: int) -> FormatError:
        return FormatError(self._path, "a string of the header is not UTF-8", self._offset + position)


class HeaderCursor:
    """Walk forward through the header of a mapped GGUF file; every read is checked against its end.

    Raises FormatError, with the path and the offset, on anything that does not fit.
    """

    def __init__(self, path: Path, view: memoryview) -> None:
        self.path = path
        self.view = view
        self.position = 0

    @property
    def left(self) -> int:
        """Return how many bytes of the file are ahead."""
        return len(self.view) - self.position

    def fail(self, message: str) -> FormatError:
        """Make an error that points at the current position."""
        return FormatError(self.path, message, self.position)

    def take(self, n_bytes: int, what: str) -> int:
        """Step over n_bytes that hold `what`; return where they begin."""
        if n_bytes > self.left:
            raise self.fail(
                f"{what} needs {n_bytes} bytes but the file has only {self.left} more;"
                " it is cut off or damaged"
            )
        start = self.position
        self.position += n_bytes
        return start

    def number(self, kind: ValueKind, what: str) -> int:
        """Read an unsigned integer of the format's own structure."""
        fixed = _FIXED[kind]
        number: int = fixed.unpack_from(self.view, self.take(fixed.size, what))[0]
        return number

    def string(self, what: str, at_most: int = MAX_STRING_BYTES) -> str:
        """Read a length and that many bytes of UTF-8."""
        length = self.number(ValueKind.UINT64, f"the length of {what}")
        if length > at_most:
            raise self.fail(f"{what} has {length} bytes, at most {at_most} are allowed; the file is damaged")
        start = self.take(length, what)
        try:
            return str(self.view[start : self.position], "utf-8")
        except UnicodeDecodeError as error:
            raise FormatError(self.path, f"{what} is not UTF-8", start + error.start) from error

    def kind(self, what: str) -> ValueKind:
        """Read the kind of a value."""
        number = self.number(ValueKind.UINT32, f"the kind of {what}")
        try:
            return ValueKind(number)
        except ValueError:
            raise self.fail(f"{what} is of the unknown kind {number}; the file is damaged") from None

    def value(self, kind: ValueKind, what: str) -> Scalar | GGUFArray:
        """Read a value of this kind; arrays are stepped over and decoded later."""
        if kind is ValueKind.STRING:
            return self.string(what)
        if kind is ValueKind.ARRAY:
            return self._array(what)
        fixed = _FIXED[kind]
        start = self.take(fixed.size, what)
        if kind is ValueKind.BOOL:
            self._check_bools(start, what)
            return self.view[start] == 1
        number: int | float = fixed.unpack_from(self.view, start)[0]
        return number

    def _array(self, what: str) -> GGUFArray:
        kind = self.kind(f"the items of {what}")
        if kind is ValueKind.ARRAY:
            raise UnsupportedError(f"{self.path}: {what} is an array of arrays, which Tropilla does not read")
        length = self.number(ValueKind.UINT64, f"the length of {what}")
        limit = MAX_ARRAY_STRINGS if kind is ValueKind.STRING else MAX_ARRAY_ITEMS
        if length > limit:
            raise self.fail(f"{what} has {length} items, at most {limit} are allowed; the file is damaged")
        start = self.position
        if kind is ValueKind.STRING:
            self._skip_strings(length, what)
        else:
            self.take(length * _FIXED[kind].size, what)
        if kind is ValueKind.BOOL:
            self._check_bools(start, what)
        return GGUFArray(self.path, kind, length, self.view[start : self.position], start)

    def _check_bools(self, start: int, what: str) -> None:
        if bytes(self.view[start : self.position]).strip(b"\0\1"):
            raise FormatError(self.path, f"{what} is a bool but neither 0 nor 1; the file is damaged", start)

    def _skip_strings(self, count: int, what: str) -> None:
        """Step over strings: a bare loop, because a vocabulary has hundreds of thousands."""
        view, position, unpack = self.view, self.position, _LENGTH.unpack_from
        try:
            for _ in range(count):
                position += _LENGTH.size + unpack(view, position)[0]
        except (struct.error, OverflowError):  # the next length would lie beyond the end of the file
            pass
        else:
            if position <= len(view):
                self.position = position
                return
        raise self.fail(f"{what} runs beyond the end of the file; it is cut off or damaged")
