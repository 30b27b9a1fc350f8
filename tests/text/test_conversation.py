"""Conversations are immutable and refuse what is not a message."""

from __future__ import annotations

import pytest

from tropilla.errors import RequestError
from tropilla.text.conversation import Conversation, Message


def test_mappings_and_messages_become_a_conversation() -> None:
    conversation = Conversation.of([{"role": "system", "content": "s"}, Message("user", "u", name="Ann")])
    assert conversation.system == "s"
    assert conversation.turns == (Message("user", "u", name="Ann"),)
    assert conversation.as_dicts() == [
        {"role": "system", "content": "s"},
        {"role": "user", "content": "u", "name": "Ann"},
    ]
    assert Conversation.of(conversation) is conversation


def test_adding_a_message_leaves_the_conversation_as_it_was() -> None:
    empty = Conversation()
    longer = empty.add("user", "u").add("assistant", "a")
    assert (len(empty), len(longer)) == (0, 2)
    assert empty.system is None
    assert longer.turns == tuple(longer)


@pytest.mark.parametrize(
    ("message", "named"),
    [
        ({"role": "asistant", "content": "x"}, "did you mean 'assistant'"),
        ({"role": "user"}, "message 1 needs a role and a content"),
        ({"role": "user", "content": [1]}, "message 1 needs a role and a content"),
        ({"role": "user", "content": "x", "images": []}, "'images'"),
        ("hello", "message 1 is 'hello'"),
    ],
)
def test_what_is_no_message_is_refused(message: dict[str, object], named: str) -> None:
    with pytest.raises(RequestError, match=named):
        Conversation.of([{"role": "user", "content": "fine"}, message])
