"""Measure what this machine can do at best: the limits that the speed of every model is held against.

Reading memory bounds answers, as each new token reads all weights once; int8 arithmetic bounds the
reading of prompts and many answers at a time.
"""

from __future__ import annotations

from dataclasses import dataclass

from tropilla.hub.memory import measure_memory

# Well beyond every cache, also those that a virtual machine does not show: with half of it, one run of
# many read twice what memory delivers.
_WORKING_SET_BYTES = 1 << 30


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """What n_threads do together: bytes read from memory a second, int8 operations a second.

    A multiplication and an addition are two operations; int8_peak is 0 where nothing measures it.
    """

    n_threads: int
    bandwidth: float
    int8_peak: float


def measure_limits(isa: str, n_threads: int, *, budget_s: float = 0.4) -> Limits:
    """Return the limits of n_threads with the kernels of an instruction set, in about a second."""
    from tropilla import _native

    return Limits(
        n_threads=n_threads,
        bandwidth=measure_bandwidth(n_threads, budget_s=budget_s),
        int8_peak=_native.int8_peak(isa, n_threads),
    )


def measure_bandwidth(
    n_threads: int, *, budget_s: float = 0.4, working_set: int = _WORKING_SET_BYTES
) -> float:
    """Return the bytes per second that n_threads together read from memory, in the middle pass of many.

    The fastest passes owe something to caches, the slowest to other programs. Takes the budget and
    the time to fill the working set.
    """
    import statistics  # an answer asks this module for remembered limits and must not wait for this import

    from tropilla import _native  # a doctor must come also where the extension is missing

    spare = measure_memory().available_bytes // 4 or working_set
    return statistics.median(_native.read_bandwidth(n_threads, min(working_set, spare), budget_s))
