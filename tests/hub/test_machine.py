"""What the system says of memory and processor is read as its documentation means it."""

from __future__ import annotations

import struct
import sys
from pathlib import Path

import pytest

from tropilla.hub.machine import inspect_machine
from tropilla.hub.memory import (
    Memory,
    cgroup_folders,
    measure_memory,
    parse_meminfo,
    parse_vm_stat,
    peak_resident_bytes,
    tighten,
)
from tropilla.hub.processor import count_cores, count_records, n_usable_cores, parse_cpu_quota, read_processor

MEMINFO = """MemTotal:       16309552 kB
MemFree:          812340 kB
MemAvailable:   9123456 kB
HugePages_Total:       0
"""
VM_STAT = """Mach Virtual Memory Statistics: (page size of 16384 bytes)
Pages free:                               100.
Pages active:                           50000.
Pages inactive:                           200.
Pages speculative:                         30.
Pages purgeable:                            4.
"File-backed pages":                    90000.
"""


def test_linux_memory_is_total_and_available() -> None:
    assert parse_meminfo(MEMINFO) == Memory(total_bytes=16309552 * 1024, available_bytes=9123456 * 1024)
    assert parse_meminfo("") == Memory(total_bytes=0, available_bytes=0)


def test_macos_memory_is_what_can_be_had_at_once() -> None:
    memory = parse_vm_stat("17179869184\n", VM_STAT)
    assert memory == Memory(total_bytes=17179869184, available_bytes=(100 + 200 + 30 + 4) * 16384)
    assert parse_vm_stat("", "") == Memory(total_bytes=0, available_bytes=0)


def test_a_container_s_limit_counts_where_it_is_tighter() -> None:
    memory = Memory(total_bytes=1000, available_bytes=700)
    assert tighten(memory, limit=400, used=100, by="x") == Memory(
        total_bytes=400, available_bytes=300, limited_by="x"
    )
    assert tighten(memory, limit=400, used=500, by="x").available_bytes == 0
    assert tighten(memory, limit=1000, used=0, by="x") == memory


@pytest.mark.parametrize(
    ("membership", "made", "expected"),
    [
        ("0::/user/tropilla\n", "user/tropilla", ["user/tropilla", "user", "."]),
        ("4:memory:/a/b\n0::/\n", "memory/a/b", ["memory/a/b", "memory/a", "memory", "."]),
        ("4:cpu,memory:/a\n", "cpu,memory/a", ["cpu,memory/a", "cpu,memory"]),
        ("3:cpuset:/a\n", "cpuset/a", []),
        ("0::/not/mounted/here\n", "x", ["."]),
        ("", "x", []),
    ],
)
def test_control_groups_are_walked_from_the_inside(
    membership: str, made: str, expected: list[str], tmp_path: Path
) -> None:
    (tmp_path / made).mkdir(parents=True)
    folders = [str(folder.relative_to(tmp_path)) for folder in cgroup_folders(membership, "memory", tmp_path)]
    assert folders == expected


def test_this_machine_has_memory() -> None:
    memory = measure_memory()
    assert 0 < memory.available_bytes <= memory.total_bytes


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        (("150000 100000\n", "", ""), 1.5),
        (("max 100000\n", "", ""), None),
        (("", "200000\n", "100000\n"), 2.0),
        (("", "-1\n", "100000\n"), None),
        (("", "", ""), None),
    ],
)
def test_a_container_s_cpu_quota_is_read(files: tuple[str, str, str], cores: float | None) -> None:
    assert parse_cpu_quota(*files) == cores


def test_two_threads_of_a_core_are_one_core() -> None:
    assert count_cores(["0,4\n", "1,5\n", "0,4\n", "1,5\n"]) == 2
    assert count_cores(["0-1\n", "0-1\n"]) == 1
    assert count_cores([]) is None


def test_windows_processor_records_are_counted() -> None:
    record = struct.pack("<II", 0, 48) + bytes(40)
    assert count_records(record * 3) == 3
    assert count_records(b"") is None
    assert count_records(struct.pack("<II", 0, 0)) is None  # a record of no size must not loop for ever


def test_this_processor_is_described() -> None:
    processor = read_processor()
    assert 1 <= processor.n_usable == n_usable_cores() <= processor.n_logical
    assert processor.name
    assert (processor.isa is None) == (processor.why_no_isa is not None)
    if processor.isa:
        assert processor.isa in processor.isas


@pytest.mark.skipif(sys.platform == "win32", reason="a module file that cannot load")
def test_a_missing_extension_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tropilla._native", None)
    processor = read_processor()
    assert processor.isa is None
    assert processor.why_no_isa


def test_the_machine_is_inspected_in_about_a_second() -> None:
    machine = inspect_machine()
    assert machine.limits is not None
    assert machine.limits.n_threads == machine.processor.n_usable
    assert machine.system


@pytest.mark.skipif(sys.platform == "win32", reason="a module file that cannot load")
def test_a_machine_without_the_extension_is_inspected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tropilla._native", None)
    assert inspect_machine().limits is None


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not tell")
def test_peak_memory_counts_what_was_given_back() -> None:
    size = 64 << 20
    held = bytearray(size)
    held[::4096] = b"x" * len(held[::4096])  # touched, so resident
    del held
    peak = peak_resident_bytes()
    assert peak is not None
    assert peak > size
