"""Choosing threads by measuring, and remembering the choice for this machine alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tropilla.engine.engine_options import EngineOptions
from tropilla.hub.library import cache_folder
from tropilla.hub.limits import Limits
from tropilla.hub.processor import Processor, n_usable_cores, processor_name
from tropilla.hub.tuning import choose, default_threads, remembered, tune

HERE = Processor(
    name=processor_name(), n_logical=8, n_usable=n_usable_cores(), n_physical=1, isa="avx2", isas=("avx2",)
)


def limits(n_threads: int, bandwidth: float, int8_peak: float = 0.0) -> Limits:
    return Limits(n_threads=n_threads, bandwidth=bandwidth, int8_peak=int8_peak)


def measuring(*rates: tuple[float, float]) -> tuple[list[int], Callable[[str, int], Limits]]:
    """Return a measurement that finds these rates one after the other, and whose threads it was asked for."""
    asked: list[int] = []

    def measure(isa: str, n_threads: int) -> Limits:
        assert isa == "avx2"
        asked.append(n_threads)
        return limits(n_threads, *rates[len(asked) - 1])

    return asked, measure


def test_the_fewest_threads_that_are_fast_enough_are_chosen() -> None:
    assert choose([limits(4, 30, 500), limits(8, 31, 505)]).n_threads == 4
    assert choose([limits(4, 30, 500), limits(8, 31, 900)]).n_threads == 8  # arithmetic gains
    assert choose([limits(4, 20, 500), limits(8, 31, 500)]).n_threads == 8  # memory gains
    assert choose([limits(4, 30), limits(8, 30)]).n_threads == 4  # no peak is known
    assert choose([limits(2, 30)]).n_threads == 2


def test_cores_and_their_hardware_threads_are_tried() -> None:
    processor = replace(HERE, n_usable=8, n_physical=4)
    asked, measure = measuring((30, 500), (30, 500))
    assert tune(processor, measure).limits.n_threads == 4
    assert asked == [4, 8]


@pytest.mark.parametrize("n_physical", [None, 8, 16])
def test_without_further_hardware_threads_one_measurement_is_enough(n_physical: int | None) -> None:
    asked, measure = measuring((30, 500))
    assert tune(replace(HERE, n_usable=8, n_physical=n_physical), measure).limits.n_threads == 8
    assert asked == [8]


def test_the_choice_is_remembered_and_the_engine_follows_it() -> None:
    assert remembered() is None
    assert EngineOptions().n_threads() == default_threads() == n_usable_cores()
    tuning = tune(HERE, measuring((30, 500), (30, 500))[1])
    assert remembered() == tuning
    assert EngineOptions().n_threads() == 1
    assert EngineOptions(threads=3).n_threads() == 3


def test_another_machine_s_choice_is_not_followed() -> None:
    measure = measuring((30, 500), (30, 500), (30, 500), (30, 500))[1]
    tune(replace(HERE, name="Abacus"), measure)
    assert remembered() is None
    tune(replace(HERE, n_usable=n_usable_cores() + 1), measure)
    assert default_threads() == n_usable_cores()


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"limits": 3}', "null", "\x00", '{"processor": "x", "limits": {}}', 100_000 * "["],
)
def test_a_file_that_somebody_changed_is_no_choice(text: str) -> None:
    cache_folder().mkdir(parents=True)
    (cache_folder() / "machine.json").write_text(text)
    assert remembered() is None


@pytest.mark.parametrize("n_threads", [0, -1, 10_000, "2", 1.0, True, None])
def test_what_is_no_number_of_cores_is_no_choice(n_threads: object) -> None:
    tune(HERE, measuring((30, 500), (30, 500))[1])
    path = cache_folder() / "machine.json"
    told = json.loads(path.read_text())
    told["limits"]["n_threads"] = n_threads
    path.write_text(json.dumps(told))
    assert remembered() is None


def test_where_nothing_can_be_remembered_tuning_goes_on(library: Path) -> None:
    library.mkdir()
    (library / "cache").write_text("a file where the folder should be")
    assert tune(HERE, measuring((30, 500), (30, 500))[1]).limits.n_threads == 1
    assert remembered() is None
