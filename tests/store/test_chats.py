"""Stored chats: what was saved comes back, whole, and damage is named."""

from __future__ import annotations

import json
import logging
import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tropilla.errors import DataError, FormatError, RequestError
from tropilla.store.chats import ChatStore, StoredChat, new_chat
from tropilla.text.conversation import Message


@pytest.fixture
def store(tmp_path: Path) -> ChatStore:
    return ChatStore(tmp_path / "chats")


def chat(question: str, name: str = "") -> StoredChat:
    messages = (Message("system", "Be brief."), Message("user", question), Message("assistant", "안녕\n`x`"))
    return replace(new_chat("smollm2"), messages=messages, name=name, settings={"temperature": 0.5})


def test_what_was_saved_comes_back(store: ChatStore) -> None:
    saved = store.save(chat("Why is the sky blue?"))
    assert ChatStore(store.folder).load(saved.id) == saved


def test_an_empty_folder_holds_no_chats(store: ChatStore) -> None:
    assert store.newest_first() == []


def test_saving_again_replaces_and_moves_to_the_front(store: ChatStore) -> None:
    first, second = store.save(chat("one")), store.save(chat("two"))
    assert [c.id for c in store.newest_first()] == [second.id, first.id]
    store.save(replace(first, name="renamed"))
    assert [c.title for c in store.newest_first()] == ["renamed", "two"]


def test_title_is_the_name_or_the_first_words() -> None:
    assert chat("What\n is  this?").title == "What is this?"
    assert chat("x", name="Physics").title == "Physics"
    assert chat("a" * 100).title == "a" * 39 + "…"


def test_find_takes_a_place_a_name_or_an_id(store: ChatStore) -> None:
    old, new = store.save(chat("one", name="Physics")), store.save(chat("two"))
    assert [store.find(words).id for words in ("1", "2", "Physics", "two", old.id)] == [
        new.id, old.id, old.id, new.id, old.id,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "message"),
    [("Phisics", "did you mean 'Physics'?"), ("9", "1 chats are stored"), ("../x", "no chat")],
)
def test_find_says_what_there_is(store: ChatStore, words: str, message: str) -> None:
    store.save(chat("one", name="Physics"))
    with pytest.raises(RequestError, match=message.replace("?", r"\?")):
        store.find(words)


@pytest.mark.parametrize("chat_id", ["../secret", "", "nothing", "A/B"])
def test_an_id_cannot_leave_the_folder(store: ChatStore, chat_id: str) -> None:
    (store.folder.parent / "secret.json").write_text("{}", "utf-8")
    with pytest.raises(RequestError, match="there is no chat"):
        store.load(chat_id)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "{}",
        '{"version": 1}',
        '{"version": 1, "messages": [3]}',
        '{"version": 1, "messages": [{"role": "x", "content": ""}]}',
        "null",
    ],
)
def test_a_damaged_file_is_named_and_left_out(
    store: ChatStore, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    good = store.save(chat("one"))
    bad = store.folder / "bad.json"
    bad.write_text(text, "utf-8")
    with pytest.raises(DataError, match=r"bad\.json"):
        store.load("bad")
    with caplog.at_level(logging.WARNING):
        assert [c.id for c in store.newest_first()] == [good.id]
    assert "bad.json" in caplog.text


def test_a_newer_version_is_refused_not_guessed(store: ChatStore) -> None:
    path = store.path(store.save(chat("one")))
    record = json.loads(path.read_text("utf-8"))
    path.write_text(json.dumps({**record, "version": 2}), "utf-8")
    with pytest.raises(DataError, match="newer"):
        store.load(record["id"])


def test_a_failed_write_leaves_the_old_chat(store: ChatStore, monkeypatch: pytest.MonkeyPatch) -> None:
    saved = store.save(chat("one"))

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(FormatError, match="No space"):
        store.save(replace(saved, name="two"))
    assert store.load(saved.id) == saved
    assert [path.name for path in store.folder.iterdir()] == [f"{saved.id}.json"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows keeps permissions elsewhere")
def test_only_the_owner_may_read_the_chats(store: ChatStore) -> None:
    assert store.path(store.save(chat("one"))).parent.stat().st_mode & 0o077 == 0
