"""What reaches the terminal: looks, passing remarks, line ends."""

from __future__ import annotations

import io

import pyte
import pytest

from tropilla.cli.chat.screen import Screen, has_colours


class TerminalStream(io.StringIO):
    def isatty(self) -> bool:
        return True


def shown(out: io.StringIO) -> list[str]:
    """Return the lines that a terminal shows."""
    screen = pyte.Screen(40, 10)
    pyte.Stream(screen).feed(out.getvalue().replace("\n", "\r\n"))
    return "\n".join(line.rstrip() for line in screen.display).rstrip("\n").split("\n")


def test_without_colours_only_the_words_come_out() -> None:
    out = io.StringIO()
    screen = Screen(out, colour=False)
    screen.busy("opening")
    screen.answer("**a**")
    screen.end_answer()
    screen.whisper("b")
    screen.complain("c")
    assert out.getvalue() == "**a**\nb\nc\n"


def test_a_passing_remark_gives_way_to_the_answer() -> None:
    out = io.StringIO()
    screen = Screen(out, colour=True)
    screen.say("before")
    screen.busy("opening the model")
    screen.busy("wait")
    assert shown(out) == ["before", "wait"]
    screen.answer("x")
    screen.end_answer()
    assert shown(out) == ["before", "x"]


def test_a_passing_remark_never_erases_part_of_an_answer() -> None:
    out = io.StringIO()
    screen = Screen(out, colour=True)
    screen.answer("half a line")
    screen.busy("stopping")
    assert shown(out) == ["half a line"]


@pytest.mark.parametrize(
    ("pieces", "lines"), [(["a"], ["a", "b"]), (["a\n"], ["a", "b"]), (["a", ""], ["a", "b"])]
)
def test_an_answer_ends_its_line_once(pieces: list[str], lines: list[str]) -> None:
    out = io.StringIO()
    screen = Screen(out, colour=True)
    for piece in pieces:
        screen.answer(piece)
    screen.end_answer()
    screen.say("b")
    assert shown(out) == lines


def test_held_back_delimiters_come_out_at_the_end() -> None:
    out = io.StringIO()
    screen = Screen(out, colour=True)
    screen.answer("a **")
    screen.end_answer()
    assert shown(out) == ["a **"]


@pytest.mark.parametrize(
    ("environment", "expected"),
    [({"TERM": "xterm"}, True), ({"TERM": "dumb"}, False), ({"TERM": "xterm", "NO_COLOR": "1"}, False)],
)
def test_colours_are_for_terminals_that_have_them(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], expected: bool
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert has_colours(TerminalStream()) is expected
    assert not has_colours(io.StringIO())


def test_a_busy_remark_can_be_cleared_for_somebody_else_s_words() -> None:
    out = io.StringIO()
    screen = Screen(out, colour=True)
    screen.busy("opening")
    screen.clear_busy()
    assert out.getvalue().endswith("\r\x1b[K")
