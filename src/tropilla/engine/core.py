"""The engine's loop: schedule, compute, draw, report. The caller holds the engine's lock."""

from __future__ import annotations

import dataclasses
import time

from tropilla._native import Draw, Sampler
from tropilla.engine.executor import CPUExecutor
from tropilla.engine.scheduler import Scheduler, Span
from tropilla.engine.sequence import FinishReason, Goal, LiveSequence, TokenEvent
from tropilla.engine.speculation.speculator import Speculator
from tropilla.engine.stats import Counters, EngineStats
from tropilla.errors import TropillaError


class EngineCore:
    """Advance all live sequences step by step; leave events on each."""

    def __init__(
        self, executor: CPUExecutor, scheduler: Scheduler, speculator: Speculator | None = None
    ) -> None:
        self.executor = executor
        self.scheduler = scheduler
        self.speculator = speculator
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
        before_s, accepted_before = time.monotonic(), self.counters.accepted_tokens
        if self.speculator is not None:
            spans = self.speculator.extended(spans)
        ready_s = time.monotonic()
        if self._compute(spans):
            n_accepted = self.counters.accepted_tokens - accepted_before
            end_s = time.monotonic()
            self._count(spans, n_accepted, end_s - before_s)
            if self.speculator is not None and not any(span.n_own > 1 for span in spans):
                self.speculator.took(sum(span.n_tokens for span in spans), end_s - ready_s)
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
        if self.speculator is not None:
            self.speculator.rewound(sequence, n_tokens)

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

    def _count(self, spans: list[Span], n_accepted: int, seconds: float) -> None:
        prefill = any(span.n_own > 1 for span in spans)
        self.counters.add_step(sum(span.n_own for span in spans) + n_accepted, seconds, prefill=prefill)

    def _note_starts(self, spans: list[Span]) -> None:
        for sequence in (span.sequence for span in spans if span.sequence.started_s is None):
            sequence.started_s = time.monotonic()
            sequence.n_reused = sequence.n_cached
            self.counters.reused_tokens += sequence.n_reused

    def _compute(self, spans: list[Span]) -> bool:
        """Compute the spans and take their results; False if the step was cut short."""
        self.being_read = frozenset(span.sequence for span in spans if span.n_own > 1)
        done = self.executor.step(spans, _logit_rows(spans))
        self.being_read = frozenset()
        if done:
            for span in spans:
                if not span.draws:
                    self.scheduler.committed(span)
            self._draw([span for span in spans if span.draws])
            self._take_rows(spans)
        return done

    def _draw(self, spans: list[Span]) -> None:
        runs = self.executor.draw([(_sampler(span.sequence), span.proposal) for span in spans])
        row = 0
        for span, (draws, failed) in zip(spans, runs, strict=True):
            self._take_draws(span, draws)
            if failed:
                self._fail(span.sequence, row + len(draws))
            row += 1 + len(span.proposal)

    def _take_draws(self, span: Span, draws: list[Draw]) -> None:
        sequence = span.sequence
        drawn = [draw.token for draw in draws]
        n_accepted = sum(token == other for token, other in zip(drawn, span.proposal, strict=False))
        sequence.token_ids += drawn
        self.scheduler.committed(span, n_accepted)
        if self.speculator is not None:
            self.speculator.drawn(sequence, drawn)
        self.counters.proposed_tokens += len(span.proposal)
        self.counters.accepted_tokens += n_accepted
        if sequence.first_token_s is None and draws:
            sequence.first_token_s = time.monotonic()
        for place, draw in enumerate(draws, len(sequence.token_ids) - len(draws)):
            event = TokenEvent(
                sequence_id=sequence.id,
                token_id=draw.token,
                logprob=draw.logprob,
                top=tuple(draw.top),
                finish_reason=_reason_to_end(sequence, place),
            )
            self._report(sequence, event)

    def _fail(self, sequence: LiveSequence, row: int) -> None:
        """End a sequence with the error that its sampler raises at a row."""
        try:
            self.executor.sample_one(row, _sampler(sequence))
        except TropillaError as error:
            self.finish(sequence, "error", error)

    def _report(self, sequence: LiveSequence, event: TokenEvent) -> None:
        if event.finish_reason is not None:
            self.scheduler.retire(sequence)
            if self.speculator is not None:
                self.speculator.ended(sequence)
            sequence.finish_reason = event.finish_reason
            sequence.finished_s = time.monotonic()
        sequence.events.append(event)

    def _take_rows(self, spans: list[Span]) -> None:
        """Fetch what scores and embeddings want of a step; this ends its logits."""
        for last_row, span in zip(_last_rows(spans), spans, strict=True):
            if span.sequence.goal is Goal.GENERATE:
                continue
            first_row = last_row - span.n_own + 1
            wanted = range(max(span.start, span.sequence.wanted_from), span.start + span.n_own)
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


def _logit_rows(spans: list[Span]) -> list[int]:
    """Return the rows to draw after, counted through all spans: each last own token and those proposed."""
    rows: list[int] = []
    for last_row, span in zip(_last_rows(spans), spans, strict=True):
        if span.draws:
            rows += range(last_row - len(span.proposal), last_row + 1)
    return rows


def _reason_to_end(sequence: LiveSequence, place: int) -> FinishReason | None:
    """Return why a sequence ends with the token at a place, if it does."""
    if sequence.token_ids[place] in sequence.stop_ids:
        return "stop"
    return "length" if place + 1 >= sequence.max_length else None


def _sampler(sequence: LiveSequence) -> Sampler:
    assert sequence.sampler is not None, "a sequence that generates has a sampler"
    return sequence.sampler
