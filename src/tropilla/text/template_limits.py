"""What a chat template may spend: time, characters, nesting. Templates come with downloaded files.

Everything a template does runs between two calls of `Meter.tick`, and each single operation is bounded
in size, so an endless loop stops at the deadline and a bomb before its memory is asked for.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sized
from typing import NamedTuple, TypeVar

T = TypeVar("T")

MAX_SOURCE_CHARS = 128 * 1024  # the longest released templates have about 30 000
MAX_TOKENS = 6_000  # of the template language; compiling takes time in proportion
DEADLINE_S = 0.4
MAX_INT_BITS = 4096
MAX_INDENT = 16
MAX_PRECISION = 20
MAX_DATE_FORMAT = 100
_SPARE_CHARS = 1 << 20  # what a template may write beyond a multiple of what it was given
_GROWTH = 4
_WORK_GROWTH = 64
_SPARE_ITEMS = 20_000

_MAX_COMPARISONS = 100_000_000  # a tenth of a second

_WIDE_FORMAT = re.compile(r"\d{3}|\*")


class TemplateLimitError(Exception):
    """Stop a template that asks for more than its limits; the text says which one."""


class Size(NamedTuple):
    """What a value amounts to: items and characters in all, and how deep its lists are nested."""

    items: int
    chars: int
    depth: int


class Meter:
    """Count what one render spends; input_chars is the size of the data that it renders."""

    def __init__(self, input_chars: int) -> None:
        self._deadline = time.monotonic() + DEADLINE_S
        self._longest = _SPARE_CHARS + _GROWTH * input_chars
        self._most_items = _SPARE_ITEMS + input_chars
        self._chars_left = _SPARE_CHARS * 8 + _WORK_GROWTH * input_chars

    def tick(self, chars: int = 0) -> str:
        """Charge a step that writes some characters; returns "" so that templates can call it."""
        if time.monotonic() > self._deadline:
            raise TemplateLimitError(f"runs for more than {DEADLINE_S:g} s")
        self._chars_left -= chars
        if self._chars_left < 0:
            raise TemplateLimitError("writes too much text for the messages it was given")
        return ""

    def allow(self, chars: int) -> None:
        """Refuse a text of this many characters before it is made, if it is too long."""
        if chars > self._longest:
            raise TemplateLimitError(f"builds a text of {chars} characters, more than {self._longest}")
        self.tick()

    def allow_search(self, chars: int, pattern_chars: int) -> None:
        """Refuse a search whose time is the product of two lengths, if that is too much."""
        self.tick()
        if chars * pattern_chars > _MAX_COMPARISONS:
            raise TemplateLimitError(f"searches {chars} characters for {pattern_chars} the slow way")

    def each(self, items: Iterable[T]) -> Iterator[T]:
        """Yield the items, each charged as a step; too many are refused."""
        for number, item in enumerate(items):
            self.tick()
            if number >= self._most_items:
                raise TemplateLimitError("filters a list that is too long")
            yield item

    def checked(self, value: T) -> T:
        """Return a value that the template built, once it is known to be of bounded size."""
        if isinstance(value, str):
            self.allow(len(value))
            self.tick(len(value))
        elif isinstance(value, int):
            _check_int(value.bit_length())
        elif isinstance(value, list | tuple | dict | set):
            self.tick(self.measure(value).items)
        return value

    def measure(self, value: object) -> Size:
        """Count what printing a value would print; refuse a list of too many items.

        Items inside items count each time: [a, a] forty levels deep is tiny in memory only.
        """
        items, chars, depth = 0, 0, 0
        unseen: list[tuple[object, int]] = [(value, 1)]
        while unseen:
            current, level = unseen.pop()
            if isinstance(current, str):
                chars += len(current)
            elif isinstance(current, Mapping):
                unseen += [(item, level + 1) for pair in current.items() for item in pair]
            elif isinstance(current, list | tuple | set):
                unseen += [(item, level + 1) for item in current]
            items, depth = items + 1, max(depth, level)
            if items + len(unseen) > self._most_items or chars > self._longest:
                raise TemplateLimitError("builds a list that is too long")
        return Size(items, chars, depth)


def check_power(base: object, exponent: object) -> None:
    """Refuse a power whose value would fill the memory."""
    if isinstance(base, int) and isinstance(exponent, int):
        _check_int(base.bit_length() * abs(exponent))


def product_chars(left: object, right: object) -> int:
    """Return the size of left * right where one of them is a text or list, else 0."""
    for sized, count in ((left, right), (right, left)):
        if isinstance(sized, Sized) and isinstance(count, int):
            return len(sized) * max(count, 0)
    return 0


def check_format(pattern: str) -> None:
    """Refuse a format that pads to three digits of width, or takes its width from data."""
    if _WIDE_FORMAT.search(pattern):
        raise TemplateLimitError(f"formats with {pattern[:40]!r}, whose width is too large or not fixed")


def check_int(value: object, largest: int, what: str) -> None:
    """Refuse a whole number beyond the largest; what names it in the error."""
    if isinstance(value, int) and abs(value) > largest:
        raise TemplateLimitError(f"asks for {what} of {value}, more than {largest}")


def _check_int(bits: int) -> None:
    if bits > MAX_INT_BITS:
        raise TemplateLimitError(f"computes a number of more than {MAX_INT_BITS} bits")
