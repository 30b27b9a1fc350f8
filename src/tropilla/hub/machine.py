"""This machine in one record: what decides which models it can run, and how fast."""

from __future__ import annotations

import platform
from dataclasses import dataclass

from tropilla.hub.bandwidth import measure_bandwidth
from tropilla.hub.memory import Memory, measure_memory
from tropilla.hub.processor import Processor, read_processor


@dataclass(frozen=True, kw_only=True, slots=True)
class Machine:
    """A machine; bandwidth is what its usable cores together read from memory, in bytes a second."""

    system: str
    processor: Processor
    memory: Memory
    bandwidth: float


def inspect_machine() -> Machine:
    """Ask the system about itself and measure the memory's bandwidth, in about a second."""
    processor = read_processor()
    return Machine(
        system=f"{platform.system()} {platform.release()} ({platform.machine()})",
        processor=processor,
        memory=measure_memory(),
        bandwidth=measure_bandwidth(processor.n_usable),
    )
