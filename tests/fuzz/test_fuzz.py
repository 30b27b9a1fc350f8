"""A short run of the fuzzer, and proof that it would notice."""

from __future__ import annotations

import runpy
import time
from pathlib import Path
from random import Random

import pytest

from tests.fuzz import fuzzer, targets
from tests.fuzz.coverage import EdgeCoverage
from tests.fuzz.mutation import mutate
from tests.fuzz.seeds import all_seeds
from tropilla.errors import FormatError


def test_a_short_run_finds_nothing(tmp_path: Path) -> None:
    findings = fuzzer.fuzz(tmp_path, seconds=5, seed=1)
    assert findings.n_cases > 20
    assert not (tmp_path / "failures").exists()


def test_every_seed_is_sound(tmp_path: Path) -> None:
    for seed in all_seeds(tmp_path):
        for name, content in seed.files.items():
            (tmp_path / name).write_bytes(content)
        if seed.entry.endswith(".gguf"):
            targets.read_file(tmp_path / seed.entry)
        if seed.runs:
            targets.load_model(tmp_path / seed.entry)
        for name in seed.files:
            (tmp_path / name).unlink()


def fail_after_the_seeds(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    calls = []

    def target(folder: Path, entry: str, isa: str) -> None:
        calls.append((folder, entry, isa))
        if len(calls) > 15:
            raise error

    monkeypatch.setattr(fuzzer, "open_as_a_user_would", target)


def test_a_broken_promise_is_reported_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fail_after_the_seeds(monkeypatch, KeyError("split.count"))
    with pytest.raises(fuzzer.FuzzFailureError, match=r"KeyError: 'split.count'; see .*failures.1"):
        fuzzer.fuzz(tmp_path, seconds=20, seed=1)
    assert list((tmp_path / "failures" / "1").iterdir())


def test_the_faults_of_files_are_no_failures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, *_: str) -> None:
        raise FormatError(path, "is damaged")

    monkeypatch.setattr(targets, "read_file", refuse)
    monkeypatch.setattr(targets, "load_model", refuse)
    (tmp_path / "m.gguf").touch()
    targets.open_as_a_user_would(tmp_path, "m.gguf", "scalar")


def test_reading_is_held_to_the_files_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seed = all_seeds(tmp_path)[0]
    path = tmp_path / seed.entry
    path.write_bytes(seed.files[seed.entry])
    monkeypatch.setattr(targets, "_walk", lambda _: bytearray(targets.ALLOWANCE_BYTES + path.stat().st_size))
    with pytest.raises(AssertionError, match="opening took"):
        targets.read_file(path)


def test_the_same_seed_makes_the_same_cases() -> None:
    data, other = bytes(range(256)) * 8, bytes(500)
    first, second = ([mutate(data, other, Random(seed)) for seed in range(50)] for _ in range(2))
    assert first == second
    assert len(set(first)) > 40


def test_new_ways_are_noticed(tmp_path: Path) -> None:
    module = tmp_path / "branches.py"
    module.write_text("def sign(x):\n    if x < 0:\n        return -1\n    return 1\n")
    sign = runpy.run_path(str(module))["sign"]
    coverage, counts = EdgeCoverage(tmp_path), []
    for x in (1, 2, -1):
        with coverage.collecting():
            sign(x)
        counts.append(len(coverage.edges))
    assert counts[0] == counts[1] < counts[2]


def test_a_run_ends_in_time(tmp_path: Path) -> None:
    start = time.monotonic()
    fuzzer.fuzz(tmp_path, seconds=0.1, seed=2)
    assert time.monotonic() - start < 10
