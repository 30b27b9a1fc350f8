"""When Enter sends an entry, and what the entry says."""

from __future__ import annotations

import pytest

from tropilla.cli.chat.entry import continues, is_complete, message_of


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hello", "hello"),
        ("  hello \n", "hello"),
        ("", ""),
        ('"""a"""', "a"),
        ('"""\na\n  b\n"""', "a\n  b"),
        ('""""""', ""),
        ('say """x""" now', 'say """x""" now'),
        ("a\nb", "a\nb"),
    ],
)
def test_a_complete_entry_says_what_is_between_its_fences(text: str, message: str) -> None:
    assert is_complete(text)
    assert message_of(text) == message


@pytest.mark.parametrize("text", ['"""', '"""a', '"""a\nb', '""""', '"""""'])
def test_an_open_fence_waits_for_more(text: str) -> None:
    assert not is_complete(text)


@pytest.mark.parametrize(
    ("line", "expected"), [("a\\", True), ("a\\\\", False), ("a\\\\\\", True), ("a", False), ("", False)]
)
def test_a_backslash_continues_unless_escaped(line: str, expected: bool) -> None:
    assert continues(line) is expected
