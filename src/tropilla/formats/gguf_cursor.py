"""Read the header of a GGUF file value by value, trusting none of it."""

from __future__ import annotations

import struct
from pathlib import Path

from tropilla.errors import FormatError, UnsupportedError
from tropilla.formats.gguf_values import FIXED, LENGTH, GGUFArray, Scalar, ValueKind

# Tighter than the format's own 2**63: no real string or vocabulary comes near, so more is damage.
# The text of a header, decoded at once, may take four bytes of memory for one of the file.
MAX_TEXT_BYTES = 64 << 20
MAX_ARRAY_ITEMS = 1 << 30
MAX_ARRAY_STRINGS = 1 << 24


class HeaderCursor:
    """Walk forward through the header of a mapped GGUF file; every read is checked against its end.

    Raises FormatError, with the path and the offset, on anything that does not fit.
    """

    def __init__(self, path: Path, view: memoryview) -> None:
        self.path = path
        self.view = view
        self.position = 0
        self._text_left = MAX_TEXT_BYTES

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
        fixed = FIXED[kind]
        number: int = fixed.unpack_from(self.view, self.take(fixed.size, what))[0]
        return number

    def string(self, what: str, at_most: int = MAX_TEXT_BYTES) -> str:
        """Read a length and that many bytes of UTF-8."""
        length = self.number(ValueKind.UINT64, f"the length of {what}")
        if length > min(at_most, self._text_left):
            raise self.fail(f"{what} has {length} bytes, at most {at_most} are allowed; the file is damaged")
        self._text_left -= length
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
        fixed = FIXED[kind]
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
            self.take(length * FIXED[kind].size, what)
        if kind is ValueKind.BOOL:
            self._check_bools(start, what)
        return GGUFArray(self.path, kind, length, self.view[start : self.position], start)

    def _check_bools(self, start: int, what: str) -> None:
        if bytes(self.view[start : self.position]).strip(b"\0\1"):
            raise FormatError(self.path, f"{what} is a bool but neither 0 nor 1; the file is damaged", start)

    def _skip_strings(self, count: int, what: str) -> None:
        """Step over strings: a bare loop, because a vocabulary has hundreds of thousands."""
        view, position, unpack = self.view, self.position, LENGTH.unpack_from
        try:
            for _ in range(count):
                position += LENGTH.size + unpack(view, position)[0]
        except (struct.error, OverflowError):  # the next length would lie beyond the end of the file
            pass
        else:
            if position <= len(view):
                self.position = position
                return
        raise self.fail(f"{what} runs beyond the end of the file; it is cut off or damaged")
