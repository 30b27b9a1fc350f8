"""What the machine can do at best: rates within what physics and makers allow."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tropilla import _native
from tropilla.hub.limits import measure_bandwidth, measure_limits


def test_bandwidth_is_bytes_a_second() -> None:
    """No processor reads slower than 100 MB/s or faster than its caches' 10 TB/s."""
    assert 1e8 < measure_bandwidth(2, budget_s=0.01, working_set=32 << 20) < 1e13


def test_more_threads_than_bytes_still_measure() -> None:
    assert measure_bandwidth(4, budget_s=0.0, working_set=8) > 0


@pytest.mark.parametrize("isa", _native.isa_names())
def test_int8_operations_are_counted_for_every_vector_instruction_set(isa: str) -> None:
    """A core does between one and ten thousand operations a nanosecond; the portable kernels have no peak."""
    peak = _native.int8_peak(isa, 1)
    assert peak == 0 if isa == "scalar" else 1e9 < peak < 1e13


def test_limits_are_those_of_the_threads_asked_for() -> None:
    limits = measure_limits("scalar", 3, budget_s=0.0)
    assert limits.n_threads == 3
    assert limits.int8_peak == 0
    assert limits.bandwidth > 0


@pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="only Linux counts stacks against this limit"
)
@pytest.mark.parametrize(
    "measure", ["read_bandwidth(5000, 8, 0.0)", "int8_peak(_native.isa_names()[0], 5000)"]
)
def test_threads_that_cannot_be_started_do_not_end_the_process(measure: str) -> None:
    code = (
        "import resource\n"
        "from tropilla import _native\n"
        "held = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()\n"
        "resource.setrlimit(resource.RLIMIT_AS, (held + (256 << 20), resource.RLIM_INFINITY))\n"
        f"try: _native.{measure}\n"
        "except RuntimeError: print('refused')\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ran.stdout == "refused\n", (ran.returncode, ran.stderr[-300:])
