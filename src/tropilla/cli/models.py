"""List the models of your library; what there is to get (--catalogue); what fits this machine (--fit)."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tropilla.cli.console import make_console, make_table, natural_width, print_trimmed
from tropilla.cli.quantities import bytes_from, human_count
from tropilla.errors import OptionError, TropillaError
from tropilla.hub.disk import human_bytes
from tropilla.hub.library import InstalledModel, broken, installed, models_folder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console
    from rich.table import Table


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    lists = parser.add_mutually_exclusive_group()
    lists.add_argument(
        "--catalogue", action="store_true", help="list every family and model that Tropilla knows"
    )
    lists.add_argument("--fit", action="store_true", help="rank the catalogue for this machine")
    fit = parser.add_argument_group("with --fit")
    fit.add_argument("--memory", type=bytes_from, help="memory to use, such as 16GB (default: what is free)")
    fit.add_argument("--bandwidth", type=bytes_from, help="bytes a second, such as 50GB (default: measured)")
    fit.add_argument("--context", type=int, help="tokens of context to hold (default: 4096)")
    fit.add_argument("--min-speed", type=float, help="tokens a second that you want at least (default: 5)")
    fit.add_argument("--all-types", action="store_true", help="show every type, not only each model's best")
    parser.add_argument("--json", action="store_true", help="print JSON for scripts")


def run(args: argparse.Namespace) -> int:
    """Print the chosen list."""
    if args.fit:
        from tropilla.cli.fit_list import show_fit

        show_fit(args)
        return 0
    for flag in ("memory", "bandwidth", "context", "min_speed", "all_types"):
        if getattr(args, flag):
            raise OptionError(f"--{flag.replace('_', '-')} belongs to --fit; add --fit")
    if args.catalogue:
        from tropilla.cli.catalogue_list import show_catalogue

        show_catalogue(as_json=args.json)
    elif args.json:
        print(json.dumps([_as_json(model) for model in installed()], indent=1))
    else:
        _show_installed(installed())
    return 0


def _as_json(model: InstalledModel) -> dict[str, Any]:  # Any: JSON
    entry: dict[str, Any] = {
        "name": model.name,
        "path": str(model.path),
        "size_bytes": model.size_bytes,
        "licence": model.receipt.licence,
        "origin": model.receipt.origin,
    }
    try:
        contents = _contents(model)
    except TropillaError as error:
        return {**entry, "problem": str(error)}
    return {
        **entry,
        "format": contents.format,
        "type": contents.type,
        "parameters": contents.n_parameters,
        "context_length": contents.context_length,
    }


def _contents(model: InstalledModel) -> Any:  # Any: Contents, imported only when something is listed
    from tropilla.hub.contents import read_contents

    return read_contents(model.path)


def _show_installed(models: list[InstalledModel]) -> None:
    problems = [str(problem) for problem in broken()]
    if not models and not problems:
        print(f"Your library ({models_folder()}) is empty.")
        print("Get the default model:        tropilla pull smollm2")
        print("See what fits this machine:   tropilla models --fit")
        return
    console = make_console(markup=False)
    rows = []
    for model in models:
        try:
            rows.append(_row(model))
        except TropillaError as error:
            problems.append(str(error))
    if rows:
        _show_rows(console, rows)
    _show_problems(console, problems)


_HEADINGS = ("name", "type", "weights", "size", "context", "licence", "where")
_NUMBERS = ("weights", "size", "context")


def _show_rows(console: Console, rows: list[list[str]]) -> None:
    """Print the rows as one table; where that is too wide, the paths on lines of their own below it."""
    table = _table(_HEADINGS, rows)
    if natural_width(console, table) <= console.width:
        print_trimmed(console, table)
        return
    console.print(_table(_HEADINGS[:-1], [row[:-1] for row in rows]))
    console.print()
    for row in rows:
        console.print(row[-1], style="dim", soft_wrap=True)


def _table(headings: Sequence[str], rows: list[list[str]]) -> Table:
    table = make_table(*headings, right=_NUMBERS)
    for row in rows:
        table.add_row(*row)
    return table


def _row(model: InstalledModel) -> list[str]:
    contents = _contents(model)
    licence = model.receipt.licence
    return [
        model.name,
        contents.type,
        human_count(contents.n_parameters),
        human_bytes(model.size_bytes),
        str(contents.context_length or "?"),
        contents.licence or licence if licence == "not stated" else licence,
        short_path(model.path),
    ]


def _show_problems(console: Console, problems: list[str]) -> None:
    for problem in problems:
        console.print(f"cannot be used: {problem}", style="yellow", soft_wrap=True)


def short_path(path: Path) -> str:
    """Return a path with the home folder written as ~."""
    home = Path.home()
    return f"~/{path.relative_to(home).as_posix()}" if path.is_relative_to(home) else str(path)
