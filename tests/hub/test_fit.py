"""The best model for a budget: hand-calculated sizes and speeds, and an order that can be argued."""

from __future__ import annotations

import math

import pytest

from tropilla.errors import OptionError
from tropilla.hub.catalogue import catalogue
from tropilla.hub.fit import (
    OVERHEAD_BYTES,
    Budget,
    Fit,
    Verdict,
    best_of_each,
    expected_loss,
    fit_all,
    mixes_of,
)

MODELS = {model.name: model for model in catalogue().models}
GB = 10**9


def budget(
    memory: float = 16 * GB, bandwidth: float = 50 * GB, context: int = 2048, speed: float = 5
) -> Budget:
    return Budget(memory=int(memory), bandwidth=bandwidth, context_length=context, min_speed=speed)


def one(name: str, mix: str, within: Budget) -> Fit:
    (fit,) = [fit for fit in fit_all([MODELS[name]], within) if fit.mix == mix]
    return fit


def test_memory_is_file_and_context_and_overhead() -> None:
    """LLaMA 7B Q4_0: the published 3.56 GiB file, 1 GiB of keys and values for 2048 tokens."""
    needed = one("llama-7b", "Q4_0", budget()).needed_bytes
    assert needed == pytest.approx((3.56 + 1) * (1 << 30) + OVERHEAD_BYTES, rel=0.02)


def test_speed_is_bandwidth_over_bytes_read() -> None:
    """LLaMA 7B Q8_0: 6.607e9 weights without the embedding at 8.5 bits, half of 1 GiB of context."""
    read = 6.607e9 * 8.5 / 8 + (1 << 29)
    assert one("llama-7b", "Q8_0", budget(bandwidth=50e9)).speed == pytest.approx(50e9 / read, rel=0.01)


def test_the_reference_of_the_article_fits_its_card() -> None:
    """The LLaMA article's example: an NVIDIA 3090 (936 GB/s) using less than 10 GB runs a 4-bit 13B."""
    within = budget(memory=10 * GB, bandwidth=936 * GB)
    assert one("llama-13b", "Q4_0", within).verdict is Verdict.RUNS
    assert one("llama-33b", "Q4_0", within).verdict is Verdict.BIG


def test_exactly_enough_memory_is_enough() -> None:
    needed = one("llama-7b", "Q4_0", budget()).needed_bytes
    assert one("llama-7b", "Q4_0", budget(memory=needed)).verdict is Verdict.RUNS
    assert one("llama-7b", "Q4_0", budget(memory=needed - 1)).verdict is Verdict.BIG


def test_a_slow_machine_makes_large_models_too_slow() -> None:
    assert one("llama-13b", "Q8_0", budget(bandwidth=10 * GB)).verdict is Verdict.SLOW
    assert one("smollm2", "Q4_1", budget(bandwidth=10 * GB)).verdict is Verdict.RUNS


def test_the_context_never_exceeds_the_model_s() -> None:
    assert one("llama-7b", "Q4_0", budget(context=100_000)).context_length == 2048


def test_what_runs_comes_first_then_what_is_slow_then_what_is_big() -> None:
    fits = fit_all(MODELS.values(), budget(memory=10 * GB, bandwidth=20 * GB))
    order = [list(Verdict).index(fit.verdict) for fit in fits]
    assert order == sorted(order)
    assert set(order) == {0, 1, 2}
    losses = [fit.expected_loss for fit in fits if fit.verdict is Verdict.RUNS]
    assert losses == sorted(losses)


def test_more_memory_and_bandwidth_never_give_a_worse_best() -> None:
    best = [fit_all(MODELS.values(), budget(memory=n * GB, bandwidth=n * 5 * GB))[0] for n in (1, 4, 16, 64)]
    losses = [fit.expected_loss for fit in best]
    assert losses == sorted(losses, reverse=True)


def test_a_model_trained_longer_beats_its_elder_of_the_same_size() -> None:
    """The article's point: for a given inference budget, train a smaller model longer."""
    fits = fit_all(MODELS.values(), budget(memory=64 * GB, bandwidth=500 * GB))
    names = [fit.model.name for fit in best_of_each(fits)]
    assert names.index("llama-3-8b") < names.index("llama-2-7b") < names.index("llama-7b")


def test_expected_loss_is_the_published_fit() -> None:
    """Chinchilla itself, 70e9 weights and 1.4e12 tokens: 406.4 / 4883 = 0.0832 and 410.7 / 2515 = 0.1633."""
    assert expected_loss(70e9, 1.4e12) == pytest.approx(1.69 + 0.0832 + 0.1633, abs=2e-3)


def test_rounding_costs_what_was_measured() -> None:
    """Llama-3-8B: perplexity 6.4071 in Q4_K_M against 6.2343 in Q8_0."""
    four, eight = (one("llama-3-8b", mix, budget()).expected_loss for mix in ("Q4_K_M", "Q8_0"))
    assert four - eight == pytest.approx(math.log(6.4071 / 6.2343))


@pytest.mark.parametrize("name", MODELS)
def test_every_model_can_be_judged(name: str) -> None:
    assert list(mixes_of(MODELS[name]))
    assert len(best_of_each(fit_all([MODELS[name]], budget()))) == 1


@pytest.mark.parametrize("wrong", [{"memory": 0}, {"bandwidth": 0.0}, {"context": 0}, {"speed": -1.0}])
def test_an_impossible_budget_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(OptionError):
        budget(**wrong)  # type: ignore[arg-type]  # whole numbers where they are asked for
