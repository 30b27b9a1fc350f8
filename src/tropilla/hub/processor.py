"""Which processor this is, how many of its cores Tropilla may use, and which kernels fit it."""

from __future__ import annotations

import ctypes
import os
import platform
import re
import sys
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from tropilla.hub.system_text import command_text, file_text

_CPUS = Path("/sys/devices/system/cpu")
_CGROUPS = Path("/sys/fs/cgroup")


@dataclass(frozen=True, kw_only=True, slots=True)
class Processor:
    """A processor as Tropilla sees it; n_physical is None where the system does not tell.

    isa names the instruction set whose kernels are used, None if the compiled extension is missing;
    why_no_isa then says why.
    """

    name: str
    n_logical: int
    n_usable: int
    n_physical: int | None
    isa: str | None
    isas: tuple[str, ...]
    why_no_isa: str | None = None


def read_processor() -> Processor:
    """Ask the system, and the compiled extension, about the processor."""
    isa, isas, problem = _kernels()
    return Processor(
        name=processor_name(),
        n_logical=os.cpu_count() or 1,
        n_usable=n_usable_cores(),
        n_physical=n_physical_cores(),
        isa=isa,
        isas=isas,
        why_no_isa=problem,
    )


def n_usable_cores() -> int:
    """Return how many cores this process may run on, by its affinity and its container's quota."""
    affinity = getattr(os, "sched_getaffinity", None)  # Linux only
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    files = ("cpu.max", "cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us")
    quota = parse_cpu_quota(*(file_text(_CGROUPS / name) for name in files))
    return max(1, min(cores, int(quota + 0.5))) if quota else cores


def parse_cpu_quota(cpu_max: str, quota_us: str, period_us: str) -> float | None:
    """Return the cores that cgroup files allow, None for no limit; version 2's file, then version 1's two."""
    words = cpu_max.split() or [quota_us.strip(), period_us.strip()]
    if len(words) == 2 and words[0].isdecimal() and words[1].isdecimal() and int(words[1]):
        return int(words[0]) / int(words[1])
    return None


def n_physical_cores() -> int | None:
    """Return the number of physical cores, None where the system does not tell."""
    if sys.platform == "darwin":
        count = command_text("sysctl", "-n", "hw.physicalcpu").strip()
        return int(count) if count.isdecimal() else None
    if sys.platform == "win32":
        return _windows_physical_cores()
    siblings = (file_text(path) for path in _CPUS.glob("cpu[0-9]*/topology/thread_siblings_list"))
    return count_cores(siblings)


def count_cores(siblings: Iterable[str]) -> int | None:
    """Return how many cores there are, given for each logical CPU the list of those on its core."""
    return len({text.strip() for text in siblings if text.strip()}) or None


def _windows_physical_cores() -> int | None:
    windll = getattr(ctypes, "windll", None)  # only on Windows, and so unknown to a checker elsewhere
    if windll is None:
        return None
    ask, length = windll.kernel32.GetLogicalProcessorInformationEx, ctypes.c_uint32()
    ask(0, None, ctypes.byref(length))  # relation 0: one record a core
    buffer = ctypes.create_string_buffer(length.value)
    if not length.value or not ask(0, buffer, ctypes.byref(length)):
        return None
    return count_records(buffer.raw[: length.value])


def count_records(raw: bytes) -> int | None:
    """Return the number of Windows' processor records: each holds a kind, its own size, and the rest."""
    count, place = 0, 0
    while place + 8 <= len(raw):
        size = int.from_bytes(raw[place + 4 : place + 8], "little")
        if size < 8:
            return None
        count, place = count + 1, place + size
    return count or None


def _kernels() -> tuple[str | None, tuple[str, ...], str | None]:
    try:
        native = import_module("tropilla._native")
        return native.isa(), tuple(native.isa_names()), None
    except (ImportError, RuntimeError, ValueError) as error:  # missing, or an override that cannot be met
        return None, (), str(error)


def processor_name() -> str:
    """Return what the system calls the processor."""
    return _name() or platform.machine() or "unknown"


def _name() -> str:
    if sys.platform == "darwin":
        return command_text("sysctl", "-n", "machdep.cpu.brand_string").strip()
    if sys.platform == "win32":
        return platform.processor()
    with suppress(OSError), Path("/proc/cpuinfo").open("rb", buffering=0) as file:
        # The first processor's lines: hundreds of them take the system as many milliseconds.
        first = file.read(4096).decode("utf-8", "replace")
        found = re.search(r"^model name\s*:\s*(.+)$", first, re.MULTILINE)
        if found:
            return found[1].strip()
    return platform.processor()
