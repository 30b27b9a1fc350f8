"""tropilla rm: delete a model from the library."""

from __future__ import annotations

import argparse

from tropilla.hub.disk import human_bytes


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("model", nargs="+", help="the name of a model in the library (tropilla models)")


def run(args: argparse.Namespace) -> int:
    """Delete each model and say how much room that made."""
    from tropilla.hub.library import remove

    for name in args.model:
        print(f"removed {name} ({human_bytes(remove(name))} free again)")
    return 0
