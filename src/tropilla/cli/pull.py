"""tropilla pull: get a model into the library."""

from __future__ import annotations

import argparse

from tropilla.cli.progress import show
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
    from tropilla.hub.pull import pull
    from tropilla.hub.pull_options import PullOptions

    events = pull(args.model, PullOptions(file=args.file, name=args.name, again=args.again))
    saved = show(events, quiet=args.quiet)
    if not args.quiet:
        name = saved.path.parent.name if saved.path.is_file() else saved.path.name
        print(f"{name} is ready: {saved.path} ({human_bytes(saved.size_bytes)})")
    return 0
