"""Fixtures of the kernel tests: the instruction sets at hand."""

from __future__ import annotations

import pytest

from tests.kernels.runner import NativeRunner, Runner
from tropilla import _native


@pytest.fixture(scope="session", params=["scalar", "avx2", "avx512", "neon"])
def runner(request: pytest.FixtureRequest) -> Runner:
    """Run one instruction set's kernels: this CPU's own."""
    isa: str = request.param
    if isa not in _native.isa_names():
        pytest.skip(f"this CPU does not run the {isa} kernels")
    return NativeRunner(isa)
