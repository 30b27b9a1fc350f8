"""Choose how many threads to run on this machine by measuring once, and remember what was measured.

Two hardware threads of one core share its arithmetic and its caches: often the second one adds nothing but
waiting. Only measuring tells, and measuring takes seconds, so `doctor` and `bench` do it and the engine reads
what they found.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

from tropilla.errors import FormatError
from tropilla.formats.atomic import new_file
from tropilla.hub.library import cache_folder
from tropilla.hub.limits import Limits, measure_limits
from tropilla.hub.processor import Processor, n_usable_cores, processor_name

_FILE = "machine.json"
# Fewer threads are chosen if they do this share of the most: what they leave over, other programs can use.
_ENOUGH = 0.95


@dataclass(frozen=True, kw_only=True, slots=True)
class Tuning:
    """What was measured on a processor with n_usable cores for Tropilla; limits.n_threads is the choice."""

    processor: str
    n_usable: int
    isa: str
    limits: Limits


def tune(processor: Processor, measure: Callable[[str, int], Limits] = measure_limits) -> Tuning:
    """Measure each number of threads worth trying, choose one and remember it; takes a second for each.

    processor.isa must not be None. Where nothing can be remembered, that is no error.
    """
    assert processor.isa is not None, "without kernels there is nothing to tune"
    physical = min(processor.n_physical or processor.n_usable, processor.n_usable)
    measured = [measure(processor.isa, n_threads) for n_threads in sorted({physical, processor.n_usable})]
    tuning = Tuning(
        processor=processor.name, n_usable=processor.n_usable, isa=processor.isa, limits=choose(measured)
    )
    _remember(tuning)
    return tuning


def choose(measured: Sequence[Limits]) -> Limits:
    """Return the limits with the fewest threads that read and multiply nearly as fast as any."""
    bandwidth = max(limits.bandwidth for limits in measured)
    peak = max(limits.int8_peak for limits in measured)
    fast = (
        limits
        for limits in measured
        if limits.bandwidth >= _ENOUGH * bandwidth and limits.int8_peak >= _ENOUGH * peak
    )
    return min(fast, key=lambda limits: limits.n_threads, default=measured[-1])


def remembered() -> Tuning | None:
    """Return what was measured on this machine as it is now; None if nothing was, or another machine's."""
    try:
        told = json.loads((cache_folder() / _FILE).read_text("utf-8"))
        tuning = Tuning(**{**told, "limits": Limits(**told["limits"])})
        same = tuning.n_usable == n_usable_cores() and tuning.processor == processor_name()
        n_threads = tuning.limits.n_threads
        return tuning if same and type(n_threads) is int and 1 <= n_threads <= tuning.n_usable else None
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None  # never measured, or a file that somebody changed: measuring writes it anew


def default_threads() -> int:
    """Return how many threads to run: the choice made on this machine, else one for each usable core."""
    tuning = remembered()
    return n_usable_cores() if tuning is None else tuning.limits.n_threads


def _remember(tuning: Tuning) -> None:
    folder = cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with new_file(folder / _FILE) as file:
            file.write(json.dumps(asdict(tuning), indent=1).encode())
    except (OSError, FormatError):
        return  # a full or read-only disk; the next doctor measures again
