"""One declaration of an option serves the Python caller, the command line and TOML files.

An options class is a frozen, keyword-only dataclass whose fields are made with `option()`; its
`__post_init__` calls `check(self)`.
"""

from __future__ import annotations

import argparse
import dataclasses
import difflib
import math
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from tropilla.errors import OptionError

T = TypeVar("T")

_LIMITS = "tropilla.limits"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """Say what an option means and which values it takes; `above` and `below` exclude their bound."""

    help: str
    at_least: float | None = None
    at_most: float | None = None
    above: float | None = None
    below: float | None = None
    choices: tuple[str, ...] | None = None

    def describe(self) -> str:
        """Return the allowed range as a reader expects it, such as "in (0, 1]"; "" if unlimited."""
        if self.choices is not None:
            return "one of " + ", ".join(self.choices)
        low, high = self._low(), self._high()
        if low and high:
            return f"in {low}, {high}"
        if low:
            return f"at least {low[1:]}" if low[0] == "[" else f"above {low[1:]}"
        if high:
            return f"at most {high[:-1]}" if high[-1] == "]" else f"below {high[:-1]}"
        return ""

    def _low(self) -> str:
        if self.above is not None:
            return f"({_number(self.above)}"
        return "" if self.at_least is None else f"[{_number(self.at_least)}"

    def _high(self) -> str:
        if self.below is not None:
            return f"{_number(self.below)})"
        return "" if self.at_most is None else f"{_number(self.at_most)}]"

    def admits(self, value: object) -> bool:
        """Return whether value lies within the limits; NaN never does."""
        if self.choices is not None and value not in self.choices:
            return False
        if not isinstance(value, int | float) or isinstance(value, bool):
            return True
        return not (
            (isinstance(value, float) and math.isnan(value))
            or (self.at_least is not None and value < self.at_least)
            or (self.at_most is not None and value > self.at_most)
            or (self.above is not None and value <= self.above)
            or (self.below is not None and value >= self.below)
        )


def _number(limit: float) -> str:
    """Write whole numbers in full: a reader cannot use 1.84467e+19."""
    return str(limit) if isinstance(limit, int) else f"{limit:g}"


def option(
    default: Any = dataclasses.MISSING,  # Any: dataclasses.field gives the default the field's type
    *,
    help: str,
    default_factory: Callable[[], Any] | None = None,
    at_least: float | None = None,
    at_most: float | None = None,
    above: float | None = None,
    below: float | None = None,
    choices: Iterable[str] | None = None,
) -> Any:
    """Declare one field of an options class with its help text and limits."""
    limits = Limits(
        help=help,
        at_least=at_least,
        at_most=at_most,
        above=above,
        below=below,
        choices=None if choices is None else tuple(choices),
    )
    if default_factory is not None:
        return dataclasses.field(default_factory=default_factory, metadata={_LIMITS: limits})
    return dataclasses.field(default=default, metadata={_LIMITS: limits})


def limits_of(options_class: type) -> dict[str, Limits]:
    """Return the limits of every option that the class declares, in order."""
    fields = dataclasses.fields(options_class)
    return {field.name: field.metadata[_LIMITS] for field in fields if _LIMITS in field.metadata}


def check(options: object) -> None:
    """Raise OptionError for the first field of a wrong type or outside its limits."""
    hints = typing.get_type_hints(type(options))
    for name, limits in limits_of(type(options)).items():
        value = getattr(options, name)
        if value is None and type(None) in typing.get_args(hints[name]):
            continue
        if not _has_type(value, hints[name]):
            raise OptionError(f"{name} must be {_type_words(hints[name])}, got {value!r}")
        if not limits.admits(value):
            raise OptionError(f"{name} must be {limits.describe() or 'a number'}, got {value}")


def from_mapping(options_class: type[T], values: Mapping[str, Any], *, where: str) -> T:
    """Build options from TOML or JSON values; where names the source in errors.

    Raises OptionError for an unknown key, with the nearest known one as a suggestion.
    """
    known = limits_of(options_class)
    for key in values:
        if key not in known:
            raise OptionError(f"{where}: unknown option {key!r}{suggestion(key, known)}")
    return options_class(**values)


def suggestion(word: str, known: Iterable[str]) -> str:
    """Return "; did you mean 'x'?" for the known word nearest to word, or "" if none is near."""
    near = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def add_flags(
    parser: argparse.ArgumentParser | argparse._ArgumentGroup,
    options_class: type,
    names: Iterable[str] | None = None,
) -> None:
    """Add a --flag for every option of the class, or those named; an absent flag leaves no attribute."""
    hints, all_limits = typing.get_type_hints(options_class), limits_of(options_class)
    for name in all_limits if names is None else names:
        limits = all_limits[name]
        flag = "--" + name.replace("_", "-")
        scalar = _scalar(hints[name])
        described = limits.describe()
        text = limits.help if not described or limits.choices else f"{limits.help} ({described})"
        if scalar is bool:
            parser.add_argument(
                flag, dest=name, action=argparse.BooleanOptionalAction, default=argparse.SUPPRESS, help=text
            )
        elif typing.get_origin(scalar) is tuple:
            item = typing.get_args(scalar)[0]
            parser.add_argument(
                flag, dest=name, action="append", type=item, default=argparse.SUPPRESS, help=text
            )
        elif scalar in (int, float, str):
            parser.add_argument(
                flag, dest=name, type=scalar, choices=limits.choices, default=argparse.SUPPRESS, help=text
            )


def from_flags(options_class: type[T], namespace: argparse.Namespace) -> T:
    """Build options from the flags that were given, with the class's defaults for the rest."""
    given = {name: getattr(namespace, name) for name in limits_of(options_class) if hasattr(namespace, name)}
    return options_class(**{k: tuple(v) if isinstance(v, list) else v for k, v in given.items()})


def _scalar(hint: Any) -> Any:
    """Return X for X | None."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        inner = [arg for arg in typing.get_args(hint) if arg is not type(None)]
        return inner[0] if len(inner) == 1 else hint
    return hint


def _has_type(value: object, hint: Any) -> bool:
    scalar = _scalar(hint)
    if scalar is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if scalar is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if scalar in (bool, str):
        return isinstance(value, scalar)
    return True


def _type_words(hint: Any) -> str:
    words = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}
    return words.get(_scalar(hint), str(hint))
