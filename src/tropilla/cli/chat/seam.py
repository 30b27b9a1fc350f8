"""What a chat asks of a model: the part of `tropilla.api.Model` that it uses, and nothing else."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from tropilla.engine.sampling import Sampling
    from tropilla.text.conversation import Message


class Piece(Protocol):
    """One step of an answer; only the last has a finish_reason: "stop", "length" or "cancelled"."""

    @property
    def text(self) -> str:
        """Return the text that this step adds; may be empty."""

    @property
    def token_ids(self) -> Sequence[int]:
        """Return the tokens that this step adds."""

    @property
    def finish_reason(self) -> str | None:
        """Return why the answer ended; None before its last piece."""


class Answerer(Protocol):
    """Answer whole conversations: a model with its own template, or one in a chosen prompt format."""

    @property
    def context_length(self) -> int:
        """Return how many tokens prompt and answer may have together."""

    def count_tokens(self, messages: Sequence[Message]) -> int:
        """Return how many tokens the conversation takes as a prompt."""

    def chat_stream(self, messages: Sequence[Message], sampling: Sampling) -> Generator[Piece, None, None]:
        """Yield the answer's pieces; closing the iterator cancels the rest."""


class Memory(Protocol):
    """Say what a model sets aside, in bytes."""

    @property
    def weights_bytes(self) -> int:
        """Return the weights' share."""

    @property
    def kv_bytes(self) -> int:
        """Return the share of the keys and values of a whole context."""

    @property
    def scratch_bytes(self) -> int:
        """Return the share of the work space."""


class Work(Protocol):
    """Count what a model has done since it was opened."""

    @property
    def proposed_tokens(self) -> int:
        """Return how many tokens were computed on the chance that they would come next."""

    @property
    def accepted_tokens(self) -> int:
        """Return how many of these did come."""


class Stats(Protocol):
    """Report what a model has done and holds."""

    @property
    def work(self) -> Work:
        """Return what was done."""

    @property
    def memory(self) -> Memory:
        """Return what is set aside."""


class TextModel(Answerer, Protocol):
    """Do what the terminal needs of a model: answer, go on with a text, count, report, close."""

    @property
    def stats(self) -> Stats:
        """Return what the model holds."""

    def stream(self, prompt: str | list[int], sampling: Sampling) -> Generator[Piece, None, None]:
        """Yield how the model goes on from the prompt; closing the iterator cancels the rest."""

    def tokenize(self, text: str, *, add_bos: bool | None = None) -> list[int]:
        """Return the text's token ids; add_bos None puts the model's start token first if it wants one."""

    def cancel(self) -> None:
        """End every answer under way soon, from any thread, also one whose prompt is still being read."""

    def close(self) -> None:
        """Give back the model's memory."""
