"""Every slash command, without a terminal."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.chat.fake_model import FakeModel, FakeStats, FakeWork
from tropilla.cli.chat.app import ChatApp
from tropilla.cli.chat.commands import ALIASES, COMMANDS, respond
from tropilla.cli.chat.outcome import Answer, Leave, Prefill, Say
from tropilla.engine.sampling import Sampling
from tropilla.errors import DataError, OptionError, RequestError, TropillaError
from tropilla.store.chats import ChatStore

Open = Callable[..., ChatApp]


@pytest.fixture
def opened(tmp_path: Path) -> Open:
    """Return a function that opens a chat with a fake model of the given replies."""

    def opened(*replies: str, context_length: int = 2048) -> ChatApp:
        def open_model(name: str) -> FakeModel:
            if name == "broken":
                raise RequestError("there is no model 'broken'")
            return FakeModel((f"I am {name}.",), 4096)

        model = FakeModel(replies or ("ok",), context_length)
        store = ChatStore(tmp_path / "chats")
        return ChatApp(model, "fake", open_model=open_model, store=store, sampling=Sampling())

    return opened


def say(app: ChatApp, line: str) -> str:
    outcome = respond(app, line)
    assert isinstance(outcome, Say), outcome
    return outcome.text


def answer(app: ChatApp, line: str) -> str:
    outcome = respond(app, line)
    assert isinstance(outcome, Answer), outcome
    return "".join(outcome.pieces)


def contents(app: ChatApp) -> list[str]:
    return [message.content for message in app.session.messages]


def test_a_line_is_a_message(opened: Open) -> None:
    app = opened("Hello.")
    assert answer(app, "Hi") == "Hello."
    assert contents(app) == ["Hi", "Hello."]


def test_two_slashes_send_one(opened: Open) -> None:
    app = opened()
    answer(app, "//etc is what?")
    assert contents(app)[0] == "/etc is what?"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("/sytem x", "unknown command '/sytem'; did you mean '/system'?"),
        ("/zzzz", "unknown command '/zzzz'; /help lists them"),
    ],
)
def test_an_unknown_command_gets_a_suggestion(opened: Open, line: str, words: str) -> None:
    app = opened()
    with pytest.raises(OptionError) as raised:
        respond(app, line)
    assert str(raised.value).startswith(words)
    assert contents(app) == []


def test_system_shows_sets_and_removes(opened: Open) -> None:
    app = opened()
    assert "no system message" in say(app, "/system")
    say(app, "/system Be brief.")
    assert say(app, "/system") == "Be brief."
    answer(app, "Hi")
    assert contents(app) == ["Be brief.", "Hi", "ok"]
    say(app, "/system none")
    assert contents(app) == ["Hi", "ok"]


def test_set_changes_a_setting_and_puts_it_back(opened: Open) -> None:
    app = opened()
    assert say(app, "/set temperature 0.25") == "temperature = 0.25"
    assert app.session.sampling == Sampling(temperature=0.25)
    assert "* temperature" in say(app, "/set")
    say(app, "/set temperature")
    assert app.session.sampling == Sampling()
    assert "* temperature" not in say(app, "/set")


def test_set_lists_every_setting(opened: Open) -> None:
    table = say(opened(), "/set")
    for name in Sampling.__dataclass_fields__:
        assert f" {name} " in table


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("/set temprature 1", "unknown setting 'temprature'; did you mean 'temperature'?"),
        ("/set zzz 1", "unknown setting 'zzz'; /set lists them"),
        ("/set top_p 2", r"top_p must be in \(0, 1\], got 2"),
        ("/set temperature hot", "temperature: invalid float value: 'hot'"),
        ("/set logit_bias 1", "logit_bias does not fit a line"),
    ],
)
def test_set_refuses_what_is_wrong_and_changes_nothing(opened: Open, line: str, words: str) -> None:
    app = opened()
    with pytest.raises(OptionError, match=words):
        respond(app, line)
    assert app.session.sampling == Sampling()


def test_regenerate_answers_again(opened: Open) -> None:
    app = opened("one", "two")
    answer(app, "a")
    assert answer(app, "/regenerate") == "two"
    assert contents(app) == ["a", "two"]


def test_edit_offers_the_question_and_takes_its_place(opened: Open) -> None:
    app = opened("one", "two", "three")
    answer(app, "a")
    assert respond(app, "/edit") == Prefill("a")
    assert answer(app, "b") == "two"
    assert contents(app) == ["b", "two"]
    assert answer(app, "/edit c") == "three"
    assert contents(app) == ["c", "three"]
    answer(app, "d")
    assert contents(app) == ["c", "three", "d", "three"]


def test_a_cancelled_edit_asks_something_new(opened: Open) -> None:
    app = opened()
    answer(app, "a")
    respond(app, "/edit")
    app.cancel_edit()
    answer(app, "b")
    assert contents(app) == ["a", "ok", "b", "ok"]


def test_undo_says_what_it_took_back(opened: Open) -> None:
    app = opened()
    answer(app, "a")
    assert say(app, "/undo") == "Took back: a"
    assert contents(app) == []


def test_forget_says_what_the_model_no_longer_sees(opened: Open) -> None:
    app = opened("1", "2")
    answer(app, "a")
    answer(app, "b")
    assert say(app, "/forget") == "The model no longer sees:\n  user: a\n  assistant: 1"
    assert contents(app) == ["b", "2"]
    with pytest.raises(OptionError, match="number"):
        respond(app, "/forget all")


def test_a_full_context_is_refused_until_there_is_room(opened: Open) -> None:
    """An exchange of one word each takes 6 tokens with the template's overhead, four words more 6."""
    app = opened(context_length=12)
    answer(app, "a")
    with pytest.raises(RequestError, match="would need 12 tokens"):
        respond(app, "b c d e")
    assert contents(app) == ["a", "ok"]
    answer(app, "b")
    say(app, "/forget")
    assert contents(app) == ["b", "ok"]


