"""Propose what followed the last tokens of a sequence where they stood before, in prompt or answer."""

from __future__ import annotations

from collections.abc import Sequence

from tropilla._native import NgramIndex
from tropilla.engine.sequence import LiveSequence
from tropilla.engine.speculation.chances import Chances
from tropilla.engine.speculation.proposer import NOTHING, Proposal, Request
from tropilla.engine.speculation.step_costs import StepCosts

# How often the next token agreed, by how many before it do (SmolLM2-135M-Instruct, chats): a start
# that each sequence's own text then corrects.
_PRIORS = {2: 0.45, 3: 0.57, 4: 0.7, 5: 0.76, 8: 0.83, 12: 0.9, 16: 0.94, 32: 0.97}
_SURE = max(_PRIORS)
# For each number of agreeing tokens up to _SURE, the kind that it falls in.
_KINDS = [sum(n >= least for least in _PRIORS) - 1 for n in range(_SURE + 1)]
_LEAST_CHANCE = 0.05  # what a step hardly gets to is not proposed


class LookupProposer:
    """Keep a Lookup for each sequence."""

    def __init__(self) -> None:
        self._lookups: dict[int, Lookup] = {}

    def propose(self, requests: Sequence[Request], *, n_tokens: int, costs: StepCosts) -> list[Proposal]:  # noqa: ARG002  # nothing that depends on the costs of the step
        """Return what followed the last tokens before."""
        return [self._propose(sequence, most) if most > 0 else NOTHING for sequence, most in requests]

    def drawn(self, sequence: LiveSequence, token_ids: Sequence[int]) -> None:
        """Index the tokens and learn from them."""
        if sequence.id in self._lookups:
            self._lookups[sequence.id].drawn(token_ids)

    def rewound(self, sequence: LiveSequence, n_tokens: int) -> None:
        """Take back tokens."""
        if sequence.id in self._lookups:
            self._lookups[sequence.id].rewind(n_tokens)

    def ended(self, sequence: LiveSequence) -> None:
        """Forget the index."""
        self._lookups.pop(sequence.id, None)

    def _propose(self, sequence: LiveSequence, most: int) -> Proposal:
        lookup = self._lookups.get(sequence.id)
        if lookup is None:
            lookup = self._lookups[sequence.id] = Lookup(sequence.token_ids)
        return lookup.propose(most)


class Lookup:
    """Follow one sequence: index its tokens, propose what comes next, learn how often that was right."""

    def __init__(self, token_ids: Sequence[int]) -> None:
        self._index = NgramIndex()
        self._n_matched = self._index.extend(token_ids)
        self._chances = Chances(list(_PRIORS.values()))
        self._next: list[int] = []  # what the last match says, whether it was proposed or not

    def propose(self, most: int) -> Proposal:
        """Return up to `most` tokens that may follow, as many as there is some chance to get to."""
        if not self._n_matched:
            return NOTHING
        self._next = self._index.following(most)
        chances, chance = [], 1.0
        for i in range(len(self._next)):
            chance *= self._chances[self._kind(i)]
            if chance < _LEAST_CHANCE:
                break
            chances.append(chance)
        return Proposal(self._next[: len(chances)], chances)

    def drawn(self, token_ids: Sequence[int]) -> None:
        """Take note of the tokens that did follow."""
        for i, (token, other) in enumerate(zip(token_ids, self._next, strict=False)):
            self._chances.note(self._kind(i), token == other)
            if token != other:
                break
        self._next = []
        self._n_matched = self._index.extend(token_ids)

    def rewind(self, n_tokens: int) -> None:
        """Take back the last n_tokens."""
        self._index.rewind(n_tokens)
        self._n_matched = self._index.match()
        self._next = []

    def _kind(self, i: int) -> int:
        """Return what the i-th token of the last match falls under: those before it agree by then."""
        return _KINDS[min(self._n_matched + i, _SURE)]
