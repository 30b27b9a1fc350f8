"""Show and change the sampling settings by name, as the flags of the command line do."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

from tropilla.cli.parser import Parser
from tropilla.engine.sampling import Sampling, themes
from tropilla.errors import OptionError
from tropilla.options import add_flags, limits_of, suggestion

_VALUE_WIDTH = 12


def settings_table(sampling: Sampling) -> str:
    """Return every setting with its value; a star marks what is not at its default."""
    default = Sampling()
    width = max(map(len, limits_of(Sampling)))
    all_limits = limits_of(Sampling)
    lines = []
    for heading, names in themes().items():
        lines.append(f"{heading}:")
        for name in names:
            value = getattr(sampling, name)
            star = "*" if value != getattr(default, name) else " "
            lines.append(f"{star} {name:{width}} {_words(value):>{_VALUE_WIDTH}}  {all_limits[name].help}")
        lines.append("")
    return "\n".join([*lines, "/set NAME VALUE changes one; /set NAME puts it back to its default."])


def changed(sampling: Sampling, name: str, value: str) -> Sampling:
    """Return the settings with one changed, to its default if value is "".

    Raises OptionError for an unknown name, with the nearest known one, or a value out of range.
    """
    known = limits_of(Sampling)
    if name not in known:
        raise OptionError(f"unknown setting {name!r}{suggestion(name, known) or '; /set lists them'}")
    new = _parse(name, value) if value else getattr(Sampling(), name)
    given = {field.name: getattr(sampling, field.name) for field in fields(Sampling)}
    return replace(sampling, **{**given, name: new})


def _parse(name: str, value: str) -> Any:  # Any: the option's own type
    flag = "--" + name.replace("_", "-")
    parser = Parser(prog="/set", description=None)
    add_flags(parser, Sampling)
    if not parser.knows(flag):
        raise OptionError(f"{name} does not fit a line; set it with tropilla.Sampling in Python")
    arguments = (
        [flag, value] if value not in ("on", "off") else [flag if value == "on" else f"--no-{flag[2:]}"]
    )
    try:
        parsed = getattr(parser.parse_args(arguments), name)
    except OptionError as error:
        raise OptionError(str(error).replace(f"argument {flag}", name).split("; see")[0]) from error
    return tuple(parsed) if isinstance(parsed, list) else parsed


def _words(value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, tuple):
        value = " ".join(repr(item) if item.isspace() else str(item) for item in value)
    words = "-" if value in (None, "", {}) else str(value)
    return words if len(words) <= _VALUE_WIDTH else words[: _VALUE_WIDTH - 1] + "…"
