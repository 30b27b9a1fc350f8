"""The chat as its user sees it: a pseudo-terminal, a screen, a scripted model."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

if sys.platform == "win32":
    pytest.skip("a pseudo-terminal of this kind is a Unix thing", allow_module_level=True)

from tests.cli.chat.terminal import CTRL_C, CTRL_D, CTRL_G, CTRL_R, ENTER, ROOT, UP, Terminal, fake_chat
from tropilla.cli.shell import INTERRUPTED
from tropilla.formats.checkpoint import open_checkpoint
from tropilla.model.config import LlamaConfig
from tropilla.store.chats import ChatStore

Start = Callable[..., Terminal]
READY = "/help lists the commands."
STATUS = "/2048 ("  # of the line under each answer


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Return a function that starts the chat and waits for its first prompt; all share one library."""
    terminals: list[Terminal] = []

    def start(*arguments: str, replies: tuple[str, ...] = ("ok",), **environment: str) -> Terminal:
        terminal = fake_chat(*arguments, home=tmp_path, replies=replies, **environment)
        terminals.append(terminal)
        terminal.wait_for(READY)
        terminal.wait_for("\n>")
        return terminal

    yield start
    for terminal in terminals:
        terminal.close()


def stored(home: Path) -> list[list[str]]:
    return [[m.content for m in chat.messages] for chat in ChatStore(home / "chats").newest_first()]


def test_startup_shows_model_context_and_help(start: Start) -> None:
    screen = start("my-model").screen()
    assert screen.splitlines()[0] == "my-model, context of 2048 tokens. /help lists the commands."


def test_a_long_load_shows_how_long(tmp_path: Path) -> None:
    terminal = fake_chat("big", home=tmp_path, FAKE_LOAD_S="1.0")
    terminal.wait_for("opening big ... 0 s")
    assert "opening" not in terminal.wait_for(READY)
    terminal.close()


def test_an_answer_streams_in_with_a_status_line(start: Start) -> None:
    terminal = start(replies=("one two three four",), FAKE_DELAY_S="0.3")
    terminal.enter("count to four")
    assert "three" not in terminal.wait_for("one two")
    assert "> count to four\none two three four\n" in terminal.wait_for("context 10/2048 (0%)")
    assert "tokens/s · prompt 5 · " in terminal.screen()


def test_markdown_is_coloured_and_whole(start: Start) -> None:
    terminal = start(replies=("# Head\nsome **bold** text\n```py\nx = 1\n```",))
    terminal.enter("hi")
    screen = terminal.wait_for(STATUS)
    assert "# Head\nsome **bold** text\n```py\nx = 1\n```\n" in screen
    assert b"\x1b[1m**bold**\x1b[0m" in terminal.raw


def test_no_color_is_heard(start: Start) -> None:
    terminal = start(replies=("some **bold** text",), NO_COLOR="1")
    terminal.enter("hi")
    terminal.wait_for(STATUS)
    assert b"some **bold** text" in terminal.raw


def test_an_answer_cannot_steer_the_terminal(start: Start) -> None:
    terminal = start(replies=("a\x1b[2Jb",))
    terminal.enter("hi")
    assert "a␛[2Jb" in terminal.wait_for(STATUS)


def test_ctrl_c_stops_the_answer_and_keeps_it(start: Start, tmp_path: Path) -> None:
    terminal = start(replies=("one two three four five six", "fine"), FAKE_DELAY_S="0.4")
    terminal.enter("count")
    terminal.wait_for("one two")
    terminal.send(CTRL_C)
    assert "stopped" in terminal.wait_for(STATUS)
    assert "six" not in terminal.screen()
    (messages,) = stored(tmp_path)
    assert messages[0] == "count"
    assert messages[1].startswith("one two")
    terminal.enter("go on")
    terminal.wait_for("fine")


