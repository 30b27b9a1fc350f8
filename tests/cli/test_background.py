"""Work beside the main thread: order, idle ticks, errors and stopping."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from tropilla.cli.background import Background, call_in_background


def test_items_arrive_in_order_and_end() -> None:
    assert [item for item in Background(iter(range(100))) if item is not None] == list(range(100))


def test_waiting_shows_as_idle_ticks() -> None:
    gate = threading.Event()

    def slow() -> Iterator[int]:
        gate.wait(10)
        yield 1

    seen = []
    for item in Background(slow()):
        seen.append(item)
        gate.set()
    assert (seen[0], seen[-1]) == (None, 1)


def test_an_error_is_raised_here_after_what_came_before_it() -> None:
    def failing() -> Iterator[int]:
        yield 1
        raise ValueError("broken")

    seen: list[int | None] = []
    with pytest.raises(ValueError, match="broken"):
        seen.extend(Background(failing()))
    assert 1 in seen


def test_stopping_closes_the_source_and_returns_what_was_not_taken() -> None:
    gate, closed = threading.Event(), threading.Event()

    def endless() -> Iterator[int]:
        try:
            yield 1
            gate.wait(10)
            yield 2
            while True:
                yield 3
        finally:
            closed.set()

    work = Background(endless())
    assert next(item for item in work if item is not None) == 1
    threading.Timer(0.05, gate.set).start()  # the source ends its step only after the wish to stop
    assert work.stop() == [2]
    assert closed.is_set()


def test_an_error_while_stopping_is_raised() -> None:
    gate = threading.Event()

    def failing() -> Iterator[int]:
        try:
            yield 1
            gate.wait(10)
            yield 2
        finally:
            raise OSError("disk full")

    work = Background(failing())
    assert next(item for item in work if item is not None) == 1
    threading.Timer(0.05, gate.set).start()
    with pytest.raises(OSError, match="disk full"):
        work.stop()


def test_a_call_returns_its_result_and_ticks_meanwhile() -> None:
    gate = threading.Event()

    def work() -> str:
        gate.wait(10)
        return "done"

    assert call_in_background(work, gate.set) == "done"


def test_a_call_may_return_nothing() -> None:
    assert call_in_background(lambda: None, lambda: None) is None


def test_a_calls_error_is_raised_here() -> None:
    def work() -> None:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        call_in_background(work, lambda: None)
