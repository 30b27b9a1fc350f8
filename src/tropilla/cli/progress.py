"""Show the events of long work: a bar in a terminal, a line for each stage in a log."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from tropilla.events import Event, Notice, Progress, Saved
from tropilla.hub.disk import human_bytes


def show(events: Iterable[Event], *, quiet: bool) -> Saved:
    """Run the work to its end, showing it on standard error unless quiet; return what it saved last."""
    if not quiet:
        events = _with_bar(events) if sys.stderr.isatty() else _with_lines(events)
    saved = None
    for event in events:
        if isinstance(event, Saved):
            saved = event
    assert saved is not None, "work that ends without an error has saved something"
    return saved


def _with_bar(events: Iterable[Event]) -> Iterable[Event]:
    """Pass the events on, drawing a bar for each stage of the work."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn
    from rich.progress import Progress as Bars

    words = TextColumn("{task.description}")
    columns = (words, BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Bars(*columns, console=Console(stderr=True), transient=True) as bars:
        tasks = {}
        for event in events:
            if isinstance(event, Progress):
                if event.what not in tasks:
                    tasks[event.what] = bars.add_task(event.what, total=event.total)
                bars.update(tasks[event.what], completed=event.done, total=event.total)
            elif isinstance(event, Notice):
                bars.console.print(f"note: {event.text}", markup=False, highlight=False)
            yield event


def _with_lines(events: Iterable[Event]) -> Iterable[Event]:
    """Pass the events on, saying where each stage begins."""
    stage = None
    for event in events:
        if isinstance(event, Progress) and event.what != stage:
            stage = event.what
            size = "" if event.total is None else f" ({human_bytes(event.total)})"
            print(f"{stage}{size} ...", file=sys.stderr)
        elif isinstance(event, Notice):
            print(f"note: {event.text}", file=sys.stderr)
        yield event
