"""Chats on disk: one JSON file each, whole or absent, in a folder of the library."""

from __future__ import annotations

import json
import logging
import re
import secrets
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from tropilla.errors import DataError, RequestError
from tropilla.formats.atomic import new_file
from tropilla.options import suggestion
from tropilla.text.conversation import Message

_VERSION = 1
_ID = re.compile(r"[0-9a-z-]+")
_NAME_LENGTH = 40  # a list of chats fits its other columns beside this

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredChat:
    """Hold what a chat needs to go on after a restart; times are seconds since 1970."""

    id: str
    model: str
    name: str = ""
    messages: tuple[Message, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)  # Any: an option's value, as JSON has it
    created_s: float = 0.0
    updated_s: float = 0.0

    @property
    def title(self) -> str:
        """Return the name that the user gave, else the first words that the user wrote."""
        first = next((message.content for message in self.messages if message.role == "user"), "")
        words = self.name or " ".join(first.split())
        return words if len(words) <= _NAME_LENGTH else words[: _NAME_LENGTH - 1] + "…"


def new_chat(model: str) -> StoredChat:
    """Return an empty chat with an id of its own; ids sort by the time of their making."""
    now = time.time()
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime(now))
    return StoredChat(id=f"{stamp}-{secrets.token_hex(3)}", model=model, created_s=now, updated_s=now)


class ChatStore:
    """Keep chats in one folder, which appears with the first chat saved."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def save(self, chat: StoredChat) -> StoredChat:
        """Write the chat, replacing its earlier state, and return it with the time of this change."""
        chat = replace(chat, updated_s=time.time())
        text = json.dumps({"version": _VERSION, **asdict(chat)}, ensure_ascii=False)
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # nobody else reads the chats
        with new_file(self.path(chat)) as file:
            file.write(text.encode("utf-8"))
        return chat

    def path(self, chat: StoredChat) -> Path:
        """Return where the chat is kept."""
        return self.folder / f"{chat.id}.json"

    def load(self, chat_id: str) -> StoredChat:
        """Return the chat of that id; raise RequestError if there is none, DataError if it is damaged."""
        path = self.folder / f"{chat_id}.json"
        if not _ID.fullmatch(chat_id) or not path.exists():
            raise RequestError(f"there is no chat {chat_id!r}")
        return _parse(path)

    def newest_first(self) -> list[StoredChat]:
        """Return every readable chat, the last changed first; a damaged one is left out and logged."""
        chats = []
        for path in sorted(self.folder.glob("*.json")):
            try:
                chats.append(_parse(path))
            except DataError as error:
                log.warning("%s", error)
        return sorted(chats, key=lambda chat: chat.updated_s, reverse=True)

    def find(self, words: str) -> StoredChat:
        """Return the chat that the user means: by its place in newest_first() from 1, name or id.

        Raises RequestError, with the nearest name, if there is none.
        """
        chats = self.newest_first()
        if words.isdecimal() and 1 <= int(words) <= len(chats):
            return chats[int(words) - 1]
        for chat in chats:
            if words in (chat.id, chat.name, chat.title):
                return chat
        hint = suggestion(words, [chat.title for chat in chats])
        raise RequestError(f"there is no chat {words!r}{hint or f'; {len(chats)} chats are stored'}")


def _parse(path: Path) -> StoredChat:
    try:
        record = json.loads(path.read_text("utf-8"))
        if record.pop("version") != _VERSION:
            raise DataError(path, "was written by a newer Tropilla; update to open it")
        messages = tuple(Message(**message) for message in record.pop("messages"))
        return StoredChat(messages=messages, **record)
    except (ValueError, TypeError, KeyError, AttributeError, RequestError) as error:
        raise DataError(
            path, f"is no stored chat ({error}); move it away to be rid of this message"
        ) from error
