"""One sequence in the engine: its tokens, what it wants, and what has come of it so far."""

from __future__ import annotations

import enum
from collections import deque
from dataclasses import dataclass, field
from typing import Literal

from tropilla._native import Sampler, SamplerParams
from tropilla.errors import TropillaError

FinishReason = Literal["stop", "length", "cancelled", "error"]


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenSampling:
    """Say how a sequence draws its tokens and when it ends.

    It ends with one of params.end_ids (unless params.ignore_eos), of params.stop_token_ids, after
    max_tokens, or where the context is full.
    """

    params: SamplerParams
    max_tokens: int | None = None

    def stop_ids(self) -> frozenset[int]:
        """Return the tokens that end the sequence."""
        end_ids = [] if self.params.ignore_eos else self.params.end_ids
        return frozenset(end_ids) | frozenset(self.params.stop_token_ids)


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenEvent:
    """Report one drawn token, or that a sequence ended without one (token_id None).

    A token that ends the sequence is reported too. logprob and top (best first) are there if asked
    for. error is set when finish_reason is "error".
    """

    sequence_id: int
    token_id: int | None = None
    logprob: float | None = None
    top: tuple[tuple[int, float], ...] = ()
    finish_reason: FinishReason | None = None
    error: TropillaError | None = None


class Goal(enum.Enum):
    """Say what a sequence is computed for."""

    GENERATE = enum.auto()
    SCORE = enum.auto()
    EMBED = enum.auto()


@dataclass(eq=False, slots=True, kw_only=True)
class LiveSequence:
    """Hold a sequence's state. The engine changes it; others read it.

    token_ids: the prompt and what was drawn. n_cached: how many of them, from the start, have their
    keys in blocks. hashes: the names of the blocks that are full. n_reused: prompt tokens found in
    the cache. Times are of time.monotonic().
    """

    id: int
    token_ids: list[int]
    n_prompt: int
    goal: Goal
    max_length: int  # prompt included
    sampler: Sampler | None = None
    stop_ids: frozenset[int] = frozenset()
    first_wanted: int = 0  # SCORE and EMBED: the first token whose result is wanted
    targets: list[int] = field(default_factory=list)  # SCORE: the token after each token
    hash_root: bytes = b""

    blocks: list[int] = field(default_factory=list)
    hashes: list[bytes] = field(default_factory=list)
    n_cached: int = 0
    n_reused: int = 0
    started_s: float | None = None
    first_token_s: float | None = None
    finished_s: float | None = None
    finish_reason: FinishReason | None = None
    cancel_requested: bool = False
    streamed: bool = False
    events: deque[TokenEvent] = field(default_factory=deque)
    logprobs: list[float] = field(default_factory=list)
    hidden_sum: list[float] = field(default_factory=list)

    @property
    def n_pending(self) -> int:
        """Return how many tokens the model has yet to read."""
        return len(self.token_ids) - self.n_cached

    @property
    def n_generated(self) -> int:
        """Return how many tokens were drawn."""
        return len(self.token_ids) - self.n_prompt

    @property
    def n_read(self) -> int:
        """Return how many drawn tokens the reader of the events has taken."""
        return self.n_generated - sum(event.token_id is not None for event in self.events)

    @property
    def wanted_from(self) -> int:
        """Return the first token whose result is wanted; those before it may come from the cache."""
        return len(self.token_ids) - 1 if self.goal is Goal.GENERATE else self.first_wanted

    def forget_results(self) -> None:
        """Forget scores and sums, which reading again will yield again."""
        self.logprobs.clear()
        self.hidden_sum.clear()
