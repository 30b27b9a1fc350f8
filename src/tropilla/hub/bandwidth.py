"""Measure how fast this machine reads memory: what bounds the tokens per second of every model."""

from __future__ import annotations

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
    """Return the bytes per second that n_threads together read from memory, in the best pass of several.

    Takes the budget and the time to fill the working set; the best pass is the one that other
    programs disturbed least.
    """
    import numpy as np  # 0.2 s that only a measurement should pay

    part = max(1, working_set // n_threads // 8)
    parts: list[NDArray[np.uint64]] = [np.empty(part, np.uint64) for _ in range(n_threads)]
    _in_threads([partial(data.fill, 1) for data in parts])
    best, deadline, passes = 0.0, time.perf_counter() + budget_s, 0
    while passes < _LEAST_PASSES or time.perf_counter() < deadline:
        spans = _in_threads([partial(np.bitwise_or.reduce, data) for data in parts])
        elapsed = max(span.end_s for span in spans) - min(span.start_s for span in spans)
        best = max(best, part * 8 * n_threads / elapsed)
        passes += 1
    return best


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
