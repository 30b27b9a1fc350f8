"""tropilla pull: get a model into the library."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable

from tropilla.events import Event, Progress, Saved
from tropilla.hub.disk import human_bytes


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument(
        "model",
        help="a catalogue name (tropilla models --catalogue), a hub's OWNER/REPOSITORY, or a file or folder",
    )
    parser.add_argument("--file", help="which GGUF of a repository: its name or a part of it, such as Q4_K_M")
    parser.add_argument("--name", help="what to call the model in your library")
    parser.add_argument("--again", action="store_true", help="fetch a fresh copy even if the model is here")
    parser.add_argument("--quiet", action="store_true", help="print nothing unless something goes wrong")


def run(args: argparse.Namespace) -> int:
    """Pull the model, showing how far it has come."""
    from tropilla.hub.pull import PullOptions, pull

    events = pull(args.model, PullOptions(file=args.file, name=args.name, again=args.again))
    if args.quiet:
        _last(events)
        return 0
    saved = _last(_with_bar(events) if sys.stderr.isatty() else _with_lines(events))
    name = saved.path.parent.name if saved.path.is_file() else saved.path.name
    print(f"{name} is ready: {saved.path} ({human_bytes(saved.size_bytes)})")
    return 0


def _last(events: Iterable[Event]) -> Saved:
    saved = None
    for event in events:
        if isinstance(event, Saved):
            saved = event
    assert saved is not None, "a pull that ends without an error has saved something"
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
            yield event


def _with_lines(events: Iterable[Event]) -> Iterable[Event]:
    """Pass the events on, saying on standard error where each stage begins."""
    stage = None
    for event in events:
        if isinstance(event, Progress) and event.what != stage:
            stage = event.what
            size = "" if event.total is None else f" ({human_bytes(event.total)})"
            print(f"{stage}{size} ...", file=sys.stderr)
        yield event
