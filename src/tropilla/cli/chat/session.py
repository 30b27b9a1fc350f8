"""One chat with a model: its messages, its settings, and what the last answer cost."""

from __future__ import annotations

import time
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace

from tropilla.cli.chat.seam import Answerer, Piece
from tropilla.engine.sampling import Sampling
from tropilla.errors import RequestError
from tropilla.text.conversation import Message


@dataclass(frozen=True, kw_only=True, slots=True)
class Turn:
    """Say what one answer cost; decode_s runs from the first token to the last."""

    prompt_tokens: int
    new_tokens: int
    context_length: int
    first_token_s: float
    decode_s: float
    finish_reason: str
    at_max_tokens: bool

    @property
    def context_used(self) -> int:
        """Return how many tokens of the context the chat takes after this answer."""
        return self.prompt_tokens + self.new_tokens

    @property
    def tokens_per_s(self) -> float | None:
        """Return the decode speed; None when there are too few tokens to tell."""
        return (self.new_tokens - 1) / self.decode_s if self.new_tokens > 1 and self.decode_s > 0 else None


class ChatSession:
    """Hold a conversation and let a model answer it.

    An answer arrives through an iterator of text. Whatever has come when the iterator ends, is
    closed or fails becomes the answer; if nothing has come, the conversation is as it was before.
    Nothing is ever dropped from the conversation unasked: what does not fit is refused with counts.
    """

    def __init__(self, model: Answerer, sampling: Sampling, messages: Sequence[Message] = ()) -> None:
        self.model = model
        self.sampling = sampling
        self.messages = tuple(messages)
        self.last_turn: Turn | None = None
        self._attempt = 0

    @property
    def system(self) -> str:
        """Return the system message's text, "" if there is none."""
        first = self.messages[:1]
        return first[0].content if first and first[0].role == "system" else ""

    @system.setter
    def system(self, text: str) -> None:
        rest = self.messages[1:] if self.system else self.messages
        self.messages = (Message("system", text), *rest) if text else rest

    def last_question(self) -> str:
        """Return what the user said last; raise RequestError if the user has said nothing yet."""
        return self.messages[self._question_index()].content

    def count_tokens(self) -> int:
        """Return how many tokens of the context the conversation takes now."""
        return self.model.count_tokens(self.messages) if self.messages else 0

    def ask(self, text: str) -> Generator[str, None, None]:
        """Return the answer to one more user message; raise RequestError if it does not fit."""
        self._attempt = 0
        return self._answer((*self.messages, Message("user", text)), self.sampling)

    def regenerate(self) -> Generator[str, None, None]:
        """Return another answer to the last question; a fixed seed moves on by one each time."""
        question = self._question_index()
        self._attempt += 1
        seed = self.sampling.seed
        sampling = self.sampling if seed is None else replace(self.sampling, seed=seed + self._attempt)
        return self._answer(self.messages[: question + 1], sampling)

    def edit(self, text: str) -> Generator[str, None, None]:
        """Return the answer to text, asked in place of the last question."""
        self._attempt = 0
        question = self._question_index()
        return self._answer((*self.messages[:question], Message("user", text)), self.sampling)

    def undo(self) -> str:
        """Take back the last question with its answer and return the question."""
        question = self._question_index()
        text = self.messages[question].content
        self.messages = self.messages[:question]
        return text

    def forget(self, n_exchanges: int) -> tuple[Message, ...]:
        """Drop the oldest n questions with their answers, never the system message; return them.

        Raises RequestError if the conversation has no more than n questions.
        """
        start = 1 if self.system else 0
        questions = [i for i, message in enumerate(self.messages) if message.role == "user"]
        if n_exchanges >= len(questions):
            raise RequestError(
                f"cannot forget {n_exchanges} of {len(questions)} questions; /clear starts anew"
            )
        end = questions[n_exchanges]
        dropped = self.messages[start:end]
        self.messages = self.messages[:start] + self.messages[end:]
        return dropped

    def _question_index(self) -> int:
        for index in reversed(range(len(self.messages))):
            if self.messages[index].role == "user":
                return index
        raise RequestError("there is no question yet: write one first")

    def _answer(self, messages: tuple[Message, ...], sampling: Sampling) -> Generator[str, None, None]:
        prompt_tokens = self.model.count_tokens(messages)
        if prompt_tokens >= self.model.context_length:
            raise RequestError(_does_not_fit(prompt_tokens, self.model.context_length))
        return self._stream(messages, sampling, prompt_tokens)

    def _stream(
        self, messages: tuple[Message, ...], sampling: Sampling, prompt_tokens: int
    ) -> Generator[str, None, None]:
        meter = _Meter()
        parts: list[str] = []
        try:
            stream = self.model.chat_stream(messages, sampling)
            with closing(stream):
                for piece in stream:
                    meter.count(piece)
                    parts.append(piece.text)
                    yield piece.text
        finally:
            if any(parts) or meter.finish_reason != "cancelled":
                self.messages = (*messages, Message("assistant", "".join(parts)))
                self.last_turn = meter.turn(prompt_tokens, self.model.context_length, sampling)


class _Meter:
    def __init__(self) -> None:
        self._start = time.perf_counter()
        self._first: float | None = None
        self._last = self._start
        self._n_tokens = 0
        self.finish_reason = "cancelled"  # until the model says otherwise

    def count(self, piece: Piece) -> None:
        self._last = time.perf_counter()
        self._first = self._first or self._last
        self._n_tokens += len(piece.token_ids)
        self.finish_reason = piece.finish_reason or self.finish_reason

    def turn(self, prompt_tokens: int, context_length: int, sampling: Sampling) -> Turn:
        first = self._first or self._last
        return Turn(
            prompt_tokens=prompt_tokens,
            new_tokens=self._n_tokens,
            context_length=context_length,
            first_token_s=first - self._start,
            decode_s=self._last - first,
            finish_reason=self.finish_reason,
            at_max_tokens=sampling.max_tokens is not None and self._n_tokens >= sampling.max_tokens,
        )


def _does_not_fit(needed: int, context_length: int) -> str:
    return (
        f"this would need {needed} tokens before the answer, and the context holds {context_length}: "
        "shorten the message, /forget the oldest questions, /undo the last one, /clear, "
        "or start with a larger --context-length"
    )
