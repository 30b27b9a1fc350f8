"""Propose what a second, smaller model of the same vocabulary would draw.

The small model draws with copies of the sequences' own samplers, so with the same random numbers: where
both models agree about a token's probabilities, they draw the same one.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from tropilla._native import Sampler
from tropilla.engine.executor import CPUExecutor
from tropilla.engine.scheduler import Scheduler, Span, next_span
from tropilla.engine.sequence import Goal, LiveSequence
from tropilla.engine.speculation.chances import Chances
from tropilla.engine.speculation.proposer import NOTHING, Proposal, Request
from tropilla.engine.speculation.step_costs import StepCosts

MOST_DRAFTED = 12
_PRIOR = 0.7  # chance of a drafted token, those before it being right
_LEAST_GAIN = 0.03  # what drafting must promise: it costs more than looking up
_PROBE_TOKENS = 2
_LEAST_PAUSE = 64  # steps without a draft before one is tried anyway
_PROBE_SHARE = 0.01  # of the time since the last draft that the next trial may take
_PAY_BACK = 64  # tokens within which what the small model has yet to read should pay for itself


@dataclass
class _Draft:
    """Hold what the small model has of one sequence, and what it drew beyond that."""

    sequence: LiveSequence  # its tokens are the large model's; blocks and n_cached are the small one's
    chances: Chances = field(default_factory=lambda: Chances([_PRIOR] * MOST_DRAFTED))
    sampler: Sampler | None = None
    token_ids: list[int] = field(default_factory=list)  # drafted
    most: int = 0

    @property
    def open(self) -> bool:
        """Return whether one more token is to be drafted."""
        return self.sampler is not None and len(self.token_ids) < self.most


class DraftProposer:
    """Run the small model beside the large one, as far ahead as that is expected to pay."""

    def __init__(self, executor: CPUExecutor, scheduler: Scheduler, context_length: int) -> None:
        """scheduler: keeps the small model's blocks, which are its own."""
        self._executor = executor
        self._scheduler = scheduler
        self._context_length = context_length
        self._drafts: dict[int, _Draft] = {}
        self._costs = StepCosts()
        self._n_idle = 0  # steps without a draft

    def propose(self, requests: Sequence[Request], *, n_tokens: int, costs: StepCosts) -> list[Proposal]:
        """Return what the small model draws next for those sequences that it has read so far."""
        drafts = [self._draft(request) for request in requests]
        ready = [draft for draft in drafts if draft is not None and draft.most]
        depth = self._depth(ready, len(requests), n_tokens, costs) if ready else 0
        for draft in ready:
            draft.most = min(draft.most, depth)
        if depth:
            self._read(ready)
            for _ in range(depth - 1):
                self._go_on([draft for draft in ready if draft.open])
        return [_proposal(draft) if draft is not None else NOTHING for draft in drafts]

    def drawn(self, sequence: LiveSequence, token_ids: Sequence[int]) -> None:
        """Keep the keys of the drafted tokens that were right, and learn how many were."""
        draft = self._drafts.get(sequence.id)
        if draft is None:
            return
        own, n_right = draft.sequence, 0
        for i, (token, drafted) in enumerate(zip(token_ids, draft.token_ids, strict=False)):
            draft.chances.note(i, token == drafted)
            if token != drafted:
                break
            n_right += 1
        n_computed = len(draft.token_ids) - 1  # the last was drawn, but not read
        start = len(own.token_ids)
        own.token_ids += token_ids
        if n_computed > 0 and n_right and not own.n_cached < start:
            self._scheduler.committed(Span(own, start, 0), min(n_right, n_computed))
        draft.token_ids = []

    def rewound(self, sequence: LiveSequence, n_tokens: int) -> None:  # noqa: ARG002  # as far as need be
        """Begin the sequence anew: its blocks may be shared, and are not to be written again."""
        self.ended(sequence)

    def ended(self, sequence: LiveSequence) -> None:
        """Let go of the sequence's blocks."""
        draft = self._drafts.pop(sequence.id, None)
        if draft is not None:
            self._scheduler.retire(draft.sequence)

    def _draft(self, request: Request) -> _Draft | None:
        """Return the state of a sequence that can use a draft; None if it cannot, or has no room."""
        sequence, most = request
        most = min(most, MOST_DRAFTED, self._context_length - len(sequence.token_ids))
        draft = self._drafts.get(sequence.id)
        if most < 1:
            return None
        if draft is None:
            draft = _Draft(
                LiveSequence(
                    id=sequence.id,
                    token_ids=list(sequence.token_ids),
                    n_prompt=sequence.n_prompt,
                    goal=Goal.GENERATE,
                    max_length=sequence.max_length,
                    stop_ids=sequence.stop_ids,
                )
            )
            if not self._scheduler.admit(draft.sequence):
                return None
            self._drafts[sequence.id] = draft
        draft.most = max(0, self._scheduler.room_ahead(draft.sequence, most))
        draft.sampler = sequence.sampler
        draft.token_ids = []
        return draft

    def _depth(self, ready: list[_Draft], n_sequences: int, n_tokens: int, costs: StepCosts) -> int:
        """Return how many tokens to draft for each sequence."""
        if not costs.known:
            return 0
        depth = self._best_depth(ready, n_sequences, n_tokens, costs) if self._costs.known else _PROBE_TOKENS
        if not depth and self._may_probe(ready, n_tokens, costs):
            depth = _PROBE_TOKENS
        self._n_idle = 0 if depth else self._n_idle + 1
        return depth

    def _may_probe(self, ready: list[_Draft], n_tokens: int, costs: StepCosts) -> bool:
        """Return whether a trial is due that is small beside the time since the last one."""
        n_unread = sum(draft.sequence.n_pending for draft in ready)
        trial_s = self._costs.seconds(n_unread) + _PROBE_TOKENS * self._costs.seconds(len(ready))
        return self._n_idle >= _LEAST_PAUSE and trial_s < _PROBE_SHARE * self._n_idle * costs.seconds(
            n_tokens
        )

    def _best_depth(self, ready: list[_Draft], n_sequences: int, n_tokens: int, costs: StepCosts) -> int:
        n_unread = sum(draft.sequence.n_pending for draft in ready)
        first_s = self._costs.seconds(len(ready))
        draft_s = first_s + max(0.0, self._costs.seconds(n_unread) - first_s) / _PAY_BACK
        plain_s = costs.seconds(n_tokens)
        best, best_score = 0, math.log1p(_LEAST_GAIN)
        reach, expected, extra = [1.0] * len(ready), [1.0] * len(ready), 0
        for depth in range(1, MOST_DRAFTED + 1):
            for i, draft in enumerate(ready):
                if depth <= draft.most:
                    reach[i] *= draft.chances[depth - 1]
                    expected[i] += reach[i]
                    extra += 1
            total_s = costs.seconds(n_tokens + extra) + draft_s
            score = sum(map(math.log, expected)) - n_sequences * math.log(total_s / plain_s)
            if score > best_score:
                best, best_score = depth, score
            draft_s += self._costs.seconds(len(ready))
        return best

    def _read(self, ready: list[_Draft]) -> None:
        """Read what the small model has not yet read, some of a long text at a time; draw after its end."""
        room, spans, drawing = self._scheduler.prefill_chunk, [], []
        for draft in ready:
            draft.sampler = None if draft.sampler is None else Sampler(draft.sampler)
            span = next_span(draft.sequence, room)
            if not span.n_own:
                draft.sampler = None
                continue
            room -= span.n_own
            spans.append(span)
            drawing.append(draft if span.reaches_end else None)
            if not span.reaches_end:
                draft.sampler = None  # nothing to draw from yet
        self._step(spans, drawing)
        for span in spans:
            self._scheduler.committed(span)

    def _go_on(self, drafts: list[_Draft]) -> None:
        """Read each draft's last token and draw one more."""
        spans = [
            Span(
                draft.sequence,
                len(draft.sequence.token_ids) + len(draft.token_ids) - 1,
                0,
                (draft.token_ids[-1],),
            )
            for draft in drafts
        ]
        self._step(spans, drafts)

    def _step(self, spans: list[Span], drawing: Sequence[_Draft | None]) -> None:
        """Compute the spans; draw one token for those drafts that are given for them."""
        if not spans:
            return
        start_s, row, rows, drafts = time.monotonic(), -1, [], []
        for span, draft in zip(spans, drawing, strict=True):
            row += span.n_tokens
            if draft is not None and draft.sampler is not None:
                rows.append(row)
                drafts.append((draft, draft.sampler))
        done = self._executor.step(spans, rows)
        assert done, "nobody cancels a draft"
        for (draft, _), (draws, failed) in zip(
            drafts, self._executor.draw([(sampler, ()) for _, sampler in drafts]), strict=True
        ):
            draft.token_ids += [draw.token for draw in draws]
            if failed or draws[0].token in draft.sequence.stop_ids:
                draft.sampler = None
        self._costs.note(row + 1, time.monotonic() - start_s)


def _proposal(draft: _Draft) -> Proposal:
    chances, chance = [], 1.0
    for i in range(len(draft.token_ids)):
        chance *= draft.chances[i]
        chances.append(chance)
    return Proposal(list(draft.token_ids), chances)
