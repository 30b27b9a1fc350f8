"""What a model answers with, piece by piece or as a whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

FinishReason = Literal["stop", "length", "cancelled"]


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenLogprob:
    """Say how probable the raw model found one token; logprob in nats."""

    token_id: int
    text: str
    logprob: float


@dataclass(frozen=True, kw_only=True, slots=True)
class SampledToken(TokenLogprob):
    """Add to a drawn token the most probable ones at its place, best first."""

    top: tuple[TokenLogprob, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Usage:
    """Count the tokens of one answer and the seconds that they took."""

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int
    prefill_s: float
    decode_s: float

    @property
    def prefill_tokens_per_s(self) -> float:
        """Return the speed at which the part of the prompt that was not cached was read."""
        return (self.prompt_tokens - self.cached_tokens) / max(self.prefill_s, 1e-9)

    @property
    def decode_tokens_per_s(self) -> float:
        """Return the speed of the answer after its first token."""
        return max(self.completion_tokens - 1, 0) / max(self.decode_s, 1e-9)


@dataclass(frozen=True, kw_only=True, slots=True)
class Piece:
    """Carry text that is final: whole characters, no part of a stop string.

    tokens: the tokens decoded since the last piece, with logprobs where asked for.
    finish_reason and usage: set on the last piece only.
    """

    text: str
    token_ids: tuple[int, ...] = ()
    tokens: tuple[SampledToken, ...] = ()
    finish_reason: FinishReason | None = None
    stop: str | None = None
    usage: Usage | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Reply:
    """Hold a whole answer; seed repeats it."""

    text: str
    token_ids: tuple[int, ...]
    tokens: tuple[SampledToken, ...]
    finish_reason: FinishReason
    stop: str | None
    usage: Usage
    seed: int
