"""The engine: token ids in, token events out, many sequences at once."""

from __future__ import annotations

import itertools
from collections.abc import Generator, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Literal

from tropilla._native import Sampler
from tropilla.engine.core import EngineCore
from tropilla.engine.engine_options import EngineOptions
from tropilla.engine.executor import BLOCK_TOKENS, CPUExecutor
from tropilla.engine.kv_blocks import KVBlocks
from tropilla.engine.scheduler import Scheduler
from tropilla.engine.sequence import Goal, LiveSequence, TokenEvent, TokenSampling
from tropilla.engine.speculation.lookup import LookupProposer
from tropilla.engine.speculation.proposer import Proposer
from tropilla.engine.speculation.speculator import MOST_PROPOSED, Speculator
from tropilla.engine.stats import EngineStats
from tropilla.engine.step_lock import StepLock
from tropilla.errors import RequestError, UnsupportedError
from tropilla.model.weights import ModelWeights

if TYPE_CHECKING:
    from tropilla.engine.prefix_archive import PrefixArchive

Pooling = Literal["mean", "last"]


class Engine:
    """Run sequences of one model together, each as if it were alone.

    Any thread may call any method. A step is computed by whoever asks for events next; the others
    wait for it and find theirs.
    """

    def __init__(
        self,
        weights: ModelWeights,
        options: EngineOptions | None = None,
        *,
        prefix_folder: Path | None = None,
        draft_weights: ModelWeights | None = None,
    ) -> None:
        """Load the weights. Raises OptionError, CapacityError or UnsupportedError.

        draft_weights: of options.draft_model.
        prefix_folder: where the blocks that options.prefix_cache_mb asks for outlive the engine.
        """
        options = options or EngineOptions()
        self.config = weights.config
        self.context_length = options.context_of(weights.config)
        n_blocks = options.n_kv_blocks(weights.config)
        max_logit_rows = options.max_batch + (0 if options.proposer == "off" else MOST_PROPOSED)
        executor = CPUExecutor(
            weights,
            max_tokens=options.prefill_chunk + max_logit_rows,
            max_logit_rows=max_logit_rows,
            n_kv_blocks=n_blocks,
            kv_type=options.kv_type,
            n_threads=options.n_threads(),
            isa=options.isa,
        )
        self._lock = StepLock()  # held for a step, and whenever sequences change
        blocks = KVBlocks(n_blocks, BLOCK_TOKENS)
        self._archive: PrefixArchive | None = None
        if prefix_folder is not None and options.prefix_cache_mb is not None:
            from tropilla.engine.prefix_archive import open_archive  # most engines have none

            limit_bytes = options.prefix_cache_mb * 1_000_000
            self._archive = open_archive(
                prefix_folder, limit_bytes, weights, options.kv_type, executor, blocks, self._lock
            )
        scheduler = Scheduler(
            blocks, max_batch=options.max_batch, prefill_chunk=options.prefill_chunk, archive=self._archive
        )
        proposer = _proposer(weights, options, n_blocks, draft_weights)
        speculator = None if proposer is None else Speculator(scheduler, proposer)
        self._core: EngineCore | None = EngineCore(executor, scheduler, speculator)
        self._ids = itertools.count(1)
        self._unstreamed: dict[int, LiveSequence] = {}  # whose events step() returns

    def __enter__(self) -> Engine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End all sequences as cancelled and free the model's memory. The engine is of no more use."""
        with self._lock:
            core, self._core = self._core, None
            if core is not None:
                for sequence in core.live:
                    core.finish(sequence, "cancelled")
        if self._archive is not None:
            self._archive.close()  # it takes the lock itself
            self._archive = None

    def submit(self, token_ids: Sequence[int], sampling: TokenSampling) -> LiveSequence:
        """Queue a prompt for an answer and return its handle; step() or stream() do the work.

        Raises RequestError for an empty or too long prompt or an id outside the vocabulary.
        """
        prompt = self._checked(token_ids, self.context_length - 1)
        room = self.context_length - len(prompt)
        max_tokens = room if sampling.max_tokens is None else min(sampling.max_tokens, room)
        sequence = LiveSequence(
            id=next(self._ids),
            token_ids=prompt,
            n_prompt=len(prompt),
            goal=Goal.GENERATE,
            max_length=len(prompt) + max_tokens,
            sampler=Sampler(sampling.params, self.config.vocab_size, prompt),
            stop_ids=sampling.stop_ids(),
        )
        return self._enqueue(sequence)

    def step(self) -> list[TokenEvent]:
        """Compute one step over all live sequences; return the events of those not being streamed.

        Returns an empty list at once when there is nothing to do.
        """
        with self._lock:
            self._live_core.advance()
            events = [event for sequence in list(self._unstreamed.values()) for event in _drain(sequence)]
            ended = [sequence.id for sequence in list(self._unstreamed.values()) if sequence.finish_reason]
            for sequence_id in ended:
                del self._unstreamed[sequence_id]
            return events

    @property
    def has_work(self) -> bool:
        """Return whether any sequence is waiting or running."""
        return bool(self._live_core.live)

    def stream(self, sequence: LiveSequence) -> Generator[TokenEvent, None, None]:
        """Yield a sequence's events until it ends; closing the iterator early cancels it.

        Steps that this runs serve the other sequences too. Raises the sequence's error if it has one.
        """
        with self._lock:
            sequence.streamed = True
            self._unstreamed.pop(sequence.id, None)
        events = self._stream(sequence)
        next(events)
        return events

    def cancel(self, sequence: LiveSequence) -> None:
        """End a sequence soon, from any thread; does not wait for a step under way.

        A step that is reading the sequence's prompt is cut short. Its last event says "cancelled".
        """
        sequence.cancel_requested = True
        core = self._core
        if core is None:
            return
        if sequence in core.being_read:
            core.executor.cancel()
        if self._lock.acquire_if_free():  # else the thread that runs the step sees to it
            try:
                core.end_cancelled()
            finally:
                self._lock.release()

    def cancel_all(self) -> None:
        """Cancel every sequence that waits or runs, from any thread."""
        core = self._core
        for sequence in core.live if core is not None else ():
            self.cancel(sequence)

    def rewind(self, sequence: LiveSequence, n_tokens: int, ban: Sequence[int] = ()) -> None:
        """Take back the last n_tokens whose events were read, and draw on from there.

        Events not yet read are taken back too. The tokens of ban are not drawn at the first place
        taken back, until a rewind goes further. A sequence that had ended runs again.
        """
        with self._lock:
            assert sequence.sampler is not None, "only sequences that generate can be rewound"
            n_tokens += sequence.n_generated - sequence.n_read
            if not 0 <= n_tokens <= sequence.n_generated:
                raise RequestError(f"cannot take back {n_tokens} tokens of {sequence.n_generated}")
            sequence.events.clear()
            sequence.sampler.rewind(n_tokens)
            sequence.sampler.ban_next(list(ban))
            self._live_core.rewind(sequence, n_tokens)
            if not sequence.streamed:
                self._unstreamed[sequence.id] = sequence

    def score(self, token_ids: Sequence[int], *, first: int = 1) -> list[float]:
        """Return log p(token_ids[i] | those before) in nats for i >= first, of the raw model.

        Raises RequestError like submit(), and where first leaves nothing to score.
        """
        ids = self._checked(token_ids, self.context_length)
        if not 1 <= first < len(ids):
            raise RequestError(f"cannot score from token {first} of {len(ids)}: the first has no context")
        sequence = LiveSequence(
            id=next(self._ids),
            token_ids=ids[:-1],
            n_prompt=len(ids) - 1,
            goal=Goal.SCORE,
            max_length=len(ids),
            first_wanted=first - 1,
            targets=ids[1:],
        )
        self._run(sequence)
        return sequence.logprobs

    def embed(self, token_ids: Sequence[int], pooling: Pooling = "mean") -> list[float]:
        """Return the normed output of the last layer, (dim), of the last token or the mean of all."""
        ids = self._checked(token_ids, self.context_length)
        sequence = LiveSequence(
            id=next(self._ids),
            token_ids=ids,
            n_prompt=len(ids),
            goal=Goal.EMBED,
            max_length=len(ids),
            first_wanted=len(ids) - 1 if pooling == "last" else 0,
        )
        self._run(sequence)
        n_pooled = len(ids) - sequence.first_wanted
        return [value / n_pooled for value in sequence.hidden_sum]

    @property
    def stats(self) -> EngineStats:
        """Return counts since the start and what is held now."""
        return self._live_core.stats()

    @property
    def _live_core(self) -> EngineCore:
        if self._core is None:
            raise RequestError("the engine is closed")
        return self._core

    def _checked(self, token_ids: Sequence[int], most: int) -> list[int]:
        ids = list(token_ids)
        if not ids:
            raise RequestError("the prompt is empty; it needs at least one token")
        if len(ids) > most:
            raise RequestError(
                f"the prompt has {len(ids)} tokens, but at most {most} fit the context of "
                f"{self.context_length}; shorten it or raise context_length"
            )
        if min(ids) < 0 or max(ids) >= self.config.vocab_size:
            wrong = next(i for i in ids if not 0 <= i < self.config.vocab_size)
            raise RequestError(f"token id {wrong} is outside the vocabulary of {self.config.vocab_size}")
        return ids

    def _enqueue(self, sequence: LiveSequence) -> LiveSequence:
        # Single operations that no other thread can split: a submit never waits for a step under way.
        self._unstreamed[sequence.id] = sequence
        self._live_core.scheduler.waiting.append(sequence)
        return sequence

    def _run(self, sequence: LiveSequence) -> None:
        for _ in self.stream(self._enqueue(sequence)):
            pass

    def _stream(self, sequence: LiveSequence) -> Generator[TokenEvent, None, None]:
        try:
            # Taken by stream(): a generator that never began would not cancel when it is closed.
            yield TokenEvent(sequence_id=sequence.id)
            # The reader may rewind at any event, even the last; only then is the end known.
            while sequence.events or sequence.finish_reason is None:
                while sequence.events:
                    event = sequence.events.popleft()
                    if event.error is not None:
                        raise event.error
                    yield event
                self._step_or_wait(sequence)
        finally:
            if sequence.finish_reason is None:
                self.cancel(sequence)

    def _step_or_wait(self, sequence: LiveSequence) -> None:
        """Compute a step, or wait for who is computing one, which may bring this sequence's event."""
        if self._lock.wait_while_held() or not self._lock.acquire_if_free():
            return
        try:
            if not sequence.events and sequence.finish_reason is None:
                self._live_core.advance()
        finally:
            self._lock.release()


