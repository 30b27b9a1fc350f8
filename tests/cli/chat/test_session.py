"""A chat's conversation under asking, stopping, changing one's mind and a full context."""

from __future__ import annotations

from collections.abc import Generator

import pytest

from tests.cli.chat.fake_model import MESSAGE_OVERHEAD, FakeModel
from tropilla.cli.chat.session import ChatSession
from tropilla.engine.sampling import Sampling
from tropilla.errors import RequestError
from tropilla.text.conversation import Message


def session(
    *replies: str, context_length: int = 2048, sampling: Sampling | None = None
) -> tuple[ChatSession, FakeModel]:
    model = FakeModel(replies or ("ok",), context_length)
    return ChatSession(model, sampling or Sampling()), model


def contents(chat: ChatSession) -> list[str]:
    return [message.content for message in chat.messages]


def stop_after(pieces: Generator[str, None, None], n: int) -> str:
    text = "".join(next(pieces) for _ in range(n))
    pieces.close()
    return text


def test_an_answer_joins_the_conversation() -> None:
    chat, model = session("Hello there.", "Fine.")
    chat.system = "Be kind."
    assert "".join(chat.ask("Hi")) == "Hello there."
    assert "".join(chat.ask("How are you?")) == "Fine."
    assert [m.role for m in chat.messages] == ["system", "user", "assistant", "user", "assistant"]
    assert [m.content for m in model.asked[1]] == ["Be kind.", "Hi", "Hello there.", "How are you?"]


def test_stopping_keeps_what_has_come_and_cancels_the_rest() -> None:
    chat, model = session("one two three")
    assert stop_after(chat.ask("count"), 2) == "one two"
    assert contents(chat) == ["count", "one two"]
    assert model.n_closed == 1
    assert chat.last_turn is not None
    assert (chat.last_turn.finish_reason, chat.last_turn.new_tokens) == ("cancelled", 2)


def test_an_answer_that_never_began_leaves_everything_as_it_was() -> None:
    chat, model = session("one")
    "".join(chat.ask("a"))
    model.delay_s = -1.0  # sleep() refuses it: the model fails before its first token
    with pytest.raises(ValueError, match="non-negative"):
        next(chat.ask("b"))
    with pytest.raises(ValueError, match="non-negative"):
        next(chat.regenerate())
    assert contents(chat) == ["a", "one"]


def test_an_empty_answer_is_an_answer() -> None:
    chat, _ = session("")
    assert "".join(chat.ask("a")) == ""
    assert contents(chat) == ["a", ""]


def test_regenerate_replaces_the_answer() -> None:
    chat, model = session("one", "two")
    "".join(chat.ask("a"))
    assert "".join(chat.regenerate()) == "two"
    assert contents(chat) == ["a", "two"]
    assert model.asked[0] == model.asked[1]


def test_regenerate_moves_a_fixed_seed_on() -> None:
    """With the same seed the second answer would be the first one again."""
    chat, model = session(sampling=Sampling(seed=7))
    "".join(chat.ask("a"))
    "".join(chat.regenerate())
    "".join(chat.regenerate())
    "".join(chat.ask("b"))
    assert [sampling.seed for sampling in model.samplings] == [7, 8, 9, 7]


def test_edit_asks_anew_in_place_of_the_last_question() -> None:
    chat, _ = session("one", "two", "three")
    "".join(chat.ask("a"))
    "".join(chat.ask("b"))
    assert "".join(chat.edit("c")) == "three"
    assert contents(chat) == ["a", "one", "c", "three"]


def test_undo_takes_back_question_and_answer() -> None:
    chat, _ = session("one", "two")
    chat.system = "s"
    "".join(chat.ask("a"))
    "".join(chat.ask("b"))
    assert chat.undo() == "b"
    assert contents(chat) == ["s", "a", "one"]
    chat.undo()
    assert contents(chat) == ["s"]
    with pytest.raises(RequestError, match="no question yet"):
        chat.undo()


@pytest.mark.parametrize("action", ["regenerate", "undo"])
def test_there_must_be_a_question_first(action: str) -> None:
    chat, _ = session()
    with pytest.raises(RequestError, match="no question yet"):
        getattr(chat, action)()


def test_system_is_set_changed_and_removed() -> None:
    chat, _ = session()
    "".join(chat.ask("a"))
    for text in ("x", "y"):
        chat.system = text
        assert (chat.system, chat.messages[0]) == (text, Message("system", text))
    chat.system = ""
    assert (chat.system, contents(chat)) == ("", ["a", "ok"])


def test_forget_drops_whole_exchanges_and_keeps_the_system_message() -> None:
    chat, _ = session("1", "2", "3")
    chat.system = "s"
    for question in "abc":
        "".join(chat.ask(question))
    assert [m.content for m in chat.forget(2)] == ["a", "1", "b", "2"]
    assert contents(chat) == ["s", "c", "3"]
    with pytest.raises(RequestError, match="cannot forget 1 of 1"):
        chat.forget(1)


def test_what_does_not_fit_is_refused_with_counts_and_nothing_is_cut() -> None:
    """The prompt must leave room for one token: of 10, 9 fit and 10 do not."""
    chat, model = session(context_length=10)
    with pytest.raises(RequestError, match=r"need 10 tokens.* holds 10: .*/forget"):
        chat.ask("w" + " w" * (9 - MESSAGE_OVERHEAD))
    assert (contents(chat), model.asked) == ([], [])
    "".join(chat.ask("w" + " w" * (8 - MESSAGE_OVERHEAD)))
    assert len(chat.messages) == 2


def test_a_turn_counts_tokens_and_says_why_it_ended() -> None:
    chat, _ = session("one two three", context_length=10)
    "".join(chat.ask("a b c"))
    turn = chat.last_turn
    assert turn is not None
    # three words and the end token
    assert (turn.prompt_tokens, turn.new_tokens, turn.context_used) == (3 + MESSAGE_OVERHEAD, 4, 9)
    assert (turn.finish_reason, turn.at_max_tokens) == ("stop", False)


@pytest.mark.parametrize(("sampling", "at_max_tokens"), [(Sampling(max_tokens=2), True), (Sampling(), False)])
def test_a_cut_answer_says_what_cut_it(sampling: Sampling, at_max_tokens: bool) -> None:
    chat, _ = session("one two three four", context_length=3 + MESSAGE_OVERHEAD, sampling=sampling)
    "".join(chat.ask("a"))
    assert chat.last_turn is not None
    assert (chat.last_turn.finish_reason, chat.last_turn.at_max_tokens) == ("length", at_max_tokens)
    assert contents(chat) == ["a", "one two"]


def test_count_tokens_is_the_models_own_count() -> None:
    chat, model = session()
    assert chat.count_tokens() == 0
    "".join(chat.ask("a b"))
    assert chat.count_tokens() == model.count_tokens(chat.messages)
