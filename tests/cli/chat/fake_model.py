"""A scripted model for tests of the terminal: a token is a word with the space before it."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field

from tropilla.engine.sampling import Sampling
from tropilla.text.conversation import Message

END_ID = 10_000  # the end token comes with the last piece, as the real model's does
MESSAGE_OVERHEAD = 2  # tokens that the fake template adds to each message


def words(text: str) -> list[str]:
    return re.findall(r"\s*\S+|\s+$", text)


@dataclass(frozen=True)
class FakePiece:
    text: str
    token_ids: tuple[int, ...] = (0,)
    finish_reason: str | None = None


@dataclass(frozen=True)
class FakeMemory:
    weights_bytes: int = 98_000_000
    kv_bytes: int = 189_000_000
    scratch_bytes: int = 4_000_000


@dataclass(frozen=True)
class FakeWork:
    proposed_tokens: int = 0
    accepted_tokens: int = 0


@dataclass(frozen=True)
class FakeStats:
    memory: FakeMemory = FakeMemory()
    work: FakeWork = FakeWork()


@dataclass
class FakeModel:
    """Answer with the replies in turn, the last one for ever; remember what was asked."""

    replies: Sequence[str] = ("ok",)
    context_length: int = 2048
    delay_s: float = 0.0
    bos: str = ""
    vocabulary: list[str] = field(default_factory=list)
    asked: list[tuple[Message, ...]] = field(default_factory=list)
    prompts: list[str] = field(default_factory=list)
    samplings: list[Sampling] = field(default_factory=list)
    n_closed: int = 0
    closed: bool = False
    stats: FakeStats = FakeStats()
    prefill_s: float = 0.0
    _cancelled: threading.Event = field(default_factory=threading.Event)

    def count_tokens(self, messages: Sequence[Message]) -> int:
        return sum(len(words(message.content)) + MESSAGE_OVERHEAD for message in messages)

    def tokenize(self, text: str, *, add_bos: bool | None = None) -> list[int]:
        start = [self.bos] if self.bos and add_bos is not False else []
        return [self._id(word) for word in start + words(text)]

    def chat_stream(
        self, messages: Sequence[Message], sampling: Sampling
    ) -> Generator[FakePiece, None, None]:
        self.asked.append(tuple(messages))
        return self._reply(self.count_tokens(messages), sampling)

    def stream(self, prompt: str | list[int], sampling: Sampling) -> Generator[FakePiece, None, None]:
        token_ids = self.tokenize(prompt) if isinstance(prompt, str) else prompt
        self.prompts.append("".join(self.vocabulary[i] for i in token_ids))
        return self._reply(len(token_ids), sampling)

    def cancel(self) -> None:
        self._cancelled.set()

    def close(self) -> None:
        self.closed = True

    def _id(self, word: str) -> int:
        if word not in self.vocabulary:
            self.vocabulary.append(word)
        return self.vocabulary.index(word)

    def _reply(self, n_prompt: int, sampling: Sampling) -> Generator[FakePiece, None, None]:
        self.samplings.append(sampling)
        reply = words(self.replies[min(len(self.samplings), len(self.replies)) - 1])
        room = min(self.context_length - n_prompt, sampling.max_tokens or len(reply) + 1)
        try:
            if self.prefill_s and self._cancelled.wait(self.prefill_s):
                yield FakePiece("", (), "cancelled")
                return
            for word in reply[:room]:
                time.sleep(self.delay_s)
                yield FakePiece(word, (self._id(word),))
            yield FakePiece("", (), "length") if room <= len(reply) else FakePiece("", (END_ID,), "stop")
        finally:
            self.n_closed += 1
