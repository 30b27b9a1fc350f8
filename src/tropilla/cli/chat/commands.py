"""The slash commands of the chat: one table, one short function each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tropilla.cli.chat.app import ChatApp
from tropilla.cli.chat.attachment import parse_read, read_attachment
from tropilla.cli.chat.model_name import short
from tropilla.cli.chat.outcome import Answer, Leave, Outcome, Prefill, Say
from tropilla.cli.chat.reports import chat_list, chat_stats, count
from tropilla.cli.chat.settings import changed, settings_table
from tropilla.errors import OptionError, RequestError
from tropilla.options import suggestion


@dataclass(frozen=True, slots=True)
class Command:
    """One slash command; argument is how the help page writes what follows it."""

    run: Callable[[ChatApp, str], Outcome]
    argument: str
    help: str


def respond(app: ChatApp, line: str) -> Outcome:
    """Do what one entry of the user asks: a slash command, or a message for the model.

    Two slashes begin a message that starts with one.
    """
    if not line.startswith("/"):
        return Answer(app.ask(line))
    if line.startswith("//"):
        return Answer(app.ask(line[1:]))
    name, _, argument = line[1:].partition(" ")
    return find(name).run(app, argument.strip())


def find(name: str) -> Command:
    """Return the command of that name; raise OptionError, with the nearest name, if there is none."""
    name = ALIASES.get(name, name)
    if name not in COMMANDS:
        hint = suggestion(name, COMMANDS).replace("mean '", "mean '/") or "; /help lists them"
        raise OptionError(f"unknown command '/{name}'{hint} (begin with // to send a message like this)")
    return COMMANDS[name]


def _system(app: ChatApp, argument: str) -> Outcome:
    if not argument:
        return Say(app.session.system or "There is no system message; /system TEXT sets one.")
    app.session.system = "" if argument == "none" else argument
    app.save()
    return Say("System message removed." if argument == "none" else "System message set.")


def _set(app: ChatApp, argument: str) -> Outcome:
    name, _, value = argument.partition(" ")
    if not name:
        return Say(settings_table(app.session.sampling))
    app.session.sampling = changed(app.session.sampling, name, value.strip())
    app.save()
    return Say(f"{name} = {getattr(app.session.sampling, name)}")


def _regenerate(app: ChatApp, _: str) -> Outcome:
    return Answer(app.regenerate())


def _edit(app: ChatApp, argument: str) -> Outcome:
    question = app.begin_edit()
    return Answer(app.ask(argument)) if argument else Prefill(question)


def _undo(app: ChatApp, _: str) -> Outcome:
    question = app.session.undo()
    app.save()
    return Say(f"Took back: {_first_words(question)}")


def _forget(app: ChatApp, argument: str) -> Outcome:
    if argument and not argument.isdecimal():
        raise OptionError(f"/forget takes a number of questions, got {argument!r}")
    dropped = app.session.forget(int(argument or 1))
    app.save()
    lines = [f"  {message.role}: {_first_words(message.content)}" for message in dropped]
    return Say("\n".join(["The model no longer sees:", *lines]))


def _read(app: ChatApp, argument: str) -> Outcome:
    if argument == "none":
        app.attachments.clear()
        return Say("No file goes with your next message.")
    path, question = parse_read(argument)
    text = read_attachment(path, limit_tokens=app.model.context_length)
    n_tokens = len(app.model.tokenize(text))
    if n_tokens >= app.model.context_length:
        raise RequestError(
            f"{path}: has {n_tokens} tokens, and the context holds {app.model.context_length}; "
            "cut the file, or start with a larger --context-length"
        )
    app.attachments.append(f"{path.name}:\n\n{text.rstrip()}")
    if question:
        return Answer(app.ask(question))
    return Say(f"{path.name}: {count(n_tokens, 'token')}; it goes with your next message.")


def _clear(app: ChatApp, _: str) -> Outcome:
    app.start_anew()
    return Say("A new chat. The last one is kept: /load lists the chats.")


def _save(app: ChatApp, argument: str) -> Outcome:
    app.session.last_question()  # an empty chat has nothing to save
    app.save(argument or None)
    return Say(
        f"Saved as {app.stored.title!r} in {app.store.path(app.stored)}; changes are saved as they happen."
    )


def _load(app: ChatApp, argument: str) -> Outcome:
    if not argument:
        return Say(chat_list(app.store.newest_first()))
    chat = app.store.find(argument)
    app.resume(chat)
    lines = [f"{chat.title}: {count(len(chat.messages), 'message')}."]
    if chat.model != app.model_name:
        lines.append(f"It was held with {short(chat.model)}; you are talking to {short(app.model_name)} now.")
    return Say("\n".join([*lines, "", *_transcript_tail(app)]).rstrip())


def _stats(app: ChatApp, _: str) -> Outcome:
    return Say(chat_stats(app))


def _model(app: ChatApp, argument: str) -> Outcome:
    if argument:
        app.switch_model(argument)
    return Say(f"{short(app.model_name)}: context of {count(app.model.context_length, 'token')}")


def _help(_: ChatApp, argument: str) -> Outcome:
    if argument:
        name = argument.removeprefix("/")
        command = find(name)
        return Say(f"/{name} {command.argument}".rstrip() + f": {command.help}")
    width = max(len(f"{name} {command.argument}") for name, command in COMMANDS.items()) + 1
    lines = [
        f"  {f'/{name} {command.argument}':{width}}  {command.help}" for name, command in COMMANDS.items()
    ]
    return Say("\n".join([*lines, "", *KEYS]))


def _exit(_: ChatApp, __: str) -> Outcome:
    return Leave()


def _first_words(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 60 else line[:59] + "…"


def _transcript_tail(app: ChatApp) -> list[str]:
    return [f"{message.role}: {message.content}" for message in app.session.messages[-2:]]


COMMANDS = {
    "system": Command(_system, "[TEXT|none]", "show, set or remove the system message"),
    "set": Command(_set, "[NAME [VALUE]]", "show the settings, or change one; without VALUE to its default"),
    "regenerate": Command(_regenerate, "", "answer the last question again"),
    "edit": Command(_edit, "[TEXT]", "change the last question and ask it again"),
    "undo": Command(_undo, "", "take back the last question and its answer"),
    "forget": Command(_forget, "[N]", "make room: drop the N oldest questions and answers (1)"),
    "read": Command(_read, "FILE|none [QUESTION]", "put a text file before the next message"),
    "clear": Command(_clear, "", "begin a new chat; this one is kept"),
    "save": Command(_save, "[NAME]", "name this chat"),
    "load": Command(_load, "[NAME|NUMBER]", "list the chats, or go on with one"),
    "stats": Command(_stats, "", "show tokens, speed and memory"),
    "model": Command(_model, "[NAME|PATH]", "show the model, or go on with another"),
    "help": Command(_help, "[COMMAND]", "show this page"),
    "exit": Command(_exit, "", "leave; the chat is kept (also Ctrl-D)"),
}

ALIASES = {"quit": "exit", "bye": "exit", "?": "help", "retry": "regenerate"}

KEYS = (
    '  """ ... """ or a \\ at the end of a line   go on with the message on the next line',
    "  Ctrl-C   stop the answer; again: leave      Ctrl-G   write the message in your editor",
    "  Up, Down, Ctrl-R   earlier messages         Tab      complete a command",
)
