"""Run a program and note what it printed, how long it took and how much memory it held."""

from __future__ import annotations

import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple


class UnavailableError(Exception):
    """An engine cannot do what a row asks for; the message says why."""


class Finished(NamedTuple):
    """A program that ended well; first_output_s is when its first byte came, from its start."""

    stdout: str
    stderr: str
    seconds: float
    first_output_s: float
    peak_bytes: int


def run_program(
    command: Sequence[str | Path],
    *,
    timeout_s: float = 600,
    stdin: str = "",
    env: Mapping[str, str] | None = None,
) -> Finished:
    """Run a program to its end; raises UnavailableError with its last words if it fails or takes too long."""
    words = [str(word) for word in command]
    with tempfile.TemporaryFile() as errors, tempfile.TemporaryFile() as given:
        given.write(stdin.encode())
        given.seek(0)
        started = time.perf_counter()
        process = subprocess.Popen(words, stdin=given, stdout=subprocess.PIPE, stderr=errors, env=env)
        timer = threading.Timer(timeout_s, process.kill)
        timer.start()
        try:
            assert process.stdout is not None
            first = os.read(process.stdout.fileno(), 1)
            first_output_s = time.perf_counter() - started
            stdout = first + process.stdout.read()
            process.stdout.close()
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        except BaseException:
            process.kill()
            raise
        finally:
            timer.cancel()
        seconds = time.perf_counter() - started
        errors.seek(0)
        stderr = errors.read().decode(errors="replace")
    if process.returncode:
        last = (stderr.strip() or "no message").splitlines()[-1]
        raise UnavailableError(f"{Path(words[0]).name} ended with status {process.returncode}: {last}")
    # Linux counts in KiB (getrusage(2)).
    return Finished(stdout.decode(errors="replace"), stderr, seconds, first_output_s, usage.ru_maxrss * 1024)
