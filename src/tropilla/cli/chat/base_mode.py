"""`tropilla chat` with a base model: a text that goes on, by turns if the user takes part."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tropilla.cli.chat.app import OpenModel
from tropilla.cli.chat.entry import Reader
from tropilla.cli.chat.loading import open_shown
from tropilla.cli.chat.running_text import RunningText
from tropilla.cli.chat.running_text_loop import RunningTextLoop, Turns, reverse_prompts
from tropilla.cli.chat.screen import terminal_screen
from tropilla.cli.model_flags import DEFAULT_MODEL
from tropilla.cli.text_file import read_stdin, read_text, without_last_line_end
from tropilla.engine.sampling import Sampling
from tropilla.errors import OptionError
from tropilla.hub.library import library_folder
from tropilla.options import from_flags

_FLAGS = (
    "prompt",
    "file",
    "interactive",
    "interactive_first",
    "instruct",
    "reverse_prompt",
    "in_prefix",
    "keep",
)


def is_wanted(arguments: argparse.Namespace) -> bool:
    """Return whether any flag asks for a base model's mode."""
    given = [getattr(arguments, flag) for flag in _FLAGS]
    return any(value is not None and value is not False and value not in ("", []) for value in given)


def run(arguments: argparse.Namespace, open_model: OpenModel) -> int:
    """Write the text in the terminal, by turns where the flags ask for that."""
    _check(arguments)
    turns = _turns(arguments)
    screen = terminal_screen()
    model = open_shown(arguments.model or DEFAULT_MODEL, open_model, screen)
    prompts = reverse_prompts(arguments.reverse_prompt, turns)
    text = RunningText(model, keep=arguments.keep, reverse_prompts=prompts)
    try:
        loop = RunningTextLoop(text, _reader(turns), screen, from_flags(Sampling, arguments), turns)
        loop.run(_prompt(arguments))
    finally:
        model.close()
    return 0


def _reader(turns: Turns) -> Reader | None:
    if not turns.interactive:
        return None
    from tropilla.cli.chat.reader import PromptReader

    prompt = turns.in_prefix if turns.in_prefix.strip() else "> "
    return PromptReader(library_folder() / "history", (), prompt=prompt)


def _turns(arguments: argparse.Namespace) -> Turns:
    user_first = arguments.interactive_first or arguments.instruct
    asked = arguments.interactive or arguments.reverse_prompt or arguments.in_prefix
    return Turns(
        interactive=bool(user_first or asked) and sys.stdin.isatty(),
        user_first=user_first,
        instruct=arguments.instruct,
        in_prefix=arguments.in_prefix,
    )


def _prompt(arguments: argparse.Namespace) -> str:
    if arguments.prompt is not None:
        return str(arguments.prompt)
    if arguments.file is not None:
        return without_last_line_end(read_text(Path(arguments.file)))
    return "" if sys.stdin.isatty() else read_stdin()


def _check(arguments: argparse.Namespace) -> None:
    for flag in ("system", "format"):
        if getattr(arguments, flag) is not None:
            raise OptionError(f"--{flag} is for chats; leave it out, or leave out the flags of base models")
    if arguments.resume:
        raise OptionError("--continue is for chats; leave it out, or leave out the flags of base models")
    if arguments.prompt is not None and arguments.file is not None:
        raise OptionError("--prompt and --file both give the text to go on with; leave one out")
    if arguments.keep is not None and arguments.keep < -1:
        raise OptionError(f"keep must be at least -1 (the whole first text), got {arguments.keep}")
