"""Base-model modes in the terminal, with the scripted model."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

if sys.platform == "win32":
    pytest.skip("a pseudo-terminal of this kind is a Unix thing", allow_module_level=True)

from tests.cli.chat.terminal import CTRL_C, CTRL_D, ENTER, ROOT, Terminal, fake_chat

Start = Callable[..., Terminal]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Return a function that starts the chat with the given flags."""
    terminals: list[Terminal] = []

    def start(*arguments: str, replies: tuple[str, ...] = ("ok",), **environment: str) -> Terminal:
        terminals.append(fake_chat("fake", *arguments, home=tmp_path, replies=replies, **environment))
        return terminals[-1]

    yield start
    for terminal in terminals:
        terminal.close()


def piped(*arguments: str, stdin: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.cli.chat.fake_chat", "fake", *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=ROOT,
        env={**os.environ, **environment},
    )


def test_a_prompt_goes_on_to_its_end() -> None:
    done = piped("--prompt", "Once", FAKE_REPLIES='[" upon a time"]')
    assert (done.returncode, done.stdout, done.stderr) == (0, "Once upon a time\n", "")


def test_the_prompt_may_come_from_a_file_or_a_pipe(tmp_path: Path) -> None:
    (tmp_path / "p.txt").write_text("Once\n", "utf-8")
    for done in (
        piped("--file", str(tmp_path / "p.txt"), FAKE_REPLIES='[" upon"]'),
        piped("--keep", "0", stdin="Once\n", FAKE_REPLIES='[" upon"]'),
    ):
        assert (done.returncode, done.stdout) == (0, "Once upon\n")


def test_a_full_context_ends_the_text_and_says_so() -> None:
    done = piped("--prompt", "a b", FAKE_CONTEXT="4", FAKE_REPLIES='[" 1 2 3"]')
    assert done.stdout == "a b 1 2\n[cut after 4 tokens of text]\n"


def test_keep_goes_on_and_says_what_it_let_go() -> None:
    """Context 4, keep 1: of the other 3 tokens the last one stays, which leaves room for two more."""
    done = piped("--prompt", "a b", "--keep", "1", FAKE_CONTEXT="4", FAKE_REPLIES='[" 1 2 3", " x"]')
    notice = "[context full: the first 1 and the last 1 tokens stay, 2 between them go]"
    assert done.stdout == f"a b 1 2\n{notice}\n x\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--prompt", "a", "--file", "b"), "--prompt and --file both"),
        (("--prompt", "a", "--system", "b"), "--system is for chats"),
        (("--prompt", "a", "--continue"), "--continue is for chats"),
        (("--keep", "-2"), "keep must be at least -1"),
    ],
)
def test_flags_that_contradict_each_other_are_refused(arguments: tuple[str, ...], words: str) -> None:
    done = piped(*arguments)
    assert done.returncode == 2
    assert done.stderr.startswith(f"tropilla: {words}")


def test_the_reverse_prompt_hands_over(start: Start) -> None:
    replies = (" hello there.\nUser: and then", " Bye.")
    terminal = start("-p", "Bob:", "-i", "-r", "User:", "--in-prefix", " ", replies=replies)
    screen = terminal.wait_for("User:\n>")
    assert screen.startswith("Bob: hello there.\nUser:\n")
    assert "and then" not in screen
    terminal.enter("How are you?\\")
    terminal.enter("Well?")
    terminal.wait_for("Bye.")
    terminal.send(CTRL_D)
    assert terminal.wait_for_end() == 0


def test_ctrl_c_interjects_and_a_second_one_leaves(start: Start) -> None:
    terminal = start("-p", "Count:", "-i", replies=(" 1 2 3 4 5 6 7 8", " done"), FAKE_DELAY_S="0.3")
    terminal.wait_for("1 2")
    terminal.send(CTRL_C)
    terminal.wait_for("\n>")
    assert "8" not in terminal.screen()
    terminal.enter("stop")
    terminal.wait_for("done")
    terminal.wait_for("\n>", times=2)
    terminal.send(CTRL_C)
    terminal.wait_for("Ctrl-C again")
    terminal.send(CTRL_C)
    assert terminal.wait_for_end() == 0


def test_without_interaction_ctrl_c_leaves(start: Start) -> None:
    terminal = start("-p", "Count:", replies=(" 1 2 3 4 5 6 7 8",), FAKE_DELAY_S="0.3")
    terminal.wait_for("1 2")
    terminal.send(CTRL_C)
    assert terminal.wait_for_end() == 130
    assert "8" not in terminal.screen()


def test_an_empty_line_lets_the_model_go_on(start: Start) -> None:
    terminal = start("-p", "a", "-i", replies=(" one", " two"))
    terminal.wait_for("a one")
    terminal.wait_for("\n>")
    terminal.send(ENTER)
    terminal.wait_for("two")


def test_the_user_may_write_first(start: Start) -> None:
    terminal = start("--interactive-first", "-p", "A tale.", replies=(" The end.",))
    assert "The end" not in terminal.wait_for("\n>")
    terminal.enter("Once")
    terminal.wait_for("The end.")


def test_instruct_mode_waits_for_an_instruction(start: Start) -> None:
    terminal = start("--instruct", replies=("Paris.\n\n### Instruction:\n\n",))
    terminal.wait_for(">")
    terminal.enter("Capital of France?")
    terminal.wait_for("### Instruction:\n\n>")
