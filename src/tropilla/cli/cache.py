"""tropilla cache: show or clear what --prefix-cache-mb keeps on disk.

With that option, `run` and `chat` keep what the model read of a prompt, so that the next run which
begins with the same text starts at once. Whatever is here can be deleted at any time.
"""

from __future__ import annotations

import argparse

from tropilla.hub.disk import human_bytes


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument(
        "action", nargs="?", choices=("show", "clear"), default="show", help="what to do (show if absent)"
    )


def run(args: argparse.Namespace) -> int:
    """Print the folder and how much it holds, or empty it."""
    from tropilla.engine.prefix_folder import clear, folder_use
    from tropilla.hub.library import prefix_folder

    folder = prefix_folder()
    if args.action == "clear":
        used = clear(folder)
        print(f"removed {used.n_blocks} blocks of prompts ({human_bytes(used.size_bytes)} free again)")
    else:
        used = folder_use(folder)
        print(f"{folder}: {used.n_blocks} blocks of prompts, {human_bytes(used.size_bytes)}")
    return 0
