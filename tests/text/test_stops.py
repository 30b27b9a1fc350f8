"""Stop strings and banned strings, however the text arrives."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tropilla.text.stops import BannedEmission, BannedStringMatcher, StopMatcher

SHORT = st.text(alphabet="ab#\n", max_size=30)
STOPS = st.lists(st.text(alphabet="ab#\n", min_size=1, max_size=4), max_size=4)


def cut_at_first_stop(text: str, stops: list[str]) -> tuple[str, str | None]:
    """Read the definition aloud, character by character: the oracle."""
    for end in range(1, len(text) + 1):
        complete = [stop for stop in stops if text[:end].endswith(stop)]
        if complete:
            longest = max(complete, key=len)
            return text[: end - len(longest)], longest
    return text, None


def pushed(matcher: StopMatcher, chunks: list[str]) -> tuple[str, str | None, list[str]]:
    shown, stop = [], None
    for chunk in chunks:
        emission = matcher.push(chunk)
        shown.append(emission.text)
        stop = emission.stop
    shown.append("" if stop else matcher.flush())
    return "".join(shown), stop, shown


@given(text=SHORT, stops=STOPS, data=st.data())
def test_any_chunking_gives_what_the_whole_text_gives(
    text: str, stops: list[str], data: st.DataObject
) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8)))
    chunks = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    shown, stop, _ = pushed(StopMatcher(stops), chunks)
    assert (shown, stop) == cut_at_first_stop(text, stops)


@given(text=SHORT, stops=STOPS)
def test_just_what_could_become_a_stop_string_waits(text: str, stops: list[str]) -> None:
    """What is out cannot be taken back; what need not wait would only feel slow."""
    matcher = StopMatcher(stops)
    n_shown = 0
    for end, character in enumerate(text, start=1):
        emission = matcher.push(character)
        n_shown += len(emission.text)
        if emission.stop is not None:
            break
        begun = [n for stop in stops for n in range(1, len(stop)) if text[:end].endswith(stop[:n])]
        assert n_shown == end - max(begun, default=0)


def test_the_stop_that_is_complete_first_wins() -> None:
    assert StopMatcher(["xab!", "ab"]).push("xab!") == ("x", "ab")
    assert StopMatcher(["b", "ab"]).push("ab") == ("", "ab")


def test_nothing_shows_after_a_stop() -> None:
    matcher = StopMatcher(["."])
    assert matcher.push("a.b") == ("a", ".")
    assert matcher.push("c") == ("", ".")


def test_text_that_only_began_a_stop_comes_out_in_the_end() -> None:
    matcher = StopMatcher(["### Human"])
    assert matcher.push("a ##") == ("a ", None)
    assert matcher.flush() == "##"


def test_without_stops_everything_passes() -> None:
    assert StopMatcher([]).push("a") == ("a", None)
    assert StopMatcher([""]).push("a") == ("a", None)


def test_a_banned_string_takes_back_the_tokens_it_is_made_of() -> None:
    matcher = BannedStringMatcher(["as an AI"])
    assert matcher.push("Well, ") == ("Well, ", 0)
    assert matcher.push("so as") == ("", 0)
    assert matcher.push(" an") == ("", 0)
    assert matcher.push(" ai!") == BannedEmission("", 3)
    assert matcher.push("so I") == ("so I", 0)


def test_a_token_without_text_goes_with_the_character_it_begins() -> None:
    """The bytes of one character may be spread over tokens; all of them are taken back."""
    matcher = BannedStringMatcher(["é"])
    assert matcher.push("a") == ("a", 0)
    assert matcher.push("") == ("", 0)
    assert matcher.push("É") == ("", 2)


def test_held_pieces_come_out_once_they_are_harmless() -> None:
    matcher = BannedStringMatcher(["abc"])
    assert matcher.push("xa") == ("", 0)
    assert matcher.push("b") == ("", 0)
    assert matcher.push("x") == ("xabx", 0)
    assert matcher.push("ab") == ("", 0)
    assert matcher.flush() == "ab"


@pytest.mark.parametrize("text", ["İ", "ẞ", "ΑΣ"])
def test_case_does_not_shift_positions(text: str) -> None:
    """Lower case may be longer than upper case; the place of a hit must not move."""
    matcher = BannedStringMatcher(["bad"])
    assert matcher.push(text) == (text, 0)
    assert matcher.push("BAD") == ("", 1)


@given(
    pieces=st.lists(st.text(alphabet="abAB ", max_size=3), max_size=20),
    banned=st.lists(st.text(alphabet="abAB ", min_size=1, max_size=3), min_size=1, max_size=3),
)
def test_what_is_shown_never_holds_a_banned_string(pieces: list[str], banned: list[str]) -> None:
    """Replay what a generator does: tokens taken back are gone, the rest is shown in order."""
    matcher = BannedStringMatcher(banned)
    kept: list[str] = []
    shown = ""
    for piece in pieces:
        kept.append(piece)
        emission = matcher.push(piece)
        assert 0 <= emission.n_rewind <= len(kept)
        del kept[len(kept) - emission.n_rewind :]
        shown += emission.text
        assert "".join(kept).startswith(shown), "something was shown and then taken back"
    shown += matcher.flush()
    assert shown == "".join(kept)
    assert not re.search("|".join(map(re.escape, banned)), shown, re.IGNORECASE)
