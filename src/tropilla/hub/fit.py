"""Which models run on a machine, how fast, and which of them is the best for its budget.

Speed: each new token reads all the weights once and the keys and values so far, so memory bandwidth
divided by those bytes bounds the tokens per second. Quality: the loss that Hoffmann et al. 2022 expect
of a model from its weights and its training tokens, plus what rounding to fewer bits costs.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType

from tropilla.hub.catalogue import CatalogueModel, HuggingFaceSource, WheelSource
from tropilla.hub.model_size import MIXES, model_size
from tropilla.options import check, option

# What Tropilla itself holds beside weights, keys and values: interpreter, tokenizer, buffers.
OVERHEAD_BYTES = 80_000_000

# Perplexity of Llama-3-8B on WikiText-2 by type (llama.cpp's perplexity README): the cost of rounding.
_PERPLEXITY = MappingProxyType(
    {
        "F16": 6.2332, "Q8_0": 6.2343, "Q6_K": 6.2534, "Q5_K_M": 6.2886, "Q5_1": 6.3379,
        "Q5_0": 6.3632, "Q4_K_M": 6.4071, "Q4_1": 6.6827, "Q4_0": 6.7001,
    }
)  # fmt: skip


class Verdict(Enum):
    """Say whether a model in a type runs well."""

    RUNS = "runs"
    SLOW = "too slow"
    BIG = "too big"


@dataclass(frozen=True, kw_only=True, slots=True)
class Budget:
    """What a model may use: bytes of memory, bytes a second of bandwidth, and what is asked of it."""

    memory: int = option(help="bytes of memory for weights, keys and values", at_least=1)
    bandwidth: float = option(help="bytes that memory delivers in a second", above=0)
    context_length: int = option(4096, help="tokens of context to hold", at_least=1)
    min_speed: float = option(5.0, help="tokens a second below which a model counts as too slow", at_least=0)

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True, kw_only=True, slots=True)
class Fit:
    """How one model in one type fits a budget; speed is an upper bound in tokens a second."""

    model: CatalogueModel
    mix: str
    context_length: int
    needed_bytes: int
    speed: float
    expected_loss: float
    verdict: Verdict


def fit_all(models: Iterable[CatalogueModel], budget: Budget) -> list[Fit]:
    """Return one Fit for each model in each type that it comes in, the best first."""
    fits = [_fit(model, mix, budget) for model in models for mix in mixes_of(model)]
    return sorted(fits, key=_rank)


def best_of_each(fits: Iterable[Fit]) -> list[Fit]:
    """Return the first, so the best, Fit of each model, in order."""
    best: dict[str, Fit] = {}
    for fit in fits:
        best.setdefault(fit.model.name, fit)
    return list(best.values())


def mixes_of(model: CatalogueModel) -> Iterator[str]:
    """Yield the types that a model can be pulled in; every type if it must be converted anyway."""
    if isinstance(model.source, HuggingFaceSource):
        yield from (mix for mix in model.source.files if mix in MIXES)
    elif isinstance(model.source, WheelSource):
        yield from (mix for mix in MIXES if mix in model.source.member)
    else:
        yield from MIXES


def expected_loss(n_parameters: float, training_tokens: float) -> float:
    """Return the nats per token expected of a model (Hoffmann et al. 2022, equation 10 and its fit)."""
    return 1.69 + 406.4 / math.pow(n_parameters, 0.34) + 410.7 / math.pow(training_tokens, 0.28)


def _fit(model: CatalogueModel, mix: str, budget: Budget) -> Fit:
    context = min(budget.context_length, model.shape.context_length)
    size = model_size(model.shape, mix, context)
    needed = size.file_bytes + size.kv_bytes + OVERHEAD_BYTES
    speed = budget.bandwidth / (size.read_bytes + size.kv_bytes / 2)  # a context is half full on average
    loss = expected_loss(model.shape.n_parameters, model.training_tokens)
    return Fit(
        model=model,
        mix=mix,
        context_length=context,
        needed_bytes=needed,
        speed=speed,
        expected_loss=loss + math.log(_PERPLEXITY[mix] / _PERPLEXITY["F16"]),
        verdict=_verdict(needed, speed, budget),
    )


def _verdict(needed: int, speed: float, budget: Budget) -> Verdict:
    if needed > budget.memory:
        return Verdict.BIG
    return Verdict.SLOW if speed < budget.min_speed else Verdict.RUNS


def _rank(fit: Fit) -> tuple[int, float]:
    """Order: what runs well by quality, then what is too slow by speed, then what is too big by size."""
    if fit.verdict is Verdict.RUNS:
        return 0, fit.expected_loss
    return (1, -fit.speed) if fit.verdict is Verdict.SLOW else (2, fit.needed_bytes)
