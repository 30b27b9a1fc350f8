"""`tropilla chat` with a chat model: an open conversation, or one answer for a pipe."""

from __future__ import annotations

import argparse
from dataclasses import replace

from tropilla.cli.chat.app import ChatApp, OpenModel
from tropilla.cli.chat.loading import open_shown
from tropilla.cli.chat.model_name import short
from tropilla.cli.chat.reports import count
from tropilla.cli.chat.screen import terminal_screen
from tropilla.cli.model_flags import DEFAULT_MODEL, given_flags
from tropilla.cli.plain import print_pieces
from tropilla.cli.text_file import read_stdin
from tropilla.engine.sampling import Sampling
from tropilla.errors import RequestError
from tropilla.hub.library import library_folder
from tropilla.options import from_flags
from tropilla.store.chats import ChatStore, StoredChat
from tropilla.text.conversation import Message


def converse(arguments: argparse.Namespace, open_model: OpenModel) -> int:
    """Talk in the terminal until the user leaves; chats are kept in the library."""
    from tropilla.cli.chat.commands import ALIASES, COMMANDS
    from tropilla.cli.chat.conversation_loop import ConversationLoop
    from tropilla.cli.chat.reader import PromptReader

    store = ChatStore(library_folder() / "chats")
    resumed = _last_chat(store) if arguments.resume else None
    name = arguments.model or (resumed.model if resumed else DEFAULT_MODEL)
    screen = terminal_screen()
    model = open_shown(name, open_model, screen)
    sampling = from_flags(Sampling, arguments)
    app = ChatApp(model, name, open_model=open_model, store=store, sampling=sampling)
    if resumed:
        app.resume(resumed)
        app.session.sampling = replace(app.session.sampling, **given_flags(Sampling, arguments))
    if arguments.system is not None:
        app.session.system = arguments.system
    screen.say(f"{short(name)}, context of {count(model.context_length, 'token')}. /help lists the commands.")
    if resumed:
        screen.say(f"Going on with {resumed.title!r}, {count(len(resumed.messages), 'message')}.")
    screen.say("")
    reader = PromptReader(library_folder() / "history", [*COMMANDS, *ALIASES])
    try:
        ConversationLoop(app, reader, screen).run()
    finally:
        app.model.close()
    return 0


def answer_stdin(arguments: argparse.Namespace, open_model: OpenModel) -> int:
    """Print the plain answer to the message on standard input, and nothing else."""
    message = read_stdin()
    if not message.strip():
        raise RequestError("standard input holds no message; write one, or run this in a terminal to chat")
    model = open_model(arguments.model or DEFAULT_MODEL)
    try:
        messages = [*_system_message(arguments.system), Message("user", message)]
        print_pieces(model.chat_stream(messages, from_flags(Sampling, arguments)))
    finally:
        model.close()
    return 0


def _system_message(text: str | None) -> list[Message]:
    return [Message("system", text)] if text else []


def _last_chat(store: ChatStore) -> StoredChat:
    chats = store.newest_first()
    if not chats:
        raise RequestError("there is no chat to continue yet; leave out --continue")
    return chats[0]
