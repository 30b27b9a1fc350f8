"""Lines end between words, whatever pieces the words come in; textwrap is the oracle."""

from __future__ import annotations

import textwrap

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tropilla.cli.chat.word_wrap import WordWrapper, wrapped

WORDS = st.lists(st.text("abcXYZ,.", min_size=1, max_size=19), min_size=1, max_size=40)


def shown(pieces: list[str], width: int = 20) -> str:
    wrapper = WordWrapper(lambda: width)
    return "".join([*map(wrapper.push, pieces), wrapper.flush()])


@given(words=WORDS, width=st.integers(20, 40), cut=st.integers(1, 7))
def test_plain_words_break_as_textwrap_breaks_them(words: list[str], width: int, cut: int) -> None:
    text = " ".join(words)
    pieces = [text[i : i + cut] for i in range(0, len(text), cut)]
    expected = textwrap.fill(text, width, break_long_words=False, break_on_hyphens=False)
    assert shown(pieces, width) == expected


@given(st.text("ab \n\t`-*안🙂", max_size=200))
def test_nothing_is_lost_but_the_spaces_at_line_ends(text: str) -> None:
    assert shown(list(text)).split() == text.split() or "안" in text or "🙂" in text
    assert "".join(shown([text]).split()) == "".join(text.split())


def test_styles_take_no_room() -> None:
    bold, off = "\x1b[1m", "\x1b[0m"
    assert shown([f"1234567890 {bold}234567890{off} x"]) == f"1234567890 {bold}234567890{off}\nx"


def test_wide_characters_count_double_and_break_anywhere() -> None:
    assert shown(["안" * 11]) == "안" * 10 + "\n" + "안"


def test_code_between_fences_stays_as_it_is() -> None:
    code = "```\n" + "word " * 9 + "\n```\n"
    assert shown([code]) == code
    assert shown([code + "word " * 5]).removeprefix(code) == "word word word word\nword "


@pytest.mark.parametrize("bullet", ["- ", "* ", "12. ", "  + "])
def test_an_item_s_lines_begin_below_its_text(bullet: str) -> None:
    first, second = shown([bullet + "word " * 5]).rstrip().split("\n")
    assert second == " " * len(bullet) + " ".join(second.split())
    assert first.startswith(bullet)


def test_a_word_longer_than_a_line_is_not_held_back() -> None:
    wrapper = WordWrapper(lambda: 20)
    assert wrapper.push("x" * 25) + wrapper.flush() == "x" * 25


def test_a_table_s_last_column_stays_a_column() -> None:
    table = "name     what it is and more\nother    short"
    assert wrapped(table, 24) == "name     what it is and\n         more\nother    short"
