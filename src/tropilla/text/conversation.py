"""A conversation: who said what, in order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from tropilla.errors import RequestError
from tropilla.options import suggestion

ROLES = ("system", "user", "assistant", "tool")


@dataclass(frozen=True, slots=True)
class Message:
    """One message; raises RequestError for a role that does not exist."""

    role: str
    content: str
    name: str | None = None

    def __post_init__(self) -> None:
        if self.role not in ROLES:
            raise RequestError(
                f"a message has the role {self.role!r}, expected one of {', '.join(ROLES)}"
                + suggestion(self.role, ROLES)
            )
        if not isinstance(self.content, str):
            raise RequestError(f"a message's content must be a text, got {type(self.content).__name__}")

    def as_dict(self) -> dict[str, str]:
        """Return the message as templates and JSON see it."""
        named = {} if self.name is None else {"name": self.name}
        return {"role": self.role, "content": self.content, **named}


@dataclass(frozen=True, slots=True)
class Conversation:
    """Messages in order; a changed conversation is a new one."""

    messages: tuple[Message, ...] = ()

    @classmethod
    def of(cls, messages: Messages) -> Conversation:
        """Build a conversation from messages or from mappings with role and content.

        Raises RequestError naming the first message that is neither.
        """
        if isinstance(messages, Conversation):
            return messages
        return cls(tuple(_message(number, message) for number, message in enumerate(messages)))

    def __iter__(self) -> Iterator[Message]:
        return iter(self.messages)

    def __len__(self) -> int:
        return len(self.messages)

    @property
    def system(self) -> str | None:
        """Return the text of the leading system message, or None."""
        first = self.messages[0] if self.messages else None
        return first.content if first is not None and first.role == "system" else None

    @property
    def turns(self) -> tuple[Message, ...]:
        """Return the messages after the leading system message."""
        return self.messages if self.system is None else self.messages[1:]

    def add(self, role: str, content: str) -> Conversation:
        """Return the conversation with one more message."""
        return replace(self, messages=(*self.messages, Message(role, content)))

    def as_dicts(self) -> list[dict[str, str]]:
        """Return the messages as templates and JSON see them."""
        return [message.as_dict() for message in self.messages]


Messages = Conversation | Iterable[Message | Mapping[str, object]]


def _message(number: int, message: Message | Mapping[str, object]) -> Message:
    if isinstance(message, Message):
        return message
    if not isinstance(message, Mapping):
        raise RequestError(f"message {number} is {message!r}, expected a mapping with role and content")
    unknown = message.keys() - {"role", "content", "name"}
    if unknown:
        raise RequestError(f"message {number} has the unknown field {min(unknown)!r}")
    role, content, name = message.get("role"), message.get("content"), message.get("name")
    if not isinstance(role, str) or not isinstance(content, str) or not isinstance(name, str | None):
        raise RequestError(f"message {number} needs a role and a content, both texts")
    return Message(role, content, name)
