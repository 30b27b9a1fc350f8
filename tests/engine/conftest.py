"""Engines for tests, closed afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.engine.driving import MODEL, Make
from tests.engine.models import Model
from tropilla.engine.engine import Engine
from tropilla.engine.engine_options import EngineOptions


@pytest.fixture
def make() -> Iterator[Make]:
    """Return a maker of engines."""
    engines = []

    def make_engine(
        model: Model = MODEL, *, draft: Model | None = None, **options: Any
    ) -> Engine:  # Any: fields of EngineOptions
        if draft is not None:
            options["draft_model"] = "a draft"
        how = EngineOptions(**{"threads": 2, "context_length": 256, **options})
        engines.append(Engine(model.weights, how, draft_weights=None if draft is None else draft.weights))
        return engines[-1]

    yield make_engine
    for engine in engines:
        engine.close()
