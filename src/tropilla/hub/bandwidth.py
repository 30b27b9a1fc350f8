"""Measure how fast this machine reads memory: what bounds the tokens per second of every model."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# Larger than nearly every processor's caches, small enough to fill in a fraction of a second.
_WORKING_SET_BYTES = 256 << 20
_LEAST_PASSES = 3


class _Span(NamedTuple):
    start_s: float
    end_s: float


def measure_bandwidth(
    n_threads: int, *, budget_s: float = 0.4, working_set: int = _WORKING_SET_BYTES
) -> float:
    """Return the bytes per second that n_threads together read from memory, in the middle pass of many.

    The fastest passes owe something to caches, the slowest to other programs. Takes the budget and
    the time to fill the working set.
    """
    import numpy as np  # 0.2 s that only a measurement should pay

    part = max(1, working_set // n_threads // 8)
    parts: list[NDArray[np.uint64]] = [np.empty(part, np.uint64) for _ in range(n_threads)]
    _in_threads([partial(data.fill, 1) for data in parts])
    rates: list[float] = []
    deadline = time.perf_counter() + budget_s
    while len(rates) < _LEAST_PASSES or time.perf_counter() < deadline:
        spans = _in_threads([partial(np.bitwise_or.reduce, data) for data in parts])
        elapsed = max(span.end_s for span in spans) - min(span.start_s for span in spans)
        rates.append(part * 8 * n_threads / elapsed)
    return statistics.median(rates)


def _in_threads(works: Sequence[Callable[[], object]]) -> list[_Span]:
    """Run each work in a thread of its own and return when each began and ended."""
    spans: list[_Span] = []

    def timed(work: Callable[[], object]) -> None:
        start = time.perf_counter()
        work()
        spans.append(_Span(start, time.perf_counter()))

    threads = [threading.Thread(target=timed, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return spans
