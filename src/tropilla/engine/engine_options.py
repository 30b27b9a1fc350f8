"""What a user may say about how the engine runs."""

from __future__ import annotations

from dataclasses import dataclass

from tropilla.engine.executor import BLOCK_TOKENS, KV_TYPES, kv_block_bytes
from tropilla.errors import CapacityError, OptionError
from tropilla.hub.tuning import default_threads
from tropilla.model.config import LlamaConfig
from tropilla.options import check, option

# Longer contexts are for those who ask: their cache may be larger than the model.
DEFAULT_LONGEST_CONTEXT = 8192


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineOptions:
    """Say how much of the machine the engine takes and how it cuts up its work."""

    threads: int | None = option(
        None, help="threads; as many as suit this machine if absent", at_least=1, at_most=1024
    )
    context_length: int | None = option(
        None,
        help=f"longest sequence in tokens; the model's own, up to {DEFAULT_LONGEST_CONTEXT}, if absent",
        at_least=1,
    )
    kv_memory_mb: int | None = option(
        None,
        help="memory for keys and values in MB; one full context if absent",
        at_least=1,
        at_most=1_000_000_000,
    )
    kv_type: str = option(
        "f16",
        help="what keys and values are kept as; q8_0 halves the memory of f16, q4_0 takes a quarter "
        "and costs quality, f32 doubles it",
        choices=KV_TYPES,
    )
    prefill_chunk: int = option(256, help="prompt tokens read in one step", at_least=1, at_most=4096)
    max_batch: int = option(16, help="sequences that run at once", at_least=1, at_most=256)
    speculation: str | None = option(
        None,
        help="who guesses tokens ahead, for speed: lookup in the text so far, a draft model, or nobody; "
        "draft if there is a draft_model, else lookup; changes no result",
        choices=("off", "lookup", "draft"),
    )
    draft_model: str | None = option(
        None, help="small model of the same vocabulary that guesses ahead: catalogue name, file or folder"
    )
    prefix_cache_mb: int | None = option(
        None,
        help="disk space in MB for what was read of finished prompts, so that the next run need not; "
        "none if absent",
        at_least=1,
        at_most=1_000_000_000,
    )
    isa: str | None = option(None, help="instruction set whose kernels run; the best one if absent")

    def __post_init__(self) -> None:
        check(self)
        if self.speculation == "draft" and self.draft_model is None:
            raise OptionError("speculation is draft, but there is no draft_model; name one")
        if self.speculation in ("off", "lookup") and self.draft_model is not None:
            raise OptionError(f"draft_model is set, but speculation is {self.speculation}; leave one out")

    @property
    def proposer(self) -> str:
        """Return who guesses ahead: off, lookup or draft."""
        return self.speculation or ("lookup" if self.draft_model is None else "draft")

    def n_threads(self) -> int:
        """Return how many threads to run."""
        return default_threads() if self.threads is None else self.threads

    def context_of(self, config: LlamaConfig) -> int:
        """Return the longest sequence for a model. Raises OptionError beyond what it was made for."""
        if self.context_length is None:
            return min(config.context_length, DEFAULT_LONGEST_CONTEXT)
        if self.context_length > config.context_length:
            raise OptionError(
                f"context_length is {self.context_length}, but the model was made for "
                f"{config.context_length}; give that or less"
            )
        return self.context_length

    def n_kv_blocks(self, config: LlamaConfig) -> int:
        """Return how many cache blocks to hold. Raises CapacityError if one context does not fit."""
        needed = -(-self.context_of(config) // BLOCK_TOKENS)
        if self.kv_memory_mb is None:
            return needed
        block_bytes = kv_block_bytes(config, self.kv_type)
        available = self.kv_memory_mb * 1_000_000 // block_bytes
        if available < needed:
            raise CapacityError(
                f"a context of {self.context_of(config)} tokens needs {needed * block_bytes / 1e6:.0f} MB "
                f"for keys and values, but kv_memory_mb is {self.kv_memory_mb}; "
                "raise it or lower context_length",
                needed=needed * block_bytes,
                available=self.kv_memory_mb * 1_000_000,
            )
        return available