def _proposer(
    weights: ModelWeights, options: EngineOptions, n_blocks: int, draft_weights: ModelWeights | None
) -> Proposer | None:
    """Return who guesses tokens ahead, if anybody does. Raises UnsupportedError for an unfit draft model."""
    if options.proposer == "off":
        return None
    if options.proposer == "lookup":
        return LookupProposer()
    from tropilla.engine.speculation.draft import DraftProposer  # most engines have none

    assert draft_weights is not None, "whoever sets draft_model brings its weights"
    if draft_weights.config.vocab_size != weights.config.vocab_size:
        raise UnsupportedError(
            f"the draft model has {draft_weights.config.vocab_size} tokens and the model "
            f"{weights.config.vocab_size}; a draft model must have the same vocabulary"
        )
    executor = CPUExecutor(
        draft_weights,
        max_tokens=options.prefill_chunk,
        max_logit_rows=options.max_batch,
        n_kv_blocks=n_blocks,
        kv_type=options.kv_type,
        n_threads=options.n_threads(),
        isa=options.isa,
    )
    scheduler = Scheduler(
        KVBlocks(n_blocks, BLOCK_TOKENS), max_batch=options.max_batch, prefill_chunk=options.prefill_chunk
    )
    return DraftProposer(executor, scheduler, draft_weights.config.context_length)


def _drain(sequence: LiveSequence) -> list[TokenEvent]:
    events = list(sequence.events)
    sequence.events.clear()
    return events
