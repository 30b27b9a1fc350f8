"""Comparing engines: turns, pairs, spreads and reasons, with engines that only pretend."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.llama_cpp import build
from benchmarks.peer_report import Series, as_json, as_markdown, ratio
from benchmarks.peer_rows import ROWS, Metric, Row, choose
from benchmarks.peers import compare, model_path, save
from benchmarks.process import UnavailableError, run_program
from benchmarks.prompts import prompts_of_clients
from benchmarks.tropilla_peer import Reading
from tropilla.api.workloads import parse_workload
from tropilla.errors import OptionError

ABOUT: dict[str, Any] = {
    "date": "2026-01-02 03:04", "commit": "abc", "processor": "Abacus", "cores": 2, "memory": "8 GB",
    "threads": 2, "repeats": 3, "versions": {"tropilla": "1", "llama.cpp": "2"},
}  # fmt: skip
SPEED = Row("tg8", "tiny", (Metric("tokens/s", goal=2.0),))


class Pretender:
    """An engine whose readings are written down beforehand."""

    version = "0"

    def __init__(self, name: str, *values: float, log: list[str] | None = None) -> None:
        self.name = name
        self.values = list(values)
        self.log = [] if log is None else log

    def measure(self, row: Row, path: Path) -> Reading:  # noqa: ARG002  # what engines are asked
        self.log.append(self.name)
        if not self.values:
            raise UnavailableError("nothing left")
        return Reading({metric.name: self.values.pop(0) for metric in row.metrics}, share=0.5, limit="memory")


def compared(*engines: Pretender, row: Row = SPEED, repeats: int = 3) -> Series:
    (series,) = compare([row], engines, {row.file: Path("tiny.gguf")}, repeats=repeats, lock=None)
    return series


def test_engines_take_turns_in_opposite_orders(tmp_path: Path) -> None:
    log: list[str] = []
    engines = [Pretender("tropilla", 1, 2, 3, log=log), Pretender("llama.cpp", 1, 1, 1, log=log)]
    compare([SPEED], engines, {"tiny": Path("tiny")}, repeats=3, lock=tmp_path / "lock")
    assert log == ["tropilla", "llama.cpp", "llama.cpp", "tropilla", "tropilla", "llama.cpp"]


def test_a_ratio_is_taken_pair_by_pair() -> None:
    series = compared(Pretender("tropilla", 10, 30, 20), Pretender("llama.cpp", 5, 10, 4))
    assert ratio(series, SPEED.metrics[0], "llama.cpp") == (3, 2, 5)


def test_where_less_is_better_the_ratio_turns_round() -> None:
    row = Row("start", "tiny", (Metric("s", higher_is_better=False),))
    series = compared(Pretender("tropilla", 0.5), Pretender("llama.cpp", 2.0), row=row, repeats=1)
    assert ratio(series, row.metrics[0], "llama.cpp") == (4, 4, 4)


def test_a_missing_engine_is_asked_once_and_its_reason_told() -> None:
    log: list[str] = []
    series = compared(Pretender("tropilla", 1, 2, 3), Pretender("llama.cpp", log=log))
    assert log == ["llama.cpp"]
    assert series.missing == {"llama.cpp": "nothing left"}
    assert ratio(series, SPEED.metrics[0], "llama.cpp") is None
    assert "- tg8 tiny: llama.cpp: nothing left" in as_markdown([series], ABOUT)


def test_an_interrupted_comparison_keeps_what_it_has() -> None:
    class Interrupted(Pretender):
        def measure(self, row: Row, path: Path) -> Reading:
            if len(self.values) == 1:
                raise KeyboardInterrupt
            return super().measure(row, path)

    series = compared(Pretender("tropilla", 10, 30, 20), Interrupted("llama.cpp", 5, 10, 4))
    assert series.values("llama.cpp", SPEED.metrics[0]) == [5, 10]
    assert ratio(series, SPEED.metrics[0], "llama.cpp") == (2.5, 2, 3)


def test_the_table_has_medians_spreads_and_goals() -> None:
    series = compared(Pretender("tropilla", 10, 30, 20), Pretender("llama.cpp", 5, 10, 4))
    (line,) = [line for line in as_markdown([series], ABOUT).splitlines() if line.startswith("| tg8")]
    assert (
        line
        == "| tg8 tiny | tokens/s | 20 (10-30) | 50% memory | 5 (4-10) | **3.00** (2.00-5.00) | 2 times |"
    )


def test_clients_without_http_are_said_to_be_so() -> None:
    row = next(row for row in ROWS if row.what == "clients16")
    series = compared(Pretender("tropilla", 10, 1), Pretender("llama.cpp", 5, 2), row=row, repeats=1)
    table = as_markdown([series], ABOUT)
    assert "WITHOUT HTTP" in table
    assert f"| {row.name} total |" in table
    assert f"| {row.name} first token |" in table


def test_saved_results_hold_every_reading(tmp_path: Path) -> None:
    series = compared(Pretender("tropilla", 10, 30, 20), Pretender("llama.cpp", 5, 10, 4))
    save([series], ABOUT, tmp_path / "results")
    told = json.loads((tmp_path / "results" / "2026-01-02-0304-abc.json").read_text())
    assert told == json.loads(json.dumps(as_json([series], ABOUT)))
    assert told["rows"][0]["values"] == {"tropilla": [10, 30, 20], "llama.cpp": [5, 10, 4]}
    assert (tmp_path / "results" / "2026-01-02-0304-abc.md").read_text().startswith("# Tropilla abc against")


def test_rows_are_chosen_by_pattern_or_half_of_their_name() -> None:
    assert {row.what for row in choose(["start"], quick=False)} == {"start"}
    assert {row.file for row in choose(["*1.1b-Q8_0"], quick=False)} == {"1.1b-Q8_0"}
    assert all(row.quick for row in choose([], quick=True))
    assert all(row.by_default for row in choose([], quick=False))
    with pytest.raises(OptionError, match="no row matches 'pp77'"):
        choose(["pp77"], quick=False)


def test_every_row_s_work_is_known() -> None:
    others = {"start", "memory", "quantize", "step8", "lookup", "clients16", "clients64"}
    for row in ROWS:
        if row.what not in others:
            parse_workload(row.what)
    assert len({row.name for row in ROWS}) == len(ROWS)


@pytest.mark.skipif(not hasattr(os, "wait4"), reason="this system does not tell of one child alone")
def test_a_program_s_output_time_and_memory_are_noted() -> None:
    code = "import time; print('a', flush=True); time.sleep(0.2); x = bytearray(50_000_000); print('b')"
    finished = run_program([sys.executable, "-c", code])
    assert finished.stdout == "a\nb\n"
    assert 0 < finished.first_output_s < finished.seconds - 0.1
    assert finished.peak_bytes > 50_000_000


@pytest.mark.skipif(not hasattr(os, "wait4"), reason="this system does not tell of one child alone")
def test_a_program_that_fails_or_hangs_is_unavailable() -> None:
    with pytest.raises(UnavailableError, match="ended with status 3: too bad"):
        run_program([sys.executable, "-c", "import sys; print('too bad', file=sys.stderr); sys.exit(3)"])
    with pytest.raises(UnavailableError, match="status -9"):
        run_program([sys.executable, "-c", "import time; time.sleep(60)"], timeout_s=0.3)


def test_a_model_that_is_there_is_not_written_again(tmp_path: Path) -> None:
    (tmp_path / "7b-Q4_0.gguf").write_bytes(b"there")
    assert model_path("7b-Q4_0", tmp_path, None) == tmp_path / "7b-Q4_0.gguf"


def test_a_build_that_is_there_is_used(tmp_path: Path) -> None:
    folder = tmp_path / "llama.cpp" / "build" / "bin"
    folder.mkdir(parents=True)
    for name in ("bench", "batched-bench", "server", "perplexity", "quantize", "completion", "lookup"):
        (folder / f"llama-{name}").touch()
    assert build(tmp_path) == folder


def test_clients_ask_different_things_of_about_ninety_tokens() -> None:
    prompts = prompts_of_clients(64)
    assert len(set(prompts)) == 64
    assert all(75 <= len(prompt.split()) <= 95 for prompt in prompts)
