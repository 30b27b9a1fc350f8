"""What speculation asks of whoever guesses the next tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from tropilla.engine.sequence import LiveSequence
from tropilla.engine.speculation.step_costs import StepCosts


class Proposal(NamedTuple):
    """Hold tokens that may follow, and for each the chance that it and all before it will be drawn."""

    token_ids: list[int]
    chances: list[float]


NOTHING = Proposal([], [])


class Request(NamedTuple):
    """Ask for up to `most` tokens that may follow a sequence's own."""

    sequence: LiveSequence
    most: int


class Proposer(Protocol):
    """Guess what sequences will draw, and learn from what they do draw."""

    def propose(self, requests: Sequence[Request], *, n_tokens: int, costs: StepCosts) -> list[Proposal]:
        """Return a proposal for each sequence; n_tokens and costs say what the step costs as it is."""

    def drawn(self, sequence: LiveSequence, token_ids: Sequence[int]) -> None:
        """Take note of the tokens that a sequence drew."""

    def rewound(self, sequence: LiveSequence, n_tokens: int) -> None:
        """Take note that a sequence's last n_tokens were taken back."""

    def ended(self, sequence: LiveSequence) -> None:
        """Forget a sequence; should it run again, it is as good as new."""
