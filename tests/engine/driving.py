"""Drive an engine in tests: a tiny model, a prompt, and ways to run it to its end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tests.engine.models import CONFIG, random_model
from tropilla._native import SamplerParams
from tropilla.engine.engine import Engine
from tropilla.engine.sequence import LiveSequence, TokenEvent, TokenSampling

MODEL = random_model(seed=5)
PROMPT = [int(i) for i in np.random.default_rng(2).integers(0, CONFIG.vocab_size, 100)]

Make = Callable[..., Engine]


def sampling(max_tokens: int | None = 20, **params: Any) -> TokenSampling:  # Any: fields of SamplerParams
    """Return how to draw; neutral but for what is given."""
    native = SamplerParams()
    for name, value in params.items():
        setattr(native, name, value)
    return TokenSampling(params=native, max_tokens=max_tokens)


def finish(engine: Engine, *sequences: LiveSequence) -> list[list[TokenEvent]]:
    """Run all sequences to their end by step(); return each one's events."""
    events: dict[int, list[TokenEvent]] = {sequence.id: [] for sequence in sequences}
    while engine.has_work:
        for event in engine.step():
            events[event.sequence_id].append(event)
    return list(events.values())


def answer(engine: Engine, prompt: list[int], how: TokenSampling) -> list[int]:
    """Return the tokens that a prompt is answered with."""
    sequence = engine.submit(prompt, how)
    return [event.token_id for event in engine.stream(sequence) if event.token_id is not None]
