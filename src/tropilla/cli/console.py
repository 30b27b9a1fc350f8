"""A rich console that draws for people and stays plain and unwrapped for pipes."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table

ROW_WIDTH = 10_000  # for a pipe whose reader wants one line for each row, however long
PROSE_WIDTH = 100


def make_console(*, markup: bool = True, pipe_width: int = ROW_WIDTH) -> Console:
    """Return a console on standard output; without markup, [brackets] in names stay as they are.

    pipe_width: where lines end if standard output is no terminal.
    """
    from rich.console import Console

    width = None if sys.stdout.isatty() else pipe_width
    return Console(width=width, markup=markup, highlight=False)


def make_table(*columns: str, right: tuple[str, ...] = ()) -> Table:
    """Return a borderless table with these headings; those in `right` are aligned to the right."""
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold underline")
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left", overflow="fold")
    return table


def natural_width(console: Console, table: Table) -> int:
    """Return the width at which no cell of the table needs a second line."""
    from rich.measure import Measurement

    return Measurement.get(console, console.options.update(max_width=ROW_WIDTH), table).maximum


def print_trimmed(console: Console, what: RenderableType) -> None:
    """Print a table or a text, for pipes without the spaces that fill up its lines."""
    if console.is_terminal:
        console.print(what)
        return
    with console.capture() as captured:
        console.print(what)
    print("\n".join(line.rstrip() for line in captured.get().splitlines()))
