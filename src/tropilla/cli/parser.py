"""The argument parser of a verb: argparse whose mistakes become one clear sentence."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

from tropilla.errors import OptionError
from tropilla.options import suggestion


class Parser(argparse.ArgumentParser):
    """Parse a verb's flags; raise OptionError, with the nearest known flag, where argparse would exit."""

    def __init__(self, *, prog: str, description: str | None) -> None:
        super().__init__(prog=prog, description=description, formatter_class=_Formatter, allow_abbrev=False)

    def parse_args(  # type: ignore[override]  # argparse's overloads on the namespace's type
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> argparse.Namespace:
        """Parse every argument; raise OptionError naming the first that no flag or place takes."""
        parsed, rest = self.parse_known_args(args, namespace)
        if rest:
            flags: dict[str, Any] = self._option_string_actions
            hint = suggestion(rest[0].split("=")[0], flags) or f"; see `{self.prog} --help`"
            raise OptionError(f"unknown argument {rest[0]!r}{hint}")
        return parsed

    def error(self, message: str) -> NoReturn:
        """Raise OptionError in place of argparse's usage page."""
        raise OptionError(f"{message}; see `{self.prog} --help`")

    def knows(self, flag: str) -> bool:
        """Return whether the parser takes a flag of that name."""
        return flag in self._option_string_actions


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """Write a usage line that fits a line, and place-holders that say what goes there."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=32)

    def add_usage(
        self,
        usage: str | None,
        actions: Iterable[argparse.Action],
        groups: Iterable[argparse._MutuallyExclusiveGroup],
        prefix: str | None = None,
    ) -> None:
        """Put what the verb needs into the usage line; the flags that it may get follow below it."""
        needed = [_usage_of(action) for action in actions if action.required or not action.option_strings]
        super().add_usage(usage or " ".join(["%(prog)s", *needed, "[options]"]), (), groups, prefix)

    def _get_default_metavar_for_optional(self, action: argparse.Action) -> str:
        return {int: "N", float: "X"}.get(action.type, "TEXT") if isinstance(action.type, type) else "TEXT"


def _usage_of(action: argparse.Action) -> str:
    if action.option_strings:
        return f"{action.option_strings[-1]} {action.metavar or action.dest.upper()}"
    name = str(action.metavar or action.dest)
    many = f"{name} ..." if action.nargs in ("+", "*") else name
    return f"[{many}]" if action.nargs in ("?", "*") else many
