"""Measure Tropilla for a row, each time in a process of its own."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.peer_rows import Row
from benchmarks.process import run_program
from benchmarks.prompts import REPEATING
from tropilla import __version__


class Reading(NamedTuple):
    """The numbers of one run by metric name; share and limit of the machine where they are known."""

    values: dict[str, float]
    share: float | None = None
    limit: str | None = None


class TropillaPeer:
    """Run Tropilla's own command line."""

    name = "tropilla"

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self.version = __version__

    def measure(self, row: Row, path: Path) -> Reading:
        """Run a row's work once; raises UnavailableError."""
        if row.what == "start":
            return Reading({"": run_program(self._run(path, "Once upon a time", 1)).first_output_s})
        if row.what == "memory":
            command = [*self._run(path, REPEATING, 16), "--context-length", "4096"]
            return Reading({"": run_program(command).peak_bytes / 1e6})
        if row.what == "quantize":
            return self._quantize(path)
        if row.what == "lookup":
            told = json.loads(run_program([*self._run(path, REPEATING, 256), "--json"]).stdout)
            return Reading({"": (told["usage"]["completion_tokens"] - 1) / told["usage"]["decode_s"]})
        if row.what.startswith("clients"):
            n_clients = row.what.removeprefix("clients")
            command = [
                sys.executable,
                "-m",
                "benchmarks.engine_clients",
                str(path),
                n_clients,
                str(self._threads),
            ]
            return Reading(json.loads(run_program(command).stdout))
        if row.what == "step8":
            return Reading({"": self._bench(path, "pp8,tg32")["step_of_8"]})
        (result,) = self._bench(path, row.what)["results"]
        return Reading({"": result["tokens_per_s"]}, result["share"], result["limit"])

    def _bench(self, path: Path, workloads: str) -> dict[str, Any]:
        command = ["bench", path, "--only", workloads, "--repeats", 2, "--json", "--threads", self._threads]
        told: dict[str, Any] = json.loads(run_program(self._command(*command)).stdout)
        return told

    def _quantize(self, path: Path) -> Reading:
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            out = Path(folder) / "out.gguf"
            return Reading(
                {"": run_program(self._command("quantize", path, out, "--type", "Q4_K_M")).seconds}
            )

    def _run(self, path: Path, prompt: str, n_tokens: int) -> list[str]:
        words = [
            "run",
            path,
            "--raw",
            "-p",
            prompt,
            "--max-tokens",
            n_tokens,
            "--temperature",
            0,
            "--ignore-eos",
        ]
        return self._command(*words, "--threads", self._threads)

    def _command(self, *words: object) -> list[str]:
        return [sys.executable, "-m", "tropilla", *map(str, words)]