def test_read_goes_with_the_next_message(opened: Open, tmp_path: Path) -> None:
    notes = tmp_path / "my notes.txt"
    notes.write_text("one two\n", "utf-8")
    app = opened()
    assert say(app, f'/read "{notes}"') == "my notes.txt: 3 tokens; it goes with your next message."
    answer(app, "Sum up.")
    answer(app, "And?")
    assert contents(app)[::2] == ["my notes.txt:\n\none two\n\nSum up.", "And?"]


def test_an_attached_file_can_be_dropped(opened: Open, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x", "utf-8")
    app = opened()
    say(app, f"/read {tmp_path / 'a.txt'}")
    say(app, "/read none")
    answer(app, "Hi")
    assert contents(app)[0] == "Hi"


def test_read_with_a_question_asks_at_once(opened: Open, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x", "utf-8")
    app = opened()
    assert answer(app, f"/read {tmp_path / 'a.txt'} What is it?") == "ok"
    assert contents(app)[0] == "a.txt:\n\nx\n\nWhat is it?"


@pytest.mark.parametrize(
    ("content", "error", "words"),
    [
        (None, RequestError, "no such file"),
        (b"\xff\xfe", DataError, "no UTF-8 text"),
        (b"w " * 20, RequestError, r"has 21 tokens, and the context holds 20"),
        (b"w" * 2000, RequestError, "2000 bytes cannot fit"),
    ],
)
def test_read_refuses_what_cannot_be_read_or_fit(
    opened: Open, tmp_path: Path, content: bytes | None, error: type[TropillaError], words: str
) -> None:
    path = tmp_path / "a.bin"
    if content is not None:
        path.write_bytes(content)
    app = opened(context_length=20)
    with pytest.raises(error, match=words):
        respond(app, f"/read {path}")
    assert app.attachments == []


def test_read_needs_a_file(opened: Open) -> None:
    with pytest.raises(OptionError, match="/read FILE"):
        respond(opened(), "/read")


def test_clear_begins_a_new_chat_and_keeps_the_old(opened: Open) -> None:
    app = opened()
    say(app, "/system s")
    answer(app, "a")
    say(app, "/clear")
    assert contents(app) == ["s"]
    answer(app, "b")
    assert [chat.title for chat in app.store.newest_first()] == ["b", "a"]


def test_save_names_the_chat(opened: Open) -> None:
    app = opened()
    with pytest.raises(RequestError, match="no question yet"):
        respond(app, "/save x")
    answer(app, "a")
    assert "'Physics'" in say(app, "/save Physics")
    assert app.store.find("Physics").messages == app.session.messages
    answer(app, "b")
    assert len(app.store.find("Physics").messages) == 4


def test_load_lists_and_resumes(opened: Open) -> None:
    first = opened("one")
    say(first, "/set temperature 0.25")
    answer(first, "What is a llama?")
    app = opened("two")
    assert "  1  What is a llama?" in say(app, "/load")
    assert "assistant: one" in say(app, "/load 1")
    assert app.session.sampling == Sampling(temperature=0.25)
    answer(app, "More.")
    assert contents(app) == ["What is a llama?", "one", "More.", "two"]
    assert len(app.store.newest_first()) == 1


def test_load_says_when_the_model_is_another(opened: Open) -> None:
    first = opened()
    say(first, "/model other")
    answer(first, "a")
    assert "held with other; you are talking to fake" in say(opened(), "/load 1")


def test_load_of_nothing_says_so(opened: Open) -> None:
    app = opened()
    assert "no stored chats" in say(app, "/load")
    with pytest.raises(RequestError, match="there is no chat 'x'"):
        respond(app, "/load x")


def test_stats_show_tokens_and_the_context(opened: Open) -> None:
    app = opened("one two three")
    assert "context     0/2048 (0%)" in say(app, "/stats")
    assert "memory      weights 98 MB, context 189 MB, work space 4 MB" in say(app, "/stats")
    answer(app, "a b")
    stats = say(app, "/stats")
    assert "last prompt 4 tokens" in stats
    assert "last answer 4 tokens" in stats  # the end token counts
    assert "context     9/2048" in stats
    assert "speculation" not in stats


def test_stats_show_how_often_speculation_was_right(opened: Open) -> None:
    app = opened()
    app.model = FakeModel(stats=FakeStats(work=FakeWork(proposed_tokens=40, accepted_tokens=12)))
    assert "speculation 12/40 proposed tokens accepted" in say(app, "/stats")


def test_model_shows_and_switches(opened: Open) -> None:
    app = opened()
    old = app.model
    assert say(app, "/model") == "fake: context of 2048 tokens"
    answer(app, "a")
    assert say(app, "/model new") == "new: context of 4096 tokens"
    assert isinstance(old, FakeModel)
    assert old.closed
    assert answer(app, "b") == "I am new."
    assert contents(app) == ["a", "ok", "b", "I am new."]


def test_a_model_that_cannot_be_opened_leaves_the_old_one(opened: Open) -> None:
    app = opened()
    with pytest.raises(RequestError, match="broken"):
        respond(app, "/model broken")
    assert answer(app, "a") == "ok"


def test_help_names_every_command(opened: Open) -> None:
    page = say(opened(), "/help")
    for name in COMMANDS:
        assert f"  /{name} " in page
    assert say(opened(), "/help undo") == "/undo: take back the last question and its answer"


@pytest.mark.parametrize("line", ["/exit", "/quit", "/bye"])
def test_exit_leaves(opened: Open, line: str) -> None:
    assert respond(opened(), line) == Leave()


def test_aliases_lead_to_commands() -> None:
    assert set(ALIASES.values()) <= COMMANDS.keys()


def test_a_stopped_answer_is_on_disk(opened: Open) -> None:
    app = opened("one two three")
    outcome = respond(app, "count")
    assert isinstance(outcome, Answer)
    next(outcome.pieces)
    outcome.pieces.close()
    assert app.store.newest_first()[0].messages[-1].content == "one"
