"""A rich console that draws for people and stays plain and unwrapped for pipes."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

_PIPE_WIDTH = 10_000  # a pipe's reader wants one line for each row, however long


def make_console(*, markup: bool = True) -> Console:
    """Return a console on standard output; without markup, [brackets] in names stay as they are."""
    from rich.console import Console

    width = None if sys.stdout.isatty() else _PIPE_WIDTH
    return Console(width=width, markup=markup, highlight=False, soft_wrap=not sys.stdout.isatty())


def make_table(*columns: str, right: tuple[str, ...] = ()) -> Table:
    """Return a borderless table with these headings; those in `right` are aligned to the right."""
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold underline")
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left", overflow="fold")
    return table
