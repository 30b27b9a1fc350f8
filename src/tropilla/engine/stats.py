"""What the engine has done so far and what it holds."""

from __future__ import annotations

from dataclasses import dataclass

from tropilla._native import MemoryUse


@dataclass(slots=True)
class Counters:
    """Count the engine's work. Steps that read any part of a prompt count as prefill.

    decode_tokens: those that became part of an answer, accepted ones included. proposed_tokens: those
    that steps computed on the chance that they would be drawn; accepted_tokens: those that were.
    """

    prefill_tokens: int = 0
    prefill_s: float = 0.0
    decode_tokens: int = 0
    decode_s: float = 0.0
    reused_tokens: int = 0
    proposed_tokens: int = 0
    accepted_tokens: int = 0

    def add_step(self, n_tokens: int, seconds: float, *, prefill: bool) -> None:
        """Count one step."""
        if prefill:
            self.prefill_tokens += n_tokens
            self.prefill_s += seconds
        else:
            self.decode_tokens += n_tokens
            self.decode_s += seconds

    @property
    def prefill_tokens_per_s(self) -> float:
        """Return the speed of the steps that read prompts; 0 before the first."""
        return self.prefill_tokens / self.prefill_s if self.prefill_s else 0.0

    @property
    def decode_tokens_per_s(self) -> float:
        """Return the speed of the steps that only answered, all sequences together; 0 before the first."""
        return self.decode_tokens / self.decode_s if self.decode_s else 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineStats:
    """Report the work done since the start and what is held now.

    memory counts what is set aside; pages of the cache and of scratch never used are not resident.
    """

    work: Counters
    memory: MemoryUse
    n_preempted: int
    n_running: int
    n_waiting: int
    kv_blocks: int
    kv_blocks_held: int
    kv_blocks_cached: int
    isa: str
    threads: int