def test_a_second_ctrl_c_leaves(start: Start) -> None:
    terminal = start(replies=("one two three four five six",), FAKE_DELAY_S="0.4")
    terminal.enter("count")
    terminal.wait_for("one")
    terminal.send(CTRL_C)
    terminal.wait_for("stopped")
    terminal.wait_for("\n>", times=2)
    terminal.send(CTRL_C)
    assert terminal.wait_for_end() == 0


def test_a_second_ctrl_c_leaves_a_model_that_does_not_stop(start: Start) -> None:
    terminal = start(FAKE_DELAY_S="30")
    terminal.enter("count")
    terminal.wait_for("reading the conversation")
    terminal.send(CTRL_C)
    terminal.wait_for("stopping")
    terminal.send(CTRL_C)
    assert terminal.wait_for_end() == INTERRUPTED


def test_ctrl_c_at_the_prompt_warns_first(start: Start) -> None:
    terminal = start()
    terminal.send(CTRL_C)
    terminal.wait_for("Ctrl-C again, or Ctrl-D, leaves.")
    terminal.enter("hi")
    terminal.wait_for(STATUS)
    terminal.send(CTRL_C)
    terminal.wait_for("Ctrl-C again, or Ctrl-D, leaves.", times=2)
    terminal.send(CTRL_C)
    assert terminal.wait_for_end() == 0


def test_ctrl_c_takes_back_what_was_typed(start: Start, tmp_path: Path) -> None:
    terminal = start()
    terminal.send("never mind")
    terminal.wait_for("never mind")
    terminal.send(CTRL_C)
    terminal.enter("hi")
    terminal.wait_for(STATUS)
    assert stored(tmp_path) == [["hi", "ok"]]


@pytest.mark.parametrize("way", [CTRL_D, "/exit\r"])
def test_leaving(start: Start, way: str) -> None:
    terminal = start()
    terminal.send(way)
    assert terminal.wait_for_end() == 0


def test_several_lines_by_fence_backslash_and_paste(start: Start, tmp_path: Path) -> None:
    terminal = start()
    terminal.enter('"""def f():')
    terminal.enter("  return 1")
    terminal.enter('"""')
    terminal.wait_for(STATUS, times=1)
    terminal.enter("one\\")
    terminal.enter("two")
    terminal.wait_for(STATUS, times=2)
    terminal.send("\x1b[200~a\nb\n\x1b[201~")
    terminal.send(ENTER)
    terminal.wait_for(STATUS, times=3)
    assert stored(tmp_path)[0][::2] == ["def f():\n  return 1", "one\ntwo", "a\nb"]


def test_the_editor_writes_a_message(start: Start, tmp_path: Path) -> None:
    editor = tmp_path / "editor"
    editor.write_text("#!/bin/sh\necho 'from the editor' > \"$1\"\n", "utf-8")
    editor.chmod(0o755)
    terminal = start(VISUAL=str(editor))
    terminal.send(CTRL_G)
    terminal.wait_for("> from the editor")
    terminal.send(ENTER)
    terminal.wait_for(STATUS)
    assert stored(tmp_path) == [["from the editor", "ok"]]


def test_history_outlives_the_program(start: Start, tmp_path: Path) -> None:
    first = start()
    first.enter("what is a llama")
    first.wait_for(STATUS)
    first.enter("and an alpaca")
    first.wait_for(STATUS, times=2)
    first.send(CTRL_D)
    first.wait_for_end()
    second = start()
    second.send(UP + UP)
    second.wait_for("> what is a llama")
    second.send(CTRL_C)
    second.wait_for("\n>")
    second.send(CTRL_R)
    second.wait_for("I-search")
    second.send("alp")
    second.wait_for("and an alpaca")
    assert (tmp_path / "history").stat().st_mode & 0o077 == 0


