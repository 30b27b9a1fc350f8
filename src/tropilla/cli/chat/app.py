"""The chat that is open: session, place on disk and model, joined for the commands to act on."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import fields, replace
from typing import Any

from tropilla.cli.chat.model_name import lasting
from tropilla.cli.chat.seam import TextModel
from tropilla.cli.chat.session import ChatSession
from tropilla.engine.sampling import Sampling
from tropilla.options import from_mapping
from tropilla.store.chats import ChatStore, StoredChat, new_chat

OpenModel = Callable[[str], TextModel]


class ChatApp:
    """Hold the open chat and keep it on disk: every change is saved as it happens.

    open_model loads a model by name or path; model is what it returned for model_name.
    """

    def __init__(
        self,
        model: TextModel,
        model_name: str,
        *,
        open_model: OpenModel,
        store: ChatStore,
        sampling: Sampling,
    ) -> None:
        self.model = model
        self.model_name = lasting(model_name)
        self.store = store
        self.session = ChatSession(model, sampling)
        self.stored = new_chat(self.model_name)
        self.attachments: list[str] = []
        self._open_model = open_model
        self._editing = False

    def ask(self, text: str) -> Generator[str, None, None]:
        """Return the answer to a message, with what /read attached to it."""
        whole = "\n\n".join([*self.attachments, text])
        pieces = self.session.edit(whole) if self._editing else self.session.ask(whole)
        self.attachments.clear()
        self._editing = False
        return self._saved_after(pieces)

    def regenerate(self) -> Generator[str, None, None]:
        """Return another answer to the last question."""
        return self._saved_after(self.session.regenerate())

    def begin_edit(self) -> str:
        """Return the last question; the next message asked takes its place."""
        question = self.session.last_question()
        self._editing = True
        return question

    def cancel_edit(self) -> None:
        """Let the next message be a new one again."""
        self._editing = False

    def save(self, name: str | None = None) -> None:
        """Write the chat as it is now, under a new name if one is given.

        A chat without questions stays unwritten.
        """
        name = self.stored.name if name is None else name
        self.stored = replace(
            self.stored,
            name=name,
            model=self.model_name,
            messages=self.session.messages,
            settings=settings_of(self.session.sampling),
        )
        if any(message.role == "user" for message in self.session.messages):
            self.stored = self.store.save(self.stored)

    def start_anew(self) -> None:
        """Leave the chat, which stays stored, and begin an empty one with its settings and system text."""
        system, sampling = self.session.system, self.session.sampling
        self.session = ChatSession(self.model, sampling)
        self.session.system = system
        self.stored = new_chat(self.model_name)
        self.attachments.clear()

    def resume(self, chat: StoredChat) -> None:
        """Go on with a stored chat, under the model that is loaded now."""
        sampling = from_mapping(Sampling, chat.settings, where=str(self.store.path(chat)))
        self.session = ChatSession(self.model, sampling, chat.messages)
        self.stored = chat

    def switch_model(self, name: str) -> None:
        """Go on with the same chat under another model; the old one stays if the new one cannot be opened."""
        model = self._open_model(name)
        self.model.close()
        self.model, self.model_name, self.session.model = model, lasting(name), model
        self.save()

    def _saved_after(self, pieces: Generator[str, None, None]) -> Generator[str, None, None]:
        try:
            yield from pieces
        finally:
            self.save()


def settings_of(sampling: Sampling) -> dict[str, Any]:
    """Return the options that differ from their defaults, as JSON can hold them."""
    default = Sampling()
    given = {field.name: getattr(sampling, field.name) for field in fields(Sampling)}
    return {name: value for name, value in given.items() if value != getattr(default, name)}
