"""The argument parser of a verb: argparse whose mistakes become one clear sentence."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
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


class _Formatter(argparse.RawDescriptionHelpFormatter):
    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=32)
