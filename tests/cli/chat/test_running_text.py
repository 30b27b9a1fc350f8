"""Base-model mode: turns, reverse prompts, and a context that fills up."""

from __future__ import annotations

import pytest

from tests.cli.chat.fake_model import FakeModel
from tropilla.cli.chat.running_text import RunningText, Shifted
from tropilla.engine.sampling import Sampling
from tropilla.errors import RequestError


def write(text: RunningText) -> str:
    return "".join(part for part in text.write(Sampling()) if isinstance(part, str))


def whole(text: RunningText, model: FakeModel) -> str:
    return "".join(model.vocabulary[token_id] for token_id in text.token_ids)


def test_model_and_user_write_one_text_in_turn() -> None:
    model = FakeModel(("upon a", "there was"))
    text = RunningText(model)
    text.add("Once")
    assert write(text) == "upon a"
    text.add(" time")
    assert write(text) == "there was"
    assert model.prompts == ["Once", "Onceupon a time"]
    assert whole(text, model) == "Onceupon a timethere was"
    assert text.finish_reason == "stop"


def test_only_the_start_of_the_text_gets_the_models_start_token() -> None:
    model = FakeModel(bos="<s>")
    text = RunningText(model)
    text.add("a")
    text.add(" b")
    assert whole(text, model) == "<s>a b"


@pytest.mark.parametrize(
    ("reply", "shown"),
    [
        ("well User: no", "well User:"),  # the end of a token
        ("well XUser:Y no", "well XUser:Y"),  # inside a token: the whole token stays
        ("new line here", "new line"),  # across tokens
        ("nothing here", "nothing here"),
    ],
)
def test_a_reverse_prompt_hands_over(reply: str, shown: str) -> None:
    text = RunningText(FakeModel((reply,)), reverse_prompts=("User:", "w lin"))
    text.add("a")
    assert write(text) == shown
    assert text.finish_reason == ("stop" if shown == reply else "reverse prompt")


def test_a_reverse_prompt_of_the_user_does_not_end_the_models_turn() -> None:
    text = RunningText(FakeModel(("one two",)), reverse_prompts=("User:",))
    text.add("User:")
    assert write(text) == "one two"


def test_without_keep_a_full_context_ends_the_text() -> None:
    text = RunningText(FakeModel(("1 2 3 4 5 6",), context_length=5))
    text.add("a b")
    assert write(text) == "1 2 3"
    assert text.finish_reason == "length"
    with pytest.raises(RequestError, match=r"has 5 tokens and the context holds 5: .*--keep"):
        write(text)


def test_keep_drops_half_of_the_rest_and_says_so() -> None:
    """Context 8, keep 2: of the other 6 tokens the last 3 stay, which leaves room for 3 more."""
    model = FakeModel(("1 2 3 4 5 6 7 8", "x y"), context_length=8)
    text = RunningText(model, keep=2)
    text.add("a b c d")
    parts = list(text.write(Sampling()))
    assert [part for part in parts if isinstance(part, Shifted)] == [Shifted(2, 3, 3)]
    assert model.prompts[1] == "a b 2 3 4"
    assert "".join(part for part in parts if isinstance(part, str)) == "1 2 3 4x y"


def test_keep_minus_one_keeps_the_whole_first_text() -> None:
    model = FakeModel(("1 2 3 4 5 6 7 8", "x"), context_length=8)
    text = RunningText(model, keep=-1)
    text.add("a b c d")
    write(text)
    assert model.prompts[1] == "a b c d 3 4"


def test_max_tokens_counts_across_a_shift() -> None:
    text = RunningText(FakeModel(("1 2 3 4 5 6 7 8",), context_length=4), keep=0)
    text.add("a b")
    parts = list(text.write(Sampling(max_tokens=7)))
    assert len([part for part in parts if isinstance(part, str) and part]) == 7
    assert text.finish_reason == "length"


def test_keeping_all_there_is_room_for_is_refused() -> None:
    text = RunningText(FakeModel(("1 2 3",), context_length=4), keep=3)
    text.add("a b c")
    with pytest.raises(RequestError, match="context holds 4"):
        write(text)


def test_nothing_to_go_on_with_is_refused() -> None:
    text = RunningText(FakeModel())
    text.add("")
    with pytest.raises(RequestError, match="no text to go on with"):
        write(text)


def test_closing_keeps_what_was_written() -> None:
    model = FakeModel(("1 2 3",))
    text = RunningText(model)
    text.add("a")
    parts = text.write(Sampling())
    next(parts)
    parts.close()
    assert (whole(text, model), text.finish_reason, model.n_closed) == ("a1", "cancelled", 1)