def test_a_chat_goes_on_after_a_restart(start: Start, tmp_path: Path) -> None:
    first = start("one-model", replies=("I am a llama.",))
    first.enter("/system Be kind.")
    first.wait_for("set.")
    first.enter("/set temperature 0.3")
    first.wait_for("temperature = 0.3")
    first.enter("Who are you?")
    first.wait_for(STATUS)
    first.close()
    second = start("--continue", "--seed", "5", replies=("Indeed.",))
    assert second.screen().startswith("one-model, context")
    assert "Going on with 'Who are you?', 3 messages." in second.screen()
    second.enter("Really?")
    second.wait_for("Indeed.")
    second.wait_for(STATUS)
    assert stored(tmp_path) == [["Be kind.", "Who are you?", "I am a llama.", "Really?", "Indeed."]]
    (chat,) = ChatStore(tmp_path / "chats").newest_first()
    assert chat.settings == {"temperature": 0.3, "seed": 5}


def test_every_command_at_the_keyboard(start: Start, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("llamas hum", "utf-8")
    steps = [
        ("/system Be brief.", "System message set."),
        ("/system", "Be brief."),
        ("/set temperature 0.3", "temperature = 0.3"),
        ("hello", "first answer"),
        ("/regenerate", "second answer"),
        ("/stats", "ended by stop"),
        ("/save Greetings", "Saved as 'Greetings'"),
        (f"/read {tmp_path / 'notes.txt'}", "2 tokens; it goes with"),
        ("what do they do", "third answer"),
        ("/undo", "Took back: notes.txt: llamas hum what do they do"),
        ("again", "fourth answer"),
        ("/forget", "The model no longer sees:"),
        ("/clear", "A new chat."),
        ("/load", "1  Greetings"),
        ("/load Greetings", "assistant: fourth answer"),
        ("/model other", "other: context of 2048 tokens"),
        ("/model broken", "did you mean 'fake'?"),
        ("/help", "/regenerate "),
        ("/halp", "did you mean '/help'?"),
        ("/set top_p 2", "top_p must be in (0, 1], got 2"),
    ]
    replies = ("first answer", "second answer", "third answer", "fourth answer")
    terminal = start("fake", replies=replies)
    for line, expected in steps:
        before = terminal.screen().count(expected)
        terminal.enter(line)
        terminal.wait_for(expected, times=before + 1)
    terminal.enter("/exit")
    assert terminal.wait_for_end() == 0


def test_edit_offers_the_last_question(start: Start, tmp_path: Path) -> None:
    terminal = start(replies=("first", "second"))
    terminal.enter("hello")
    terminal.wait_for(STATUS)
    terminal.enter("/edit")
    terminal.wait_for("> hello", times=2)
    terminal.enter(" again")
    terminal.wait_for("second")
    terminal.wait_for(STATUS, times=2)
    assert stored(tmp_path) == [["hello again", "second"]]


def test_a_full_context_is_said_and_can_be_mended(start: Start, tmp_path: Path) -> None:
    terminal = start(replies=("ok",), FAKE_CONTEXT="12")
    terminal.enter("a")
    terminal.wait_for("context 5/12 (41%)")
    terminal.enter("b c d e")
    terminal.wait_for("this would need 12 tokens before the answer, and the context holds 12")
    assert stored(tmp_path) == [["a", "ok"]]
    terminal.enter("b c d")
    terminal.wait_for("context 12/12")
    terminal.enter("/forget")
    terminal.wait_for("The model no longer sees:\n  user: a\n  assistant: ok")


def test_tab_completes_a_command(start: Start) -> None:
    terminal = start()
    terminal.send("/regen\t")
    terminal.wait_for("> /regenerate")


def piped(
    home: Path, stdin: str, *arguments: str, replies: str = '["**ok**"]'
) -> subprocess.CompletedProcess[str]:
    import os

    return subprocess.run(
        [sys.executable, "-m", "tests.cli.chat.fake_chat", *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=ROOT,
        env={**os.environ, "TROPILLA_HOME": str(home), "FAKE_REPLIES": replies},
    )


def test_a_pipe_gets_the_plain_answer_and_nothing_else(tmp_path: Path) -> None:
    done = piped(tmp_path, "hello\n", "--system", "Be kind.")
    assert (done.returncode, done.stdout, done.stderr) == (0, "**ok**\n", "")
    assert list(tmp_path.iterdir()) == []


def test_an_empty_pipe_is_a_mistake(tmp_path: Path) -> None:
    done = piped(tmp_path, "\n")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("tropilla: standard input holds no message")


def test_a_pipe_loads_no_terminal_library() -> None:
    code = (
        "import sys; from tests.cli.chat.fake_chat import main; main(); print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        input="hi",
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        cwd=ROOT,
    )
    assert not {"prompt_toolkit", "rich", "numpy", "torch", "asyncio"} & set(done.stderr.split())


@pytest.mark.default_model
def test_the_default_model_answers_stops_and_goes_on(default_model: Path, tmp_path: Path) -> None:
    """The real program with the real model: an answer, a stopped answer, a restart."""
    terminal = Terminal("-m", "tropilla", "chat", str(default_model), home=tmp_path)
    terminal.wait_for(READY, 60)
    terminal.enter("/set max_tokens 8")
    terminal.wait_for("max_tokens = 8")
    terminal.enter("Say hello.")
    terminal.wait_for(" · context ", 60)
    terminal.enter("/set max_tokens")
    terminal.wait_for("max_tokens = None")
    terminal.enter("/set ignore_eos on")
    terminal.wait_for("ignore_eos = True")
    terminal.enter("Count to a thousand.")
    terminal.wait_for("Count to a thousand.\n", 60)
    terminal.send(CTRL_C)
    terminal.wait_for("\n>", 60, times=6)
    terminal.send(CTRL_C)
    assert terminal.wait_for_end() == 0
    (chat,) = ChatStore(tmp_path / "chats").newest_first()
    assert chat.messages[0].content == "Say hello."
    assert chat.settings == {"ignore_eos": True}
    again = Terminal("-m", "tropilla", "chat", "--continue", home=tmp_path)
    again.wait_for("Going on with 'Say hello.'", 60)
    again.close()


@pytest.mark.default_model
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads the peak from /proc")
def test_chatting_takes_the_model_its_context_and_80_mb(default_model: Path, tmp_path: Path) -> None:
    """The promise: peak resident memory is at most file + keys and values + 80 MB.

    The cache's size is the config's: layers x kv heads x head size x (key and value) x 2 bytes a token.
    """
    context_length = 1024
    flags = ("--context-length", str(context_length), "--max-tokens", "24")
    terminal = Terminal("-m", "tropilla", "chat", str(default_model), *flags, home=tmp_path)
    terminal.wait_for(READY, 60)
    terminal.enter("Why is the sky blue? " * 40)
    terminal.wait_for("/1024 (", 60)
    terminal.enter("/help")
    terminal.wait_for("complete a command")
    with open_checkpoint(default_model) as checkpoint:
        config = LlamaConfig.from_hyperparameters(checkpoint.hyperparameters, path=str(default_model))
    kv_bytes = context_length * config.n_layers * config.n_kv_heads * config.head_dim * 2 * 2
    peak = terminal.peak_memory_bytes()
    assert peak <= default_model.stat().st_size + kv_bytes + 80_000_000
    terminal.close()


def test_a_history_that_cannot_be_written_ends_with_the_chat(start: Start, tmp_path: Path) -> None:
    (tmp_path / "history").mkdir()  # not to be written, not even by root
    terminal = start()
    terminal.enter("what is a llama")
    terminal.wait_for(STATUS)
    terminal.send(UP)
    terminal.wait_for("> what is a llama", times=2)


def test_ctrl_c_does_not_wait_for_a_long_prompt_to_be_read(start: Start, tmp_path: Path) -> None:
    terminal = start(FAKE_PREFILL_S="60")
    terminal.enter("a long text")
    terminal.wait_for("reading the conversation ...")
    terminal.send(CTRL_C)
    terminal.wait_for("your message was taken back")
    assert stored(tmp_path) == []
