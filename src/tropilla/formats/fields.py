"""Values that an unknown file claims, checked for type and range before anyone uses them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from tropilla.errors import FormatError


class Fields:
    """Read checked values from a file's key-value part; every error names the file and the key."""

    def __init__(self, path: Path, values: Mapping[str, object], *, prefix: str = "") -> None:
        self.path = path
        self._values = values
        self._prefix = prefix

    def __contains__(self, key: str) -> bool:
        return self._values.get(self._prefix + key) is not None

    def raw(self, key: str) -> object:
        """Return the unchecked value, None where absent."""
        return self._values.get(self._prefix + key)

    def whole(self, key: str, *, at_most: int, at_least: int = 1) -> int:
        """Return a whole number within the bounds; raises FormatError otherwise or if absent."""
        value = _same_for_all_layers(self.raw(key))
        if isinstance(value, int) and not isinstance(value, bool) and at_least <= value <= at_most:
            return value
        raise self._wrong(key, f"a whole number from {at_least} to {at_most}")

    def number(self, key: str, *, at_most: float = 1e12) -> float:
        """Return a positive finite number; raises FormatError otherwise or if absent."""
        value = self.raw(key)
        if isinstance(value, int | float) and not isinstance(value, bool):
            number = float(value) if abs(value) <= at_most else math.inf
            if 0 < number <= at_most:
                return number
        raise self._wrong(key, f"a number above 0 and at most {at_most:g}")

    def flag(self, key: str, *, default: bool) -> bool:
        """Return a boolean, the default where absent."""
        value = self.raw(key)
        if value is None:
            return default
        if isinstance(value, bool):
            return value
        raise self._wrong(key, "true or false")

    def text(self, key: str) -> str | None:
        """Return a text, None where absent."""
        value = self.raw(key)
        if value is None or isinstance(value, str):
            return value
        raise self._wrong(key, "a text")

    def inner(self, key: str) -> Fields | None:
        """Return the fields of an object within this one, None where absent."""
        value = self.raw(key)
        if value is None:
            return None
        if isinstance(value, Mapping):
            return Fields(self.path, value)
        raise self._wrong(key, "an object")

    def _wrong(self, key: str, expected: str) -> FormatError:
        name, value = self._prefix + key, self.raw(key)
        if value is None:
            return FormatError(self.path, f"does not say {name}, expected {expected}")
        return FormatError(self.path, f"{name} is {repr(value)[:80]}, expected {expected}")


def _same_for_all_layers(value: object) -> object:
    """Return the one value of a list with an entry a layer, if all entries agree."""
    if isinstance(value, Sequence) and not isinstance(value, str | bytes) and 0 < len(value) <= 1 << 12:
        first = value[0]
        if all(other == first for other in value):
            return first
    return value
