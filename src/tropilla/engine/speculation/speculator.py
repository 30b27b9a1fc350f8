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
from tropilla.engine.speculation.plan import plan
from tropilla.engine.speculation.proposer import Proposal, Proposer, Request
from tropilla.engine.speculation.step_costs import StepCosts

# Rows of logits that a step may have for proposals, of all sequences together.
MOST_PROPOSED = 31


class Speculator:
    """Decide what each step checks beyond its own tokens, and learn what that brings and costs."""

    def __init__(self, scheduler: Scheduler, proposer: Proposer) -> None:
        self._scheduler = scheduler
        self._proposer = proposer
        self._costs = StepCosts()

    def extended(self, spans: list[Span]) -> list[Span]:
        """Return the spans with the proposals that are expected to pay."""
        n_tokens = sum(span.n_own for span in spans)
        requests = [Request(span.sequence, _most(span)) for span in spans]
        proposals = self._proposer.propose(requests, n_tokens=n_tokens, costs=self._costs)
        if not any(proposal.token_ids for proposal in proposals):
            return spans
        proposals = [
            _before_a_stop(proposal, span.sequence) for proposal, span in zip(proposals, spans, strict=True)
        ]
        counts = plan(
            [proposal.chances for proposal in proposals],
            n_tokens=n_tokens,
            most=MOST_PROPOSED,
            seconds=self._costs.seconds,
        )
        return [
            self._with(span, proposal.token_ids[:n]) if n else span
            for span, proposal, n in zip(spans, proposals, counts, strict=True)
        ]

    def drawn(self, sequence: LiveSequence, token_ids: Sequence[int]) -> None:
        """Learn what a sequence has drawn."""
        self._proposer.drawn(sequence, token_ids)

    def took(self, n_tokens: int, seconds: float) -> None:
        """Learn how long a step took that read no prompt."""
        self._costs.note(n_tokens, seconds)

    def rewound(self, sequence: LiveSequence, n_tokens: int) -> None:
        """Take note that a sequence's last n_tokens were taken back."""
        self._proposer.rewound(sequence, n_tokens)

    def ended(self, sequence: LiveSequence) -> None:
        """Forget a sequence."""
        self._proposer.ended(sequence)

    def _with(self, span: Span, token_ids: list[int]) -> Span:
        room = self._scheduler.room_ahead(span.sequence, len(token_ids))
        return replace(span, proposal=tuple(token_ids[:room]))


def _most(span: Span) -> int:
    """Return how many proposed tokens a span can use: none while a prompt is read, nor at the very end."""
    if not span.draws or span.n_own > 1:
        return 0
    return min(MOST_PROPOSED, span.sequence.max_length - len(span.sequence.token_ids) - 1)


def _before_a_stop(proposal: Proposal, sequence: LiveSequence) -> Proposal:
    """Return a proposal up to the first token that would end the sequence: nothing follows that."""
    for i, token_id in enumerate(proposal.token_ids):
        if token_id in sequence.stop_ids:
            return Proposal(proposal.token_ids[:i], proposal.chances[:i])
    return proposal
