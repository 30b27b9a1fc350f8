"""Talk to a model in the terminal.

With a prompt on standard input it prints the answer and nothing else. The flags under "base models"
continue a text instead of answering messages.
"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from tropilla.cli.model_flags import add_model_flags, model_opener

if TYPE_CHECKING:
    from tropilla.cli.chat.app import OpenModel


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags of `tropilla chat`."""
    parser.add_argument("model", nargs="?", help="catalogue name, file or folder (smollm2)")
    chat = parser.add_argument_group("chats")
    chat.add_argument("--system", metavar="TEXT", help="system message of a new chat")
    chat.add_argument("--continue", dest="resume", action="store_true", help="go on with the last chat")
    base = parser.add_argument_group("base models")
    base.add_argument("-p", "--prompt", metavar="TEXT", help="text to go on with")
    base.add_argument("-f", "--file", metavar="FILE", help="file that holds the text to go on with")
    base.add_argument("-i", "--interactive", action="store_true", help="Ctrl-C interjects")
    base.add_argument("--interactive-first", action="store_true", help="the user writes first")
    base.add_argument(
        "--instruct", action="store_true", help="put instruction and response marks around turns"
    )
    base.add_argument(
        "-r",
        "--reverse-prompt",
        metavar="TEXT",
        action="append",
        default=[],
        help="hand over after this text",
    )
    base.add_argument("--in-prefix", metavar="TEXT", default="", help="put this before what the user writes")
    base.add_argument(
        "--keep",
        metavar="N",
        type=int,
        help="when the context is full, keep N first tokens and half of the rest",
    )
    add_model_flags(parser)


def run(arguments: argparse.Namespace, open_model: OpenModel | None = None) -> int:
    """Hold the conversation that the flags describe; open_model stands in for loading by name."""
    from tropilla.cli.chat import base_mode, chat_mode

    open_model = open_model or model_opener(arguments)
    if base_mode.is_wanted(arguments):
        return base_mode.run(arguments, open_model)
    if not sys.stdin.isatty():
        return chat_mode.answer_stdin(arguments, open_model)
    return chat_mode.converse(arguments, open_model)
