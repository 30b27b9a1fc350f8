"""Fixtures of the kernel tests: the instruction sets at hand."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.kernels.emulated import EMULATOR, ROOT, EmulatedRunner, build_server, program
from tests.kernels.runner import NativeRunner, Runner
from tropilla import _native


@pytest.fixture(scope="session", params=["scalar", "avx2", "avx512", "neon"])
def runner(request: pytest.FixtureRequest) -> Iterator[Runner]:
    """Run one instruction set's kernels: this CPU's own, NEON's elsewhere under an emulator."""
    isa: str = request.param
    if isa in _native.isa_names():
        yield NativeRunner(isa)
    elif isa == "neon":
        emulator = program(EMULATOR)
        with EmulatedRunner(isa, [emulator, str(build_server(ROOT / "build" / "aarch64"))]) as emulated:
            yield emulated
    else:
        pytest.skip(f"this CPU does not run the {isa} kernels")
