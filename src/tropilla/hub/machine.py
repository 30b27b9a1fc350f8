"""This machine in one record: what decides which models it can run, and how fast."""

from __future__ import annotations

import platform
from dataclasses import dataclass

from tropilla.hub.limits import Limits
from tropilla.hub.memory import Memory, measure_memory
from tropilla.hub.processor import Processor, read_processor
from tropilla.hub.tuning import tune


@dataclass(frozen=True, kw_only=True, slots=True)
class Machine:
    """A machine; limits are those of the threads that suit it, None if the compiled extension is missing."""

    system: str
    processor: Processor
    memory: Memory
    limits: Limits | None


def inspect_machine() -> Machine:
    """Ask the system about itself, measure its limits and remember them."""
    processor = read_processor()
    return Machine(
        system=f"{platform.system()} {platform.release()} ({platform.machine()})",
        processor=processor,
        memory=measure_memory(),
        limits=None if processor.isa is None else tune(processor).limits,
    )
