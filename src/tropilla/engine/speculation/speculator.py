"""Add to a step the tokens that its sequences will probably draw, so that one step yields several.

Each is drawn for as if it stood there, and counts only if that is what the draws before it led to. As a
draw depends on nothing but the tokens before it and the seed, the text is the same to the last token
as without speculation; only the time it takes is another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tropilla.engine.scheduler import Scheduler, Span
from tropilla.engine.sequence import LiveSequence
from tropilla.engine.speculation.lookup import NOTHING, Lookup, Proposal
from tropilla.engine.speculation.plan import plan
from tropilla.engine.speculation.step_costs import StepCosts

# Rows of logits that a step may have for proposals, of all sequences together.
MOST_PROPOSED = 31


class Speculator:
    """Decide what each step checks beyond its own tokens, and learn what that brings and costs."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._costs = StepCosts()

    def extended(self, spans: list[Span]) -> list[Span]:
        """Return the spans with the proposals that are expected to pay."""
        proposals = [self._proposal(span) for span in spans]
        if not any(proposal.token_ids for proposal in proposals):
            return spans
        counts = plan(
            [proposal.chances for proposal in proposals],
            n_tokens=sum(span.n_own for span in spans),
            most=MOST_PROPOSED,
            seconds=self._costs.seconds,
        )
        return [
            self._with(span, proposal.token_ids[:n]) if n else span
            for span, proposal, n in zip(spans, proposals, counts, strict=True)
        ]

    def drawn(self, sequence: LiveSequence, token_ids: Sequence[int]) -> None:
        """Learn what a sequence has drawn."""
        if sequence.lookup is not None:
            sequence.lookup.drawn(token_ids)

    def took(self, n_tokens: int, seconds: float) -> None:
        """Learn how long a step took that read no prompt."""
        self._costs.note(n_tokens, seconds)

    def _proposal(self, span: Span) -> Proposal:
        sequence = span.sequence
        most = min(MOST_PROPOSED, sequence.max_length - len(sequence.token_ids) - 1)
        if not span.draws or span.n_own > 1 or most < 1:
            return NOTHING
        if sequence.lookup is None:
            sequence.lookup = Lookup(sequence.token_ids)
        return _before_a_stop(sequence.lookup.propose(most), sequence)

    def _with(self, span: Span, token_ids: list[int]) -> Span:
        room = self._scheduler.room_ahead(span.sequence, len(token_ids))
        return replace(span, proposal=tuple(token_ids[:room]))


def _before_a_stop(proposal: Proposal, sequence: LiveSequence) -> Proposal:
    """Return a proposal up to the first token that would end the sequence: nothing follows that."""
    for i, token_id in enumerate(proposal.token_ids):
        if token_id in sequence.stop_ids:
            return Proposal(proposal.token_ids[:i], proposal.chances[:i])
    return proposal
