"""Read the user's entries with prompt_toolkit: history, several lines, paste, editor, completion."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path

from prompt_toolkit import PromptSession
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent

from tropilla.cli.chat.entry import continues, is_complete, message_of


class PromptReader:
    """Read entries from the terminal and keep them in a history file of the owner's."""

    def __init__(self, history: Path, commands: Iterable[str], *, prompt: str = "> ") -> None:
        if sys.platform == "win32":
            os.environ.setdefault("EDITOR", "notepad")  # prompt_toolkit knows Unix editors only
        self._session: PromptSession[str] = PromptSession(
            [("bold", prompt)],
            multiline=True,
            prompt_continuation=" " * len(prompt),
            history=_history_in(history),
            completer=_Commands(commands),
            complete_while_typing=False,
            key_bindings=_keys(),
        )

    def read(self, prefill: str = "") -> str:
        """Return the next entry, fences taken off; prefill is there to be edited."""
        return message_of(self._session.prompt(default=prefill))


def _history_in(path: Path) -> History:
    """Return the history kept in a file; where that cannot be written, one that ends with the chat."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600))
    except OSError:
        return InMemoryHistory()
    return FileHistory(str(path))


class _Commands(Completer):
    def __init__(self, names: Iterable[str]) -> None:
        self._names = tuple(names)

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        """Yield the commands that begin as the entry does."""
        del complete_event
        text = document.text_before_cursor
        return [
            Completion(f"/{name}", -len(text)) for name in self._names if text and f"/{name}".startswith(text)
        ]


def _keys() -> KeyBindings:
    keys = KeyBindings()

    @keys.add("enter")
    def _(event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        if continues(buffer.document.current_line_before_cursor):
            buffer.delete_before_cursor()
            buffer.insert_text("\n")
        elif is_complete(buffer.text):
            buffer.validate_and_handle()
        else:
            buffer.insert_text("\n")

    @keys.add("c-c")
    def _(event: KeyPressEvent) -> None:
        if not event.current_buffer.text:
            event.app.exit(exception=KeyboardInterrupt, style="class:aborting")
        event.current_buffer.reset()

    @keys.add("c-g")
    def _(event: KeyPressEvent) -> None:
        event.current_buffer.open_in_editor()

    return keys
