"""Proposals that a test chooses, right and wrong ones, in place of those that are expected to pay."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from tests.engine.models import CONFIG
from tropilla.engine.engine import Engine
from tropilla.engine.scheduler import Scheduler, Span
from tropilla.engine.speculation.lookup import LookupProposer
from tropilla.engine.speculation.speculator import Speculator

MOST = 7


class Forced(Speculator):
    """Propose some of the tokens that will follow, now and then a wrong one and what comes after it.

    answers: what each prompt is known to be answered with; a prompt not among them gets random tokens.
    """

    def __init__(self, scheduler: Scheduler, answers: Mapping[tuple[int, ...], Sequence[int]], seed: int):
        super().__init__(scheduler, LookupProposer())
        self._answers = answers
        self._rng = np.random.default_rng(seed)

    def extended(self, spans: list[Span]) -> list[Span]:
        return [self._extended(span) for span in spans]

    def _extended(self, span: Span) -> Span:
        sequence = span.sequence
        n_left = sequence.max_length - len(sequence.token_ids) - 1
        if not span.draws or span.n_own > 1 or n_left < 1:
            return span
        room = self._scheduler.room_ahead(sequence, min(int(self._rng.integers(0, MOST + 1)), n_left))
        known = self._answers.get(tuple(sequence.token_ids[: sequence.n_prompt]), ())
        proposal = list(known[sequence.n_generated :][:room])
        proposal += [self._random() for _ in range(room - len(proposal))]
        if proposal and self._rng.random() < 0.5:
            proposal[int(self._rng.integers(0, len(proposal)))] = self._random()
        first_stop = next((i for i, t in enumerate(proposal) if t in sequence.stop_ids), len(proposal))
        return replace(span, proposal=tuple(proposal[:first_stop]))

    def _random(self) -> int:
        return int(self._rng.integers(0, CONFIG.vocab_size))


def force(engine: Engine, answers: Mapping[tuple[int, ...], Sequence[int]], seed: int = 0) -> Engine:
    """Have an engine check such proposals from now on."""
    core = engine._live_core
    core.speculator = Forced(core.scheduler, answers, seed)
    return engine
