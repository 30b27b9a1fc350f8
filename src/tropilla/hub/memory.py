"""How much memory this machine, or the container that Tropilla runs in, has and has left."""

from __future__ import annotations

import ctypes
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from tropilla.hub.system_text import command_text, file_text

_CGROUPS = Path("/sys/fs/cgroup")
_UNLIMITED = 1 << 60  # cgroup version 1 writes "no limit" as a number near 2**63


class _Names(NamedTuple):
    """What one version of cgroups calls its files, and memory.stat's field of cached files."""

    limit: str
    used: str
    reclaimable: str


_VERSION_2 = _Names("memory.max", "memory.current", "inactive_file")
_VERSION_1 = _Names("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")


@dataclass(frozen=True, kw_only=True, slots=True)
class Memory:
    """Memory in bytes; limited_by names what allows less than the machine has, None if nothing does."""

    total_bytes: int
    available_bytes: int
    limited_by: str | None = None


def measure_memory() -> Memory:
    """Return what there is now; all zero on a system that cannot be asked."""
    if sys.platform == "win32":
        return _windows_memory()
    if sys.platform == "darwin":
        return parse_vm_stat(command_text("sysctl", "-n", "hw.memsize"), command_text("vm_stat"))
    return _linux_memory()


def peak_resident_bytes() -> int | None:
    """Return the most memory that this process ever held at once; None where the system does not tell."""
    found = re.search(r"^VmHWM:\s+(\d+) kB", file_text(Path("/proc/self/status")), re.MULTILINE)
    if found:
        return int(found[1]) * 1024
    if sys.platform == "darwin":
        import resource  # absent on Windows

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return None


def parse_meminfo(text: str) -> Memory:
    """Read Linux's /proc/meminfo."""
    kib = {name: int(value) for name, value in re.findall(r"^(\w+):\s+(\d+) kB", text, re.MULTILINE)}
    total = kib.get("MemTotal", 0)
    return Memory(
        total_bytes=total * 1024, available_bytes=kib.get("MemAvailable", kib.get("MemFree", total)) * 1024
    )


def parse_vm_stat(hw_memsize: str, vm_stat: str) -> Memory:
    """Read macOS's `sysctl -n hw.memsize` and `vm_stat`: what is free or given back at once."""
    total = int(hw_memsize.strip() or "0")
    page = re.search(r"page size of (\d+) bytes", vm_stat)
    pages = {name.strip(): int(n) for name, n in re.findall(r"^([^:\n]+):\s+(\d+)\.", vm_stat, re.MULTILINE)}
    kinds = ("Pages free", "Pages inactive", "Pages speculative", "Pages purgeable")
    available = sum(pages.get(kind, 0) for kind in kinds) * int(page[1] if page else 4096)
    return Memory(total_bytes=total, available_bytes=min(total, available))


def tighten(memory: Memory, *, limit: int, used: int, by: str) -> Memory:
    """Return the memory under a limit of which some is used."""
    available = max(0, min(memory.available_bytes, limit - used))
    if limit >= memory.total_bytes and available == memory.available_bytes:
        return memory
    return Memory(total_bytes=min(memory.total_bytes, limit), available_bytes=available, limited_by=by)


def _linux_memory() -> Memory:
    memory = parse_meminfo(file_text(Path("/proc/meminfo")))
    for folder in cgroup_folders(file_text(Path("/proc/self/cgroup")), "memory"):
        for files in (_VERSION_2, _VERSION_1):
            limit = _number(folder / files.limit)
            if limit is not None and limit < _UNLIMITED:
                used = (_number(folder / files.used) or 0) - _reclaimable(folder, files.reclaimable)
                memory = tighten(memory, limit=limit, used=max(0, used), by="a cgroup (container) limit")
    return memory


def cgroup_folders(membership: str, controller: str, root: Path = _CGROUPS) -> Iterator[Path]:
    """Yield the folders of this process's control groups, innermost first; membership: /proc/self/cgroup.

    A container often shows only its own group, mounted at the root: the root is yielded too.
    """
    for line in membership.splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        base = root / controllers if controllers else root
        for folder in (base / path.lstrip("/"), *(base / path.lstrip("/")).parents):
            if folder.is_relative_to(base) and folder.is_dir():
                yield folder


def _reclaimable(folder: Path, field: str) -> int:
    """Return the bytes of cached files that the system gives back before anything fails."""
    found = re.search(rf"^{field} (\d+)$", file_text(folder / "memory.stat"), re.MULTILINE)
    return int(found[1]) if found else 0


def _windows_memory() -> Memory:
    numbers: Mapping[str, type] = {
        "length": ctypes.c_uint32,
        "load": ctypes.c_uint32,
        **dict.fromkeys(("total", "available", *(f"rest{n}" for n in range(5))), ctypes.c_uint64),
    }
    status_type = type("MEMORYSTATUSEX", (ctypes.Structure,), {"_fields_": list(numbers.items())})
    status = status_type()
    status.length = ctypes.sizeof(status)
    windll = getattr(ctypes, "windll", None)  # only on Windows, and so unknown to a checker elsewhere
    if windll is None or not windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(status)):
        return Memory(total_bytes=0, available_bytes=0)
    return Memory(total_bytes=status.total, available_bytes=status.available)


def _number(path: Path) -> int | None:
    text = file_text(path).strip()
    return int(text) if text.isdecimal() else None
