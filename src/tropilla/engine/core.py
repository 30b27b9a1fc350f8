"""The engine's loop: schedule, compute, draw, report. The caller holds the engine's lock."""

from __future__ import annotations

import dataclasses
import time

from tropilla._native import Draw, Sampler
from tropilla.engine.executor import CPUExecutor
from tropilla.engine.scheduler import Scheduler, Span
from tropilla.engine.sequence import FinishReason, Goal, LiveSequence, TokenEvent
from tropilla.engine.stats import Counters, EngineStats
from tropilla.errors import TropillaError


class EngineCore:
    """Advance all live sequences step by step; leave events on each."""

    def __init__(self, executor: CPUExecutor, scheduler: Scheduler) -> None:
        self.executor = executor
        self.scheduler = scheduler
        self.counters = Counters()
        # Whose prompts the step under way reads; looked at from other threads.
        self.being_read: frozenset[LiveSequence] = frozenset()

    @property
    def live(self) -> list[LiveSequence]:
        """Return the running and the waiting sequences."""
        return [*self.scheduler.running, *self.scheduler.waiting]

    def advance(self) -> None:
        """Run one step, if there is anything to do."""
        self.end_cancelled()
        spans = self.scheduler.schedule()
        if not spans:
            return
        self._note_starts(spans)
        before_s = time.monotonic()
        if self._compute(spans):
            n_tokens = sum(span.n_tokens for span in spans)
            self.counters.add_step(n_tokens, time.monotonic() - before_s, prefill=n_tokens > len(spans))
        self.end_cancelled()

    def end_cancelled(self) -> None:
        """End the sequences that were asked to stop."""
        for sequence in self.live:
            if sequence.cancel_requested:
                self.finish(sequence, "cancelled")

    def finish(
        self, sequence: LiveSequence, reason: FinishReason, error: TropillaError | None = None
    ) -> None:
        """End a sequence without a further token and report it."""
        event = TokenEvent(sequence_id=sequence.id, finish_reason=reason, error=error)
        self._report(sequence, event)

    def rewind(self, sequence: LiveSequence, n_tokens: int) -> None:
        """Take back a sequence's last tokens; it runs on, or again."""
        sequence.finish_reason = sequence.finished_s = None
        self.scheduler.rewind(sequence, n_tokens)

    def stats(self) -> EngineStats:
        """Return counts since the start and what is held now."""
        blocks = self.scheduler.blocks
        return EngineStats(
            work=dataclasses.replace(self.counters),
            memory=self.executor.memory,
            n_preempted=self.scheduler.n_preempted,
            n_running=len(self.scheduler.running),
            n_waiting=len(self.scheduler.waiting),
            kv_blocks=blocks.n_blocks,
            kv_blocks_held=blocks.n_blocks - blocks.n_free,
            kv_blocks_cached=blocks.n_cached,
            isa=self.executor.isa,
            threads=self.executor.n_threads,
        )

    def _note_starts(self, spans: list[Span]) -> None:
        for sequence in (span.sequence for span in spans if span.sequence.started_s is None):
            sequence.started_s = time.monotonic()
            sequence.n_reused = sequence.n_cached
            self.counters.reused_tokens += sequence.n_reused

    def _compute(self, spans: list[Span]) -> bool:
        """Compute the spans and take their results; False if the step was cut short."""
        drawing = {
            row: span.sequence
            for row, span in zip(_last_rows(spans), spans, strict=True)
            if span.reaches_end and span.sequence.goal is Goal.GENERATE
        }
        self.being_read = frozenset(span.sequence for span in spans if span.n_tokens > 1)
        done = self.executor.step(spans, list(drawing))
        self.being_read = frozenset()
        if done:
            for span in spans:
                self.scheduler.committed(span)
            self._draw(list(drawing.values()))
            self._take_rows(spans)
        return done

    def _draw(self, sequences: list[LiveSequence]) -> None:
        samplers = [_sampler(sequence) for sequence in sequences]
        draws = self.executor.sample(samplers)
        for row, (sequence, draw) in enumerate(zip(sequences, draws, strict=True)):
            try:
                self._take_draw(sequence, draw or self.executor.sample_one(row, samplers[row]))
            except TropillaError as error:
                self.finish(sequence, "error", error)

    def _take_draw(self, sequence: LiveSequence, draw: Draw) -> None:
        _sampler(sequence).accept(draw.token)
        sequence.token_ids.append(draw.token)
        if sequence.first_token_s is None:
            sequence.first_token_s = time.monotonic()
        reason: FinishReason | None = None
        if draw.token in sequence.stop_ids:
            reason = "stop"
        elif len(sequence.token_ids) >= sequence.max_length:
            reason = "length"
        event = TokenEvent(
            sequence_id=sequence.id,
            token_id=draw.token,
            logprob=draw.logprob,
            top=tuple(draw.top),
            finish_reason=reason,
        )
        self._report(sequence, event)

    def _report(self, sequence: LiveSequence, event: TokenEvent) -> None:
        if event.finish_reason is not None:
            self.scheduler.retire(sequence)
            sequence.finish_reason = event.finish_reason
            sequence.finished_s = time.monotonic()
        sequence.events.append(event)

    def _take_rows(self, spans: list[Span]) -> None:
        """Fetch what scores and embeddings want of a step; this ends its logits."""
        for last_row, span in zip(_last_rows(spans), spans, strict=True):
            if span.sequence.goal is Goal.GENERATE:
                continue
            first_row = last_row - span.n_tokens + 1
            wanted = range(max(span.start, span.sequence.wanted_from), span.start + span.n_tokens)
            if wanted:
                self._take_wanted(span.sequence, wanted, [first_row + p - span.start for p in wanted])
            if span.reaches_end:
                self.finish(span.sequence, "stop")

    def _take_wanted(self, sequence: LiveSequence, positions: range, rows: list[int]) -> None:
        if sequence.goal is Goal.SCORE:
            targets = sequence.targets[positions.start : positions.stop]
            sequence.logprobs += self.executor.score(rows, targets)
        else:
            total = self.executor.sum_hidden(rows)
            before = sequence.hidden_sum or [0.0] * len(total)
            sequence.hidden_sum = [a + b for a, b in zip(before, total, strict=True)]


def _last_rows(spans: list[Span]) -> list[int]:
    """Return the place of each span's last token, counted through all spans."""
    rows, n_tokens = [], 0
    for span in spans:
        n_tokens += span.n_tokens
        rows.append(n_tokens - 1)
    return rows


def _sampler(sequence: LiveSequence) -> Sampler:
    assert sequence.sampler is not None, "a sequence that generates has a sampler"
    return sequence.sampler
