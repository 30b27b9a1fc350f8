"""Bounds for the filters and methods that can make, or take, far more than they are given.

Each function takes the arguments of the filter it stands before, refuses what would grow too large, and
returns the arguments to go on with.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from tropilla.text.template_limits import (
    MAX_INDENT,
    MAX_PRECISION,
    Meter,
    TemplateLimitError,
    check_int,
)

Arguments = tuple[Any, ...]  # Any: a template's values have whatever type the template gives them


def _join(meter: Meter, value: Iterable[Any], d: object = "", attribute: object = None) -> Arguments:
    if attribute is not None:
        raise TemplateLimitError("joins by attribute; map(attribute=...) before join does the same")
    parts = meter.checked(list(meter.each(value)))
    meter.allow(len(parts) * len(str(d)))
    return parts, d


def _replace(meter: Meter, value: object, old: object, new: object, count: int | None = None) -> Arguments:
    text = str(value)
    meter.allow(len(text) + text.count(str(old)) * len(str(new)))
    return value, old, new, count


def _indent(
    meter: Meter, value: object, width: int | str = 4, first: bool = False, blank: bool = False
) -> Arguments:
    text = str(value)
    columns = width if isinstance(width, int) else len(width)
    meter.allow(len(text) + (text.count("\n") + 1) * columns)
    return value, width, first, blank


def _round(_: Meter, value: object, precision: int = 0, method: str = "common") -> Arguments:
    check_int(precision, MAX_PRECISION, "a precision")
    return value, precision, method


def _to_json(
    meter: Meter,
    value: object,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> Arguments:
    check_int(indent, MAX_INDENT, "an indentation")
    size = meter.measure(value)
    meter.allow(size.items * (size.depth * (indent or 0) + len("".join(separators or ()))))
    return value, ensure_ascii, indent, separators, sort_keys


def _trim(meter: Meter, value: object, chars: str | None = None) -> Arguments:
    meter.allow_search(len(str(value)), len(chars or ""))
    return value, chars


BOUNDS: dict[str, Callable[..., Arguments]] = {
    "join": _join,
    "replace": _replace,
    "indent": _indent,
    "round": _round,
    "tojson": _to_json,
    "trim": _trim,
}
# These go through what they are given item by item, out of reach of the loops that a template writes.
ITERATING = frozenset(
    ("groupby", "list", "map", "max", "min", "reject", "rejectattr", "select", "selectattr", "sort", "unique")
)
# CPython searches from the right, and strips, in time proportional to the product of the lengths.
_SLOW_SEARCHES = frozenset(("lstrip", "rfind", "rindex", "rpartition", "rsplit", "rstrip", "strip"))


def bound_iteration(meter: Meter, value: object) -> object:
    """Return what an iterating filter is to be given, so that each item passes the meter."""
    return meter.each(value) if isinstance(value, str | list | tuple | range | Iterator) else value


def bound_method(meter: Meter, name: str, text: str, arguments: Arguments) -> Arguments:
    """Bound a call of text.name(*arguments) and return the arguments to go on with."""
    if name == "replace":
        BOUNDS["replace"](meter, text, *arguments)
    elif name in _SLOW_SEARCHES:
        meter.allow_search(len(text), max((len(a) for a in arguments if isinstance(a, str)), default=0))
    elif name == "join":
        (parts,) = arguments
        return _join(meter, parts, text)[:1]
    return arguments
