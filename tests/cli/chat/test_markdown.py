"""Streaming Markdown colours: what is coloured, and that no character is ever lost."""

from __future__ import annotations

import re

import pyte
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tropilla.cli.chat.markdown import MarkdownStyler, visible

ANSI = re.compile(r"\x1b\[[0-9;]*m")


def styled(text: str, step: int = 1) -> str:
    styler = MarkdownStyler()
    parts = [styler.push(text[i : i + step]) for i in range(0, len(text), step)]
    return "".join(parts) + styler.flush()


def look(text: str) -> dict[str, set[str]]:
    """Return, for each style, the characters that a terminal shows in it."""
    screen = pyte.Screen(60, 20)
    pyte.Stream(screen).feed(styled(text).replace("\n", "\r\n"))
    found: dict[str, list[str]] = {"bold": [], "italics": [], "cyan": [], "magenta": [], "plain": []}
    for y in range(20):
        for x in range(60):
            cell = screen.buffer[y][x]
            if cell.data == " ":
                continue
            names = [name for name in ("bold", "italics") if getattr(cell, name)]
            names += [cell.fg] if cell.fg != "default" else []
            for name in names or ["plain"]:
                found[name].append(cell.data)
    return {name: set("".join(chars)) for name, chars in found.items() if chars}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ab", {"plain": "ab"}),
        ("**a** b", {"bold": "*a", "plain": "b"}),
        ("*a* b", {"italics": "*a", "plain": "b"}),
        ("***a*** b", {"bold": "*a", "italics": "*a", "plain": "b"}),
        ("**a *b* a** c", {"bold": "*ab", "italics": "*b", "plain": "c"}),
        ("__a__ b", {"bold": "_a", "plain": "b"}),
        ("a_b_c", {"plain": "abc_"}),
        ("2 * 3 * 4", {"plain": "234*"}),
        ("* a", {"plain": "*a"}),
        (r"\*a\*", {"plain": "\\*a"}),
        ("`a*b*` c", {"cyan": "`ab*", "plain": "c"}),
        ("``a`b`` c", {"cyan": "`ab", "plain": "c"}),
        ("# a\nb", {"bold": "#a", "magenta": "#a", "plain": "b"}),
        ("#a", {"plain": "#a"}),
        ("a # b", {"plain": "a#b"}),
        ("```py\na*b*\n```\nc", {"plain": "`pyc", "cyan": "ab*"}),
        ("~~~\na\n~~~\nc", {"plain": "~c", "cyan": "a"}),
        ("````\n```\na\n````\nc", {"plain": "`c", "cyan": "`a"}),
        ("```a``` b", {"plain": "`ab"}),
        ("*a\nb", {"italics": "*a", "plain": "b"}),
        ("`a\nb", {"cyan": "`a", "plain": "b"}),
    ],
)
def test_what_is_coloured(text: str, expected: dict[str, str]) -> None:
    """Expected by CommonMark 0.31, sections 4.2, 4.5, 6.1, 6.2; spans end with their line here."""
    assert look(text) == {style: set(chars) for style, chars in expected.items()}


markdown = st.text(alphabet="ab *_`#~\\\n1-é안", max_size=60)


@given(markdown, st.integers(1, 7))
def test_without_colours_it_is_the_models_text(text: str, step: int) -> None:
    assert ANSI.sub("", styled(text, step)) == text


@given(markdown)
def test_pieces_do_not_change_the_colours(text: str) -> None:
    assert styled(text, 1) == styled(text, 1000)


@given(markdown)
def test_the_terminal_is_left_in_its_normal_style(text: str) -> None:
    codes = ANSI.findall(styled(text))
    assert not codes or codes[-1] == "\x1b[0m"


def test_only_open_delimiters_are_held_back() -> None:
    styler = MarkdownStyler()
    assert styler.push("word") == "word"
    assert styler.push("**") == ""
    assert ANSI.sub("", styler.push("b")) == "**b"


def test_an_answer_cannot_steer_the_terminal() -> None:
    assert visible("a\x1b[2J\r\x9b\x7f\tb\n안") == "a␛[2J␍\ufffd␡\tb\n안"
