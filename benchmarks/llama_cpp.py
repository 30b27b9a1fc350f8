"""Measure llama.cpp for a row, with its own tools, built from the source that a PyPI package carries."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from benchmarks.peer_rows import Row
from benchmarks.process import Finished, UnavailableError, run_program
from benchmarks.prompts import N_ANSWER, REPEATING, prompts_of_clients
from benchmarks.tropilla_peer import Reading
from tropilla.api.workloads import Workload, parse_workload

PACKAGE = "llama-cpp-python==0.3.36"
TOOLS = ("bench", "batched-bench", "server", "perplexity", "quantize", "completion", "lookup")


class LlamaCpp:
    """Run the tools of one build."""

    name = "llama.cpp"

    def __init__(self, folder: Path, threads: int) -> None:
        self._folder = folder
        self._threads = threads
        self.version = _version(folder)

    def measure(self, row: Row, path: Path) -> Reading:
        """Run a row's work once; raises UnavailableError."""
        if row.what == "start":
            return Reading({"": self._complete(path, "Once upon a time", 1).first_output_s})
        if row.what == "memory":
            return Reading({"": self._complete(path, REPEATING, 16).peak_bytes / 1e6})
        if row.what == "quantize":
            return self._quantize(path)
        if row.what == "lookup":
            return self._lookup(path)
        if row.what.startswith("clients"):
            return self._serve(path, int(row.what.removeprefix("clients")))
        if row.what == "step8":
            eight, one = self._bench(path, "-p", 8, "-n", 32)
            return Reading({"": 8 / eight * one})
        workload = parse_workload(row.what)
        if workload.n_sequences > 1:
            return self._batched(path, workload)
        return Reading({"": self._bench(path, *_bench_flags(workload))[0]})

    def _bench(self, path: Path, *flags: object) -> list[float]:
        """Return tokens a second of each test; llama-bench warms up before each."""
        finished = self._tool("bench", "-m", path, "-t", self._threads, "-r", 1, "-o", "json", *flags)
        return [test["avg_ts"] for test in json.loads(finished.stdout)]

    def _batched(self, path: Path, workload: Workload) -> Reading:
        n, prompt = workload.n_sequences, max(1, workload.depth)
        room = n * (prompt + workload.n_tokens + 1)
        flags = ["-c", room, "-npp", prompt, "-ntg", workload.n_tokens, "-npl", n]
        finished = self._tool(
            "batched-bench", "-m", path, "-t", self._threads, *flags, "--output-format", "jsonl"
        )
        lines = [line for line in finished.stdout.splitlines() if line.startswith("{")]
        return Reading({"": json.loads(lines[-1])["speed_tg"]})

    def _complete(self, path: Path, prompt: str, n_tokens: int) -> Finished:
        flags = ["-no-cnv", "--no-display-prompt", "--no-warmup", "--ignore-eos", "--temp", 0, "-c", 4096]
        return self._tool("completion", "-m", path, "-t", self._threads, "-p", prompt, "-n", n_tokens, *flags)

    def _quantize(self, path: Path) -> Reading:
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            out = Path(folder) / "out.gguf"
            return Reading({"": self._tool("quantize", path, out, "Q4_K_M", self._threads).seconds})

    def _lookup(self, path: Path) -> Reading:
        flags = ["-n", 256, "--temp", 0, "-c", 4096, "--spec-draft-n-max", 8, "--ignore-eos"]
        told = self._tool("lookup", "-m", path, "-t", self._threads, "-p", REPEATING, *flags)
        found = re.search(r"decoded .*speed:\s*([\d.]+) t/s", told.stderr + told.stdout)
        if found is None:
            raise UnavailableError("llama-lookup did not say its speed")
        return Reading({"": float(found[1])})

    def _serve(self, path: Path, n_clients: int) -> Reading:
        flags = ["-t", self._threads, "-np", n_clients, "-c", 256 * n_clients]
        with _server([str(self._path("server")), "-m", str(path), *map(str, flags)]) as port:
            started = time.monotonic()
            with ThreadPoolExecutor(n_clients) as clients:
                firsts = list(clients.map(lambda text: _ask(port, text), prompts_of_clients(n_clients)))
            seconds = time.monotonic() - started
        waits = statistics.median(first - started for first in firsts)
        return Reading({"total": n_clients * N_ANSWER / seconds, "first token": waits})

    def _tool(self, name: str, *flags: object) -> Finished:
        return run_program([self._path(name), *map(str, flags)])

    def _path(self, name: str) -> Path:
        return tool(self._folder, name)


def tool(folder: Path, name: str) -> Path:
    """Return the path of one of llama.cpp's tools; raises UnavailableError if the build lacks it."""
    path = folder / f"llama-{name}"
    if not path.is_file():
        raise UnavailableError(f"{folder} has no {path.name}")
    return path


def build(cache: Path) -> Path:
    """Return the folder of a build, made in the cache if it is not there yet (ten minutes or more).

    Raises UnavailableError naming the log if the build fails.
    """
    done = cache / "llama.cpp" / "build" / "bin"
    if all((done / f"llama-{name}").is_file() for name in TOOLS):
        return done
    folder = cache / "llama.cpp"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    log = folder / "build.log"
    # Only this package as source: the tools that it is built with are not to be built too.
    source_only = ["--no-deps", "--no-binary", PACKAGE.split("==")[0]]
    _logged([sys.executable, "-m", "pip", "download", *source_only, "-d", str(folder), PACKAGE], log)
    with tarfile.open(next(folder.glob("*.tar.gz"))) as archive:
        archive.extractall(folder, filter="data")
    source = next(folder.glob("llama_cpp_python-*/vendor/llama.cpp"))
    if (source / ".git").is_file():  # points at a repository that the package does not carry
        (source / ".git").rename(source / ".git-of-the-package")
    options = [
        "-DGGML_NATIVE=ON",
        "-DLLAMA_OPENSSL=OFF",
        "-DLLAMA_BUILD_UI=OFF",
        "-DCMAKE_BUILD_TYPE=Release",
    ]
    _logged(["cmake", "-S", str(source), "-B", str(folder / "build"), *options], log)
    targets = [f"llama-{name}" for name in TOOLS]
    _logged(
        [
            "cmake",
            "--build",
            str(folder / "build"),
            "--parallel",
            str(os.cpu_count() or 1),
            "--target",
            *targets,
        ],
        log,
    )
    return done


def _logged(command: list[str], log: Path) -> None:
    with log.open("ab") as file:
        status = subprocess.run(command, stdout=file, stderr=file, check=False).returncode
    if status:
        raise UnavailableError(f"{Path(command[0]).name} failed with status {status}; see {log}")


def _version(folder: Path) -> str:
    told = run_program([tool(folder, "bench"), "--version"])
    found = re.search(r"version:\s*(.+)|build:\s*(.+)", told.stdout + told.stderr)
    return (found[1] or found[2]).strip() if found else "unknown"


def _bench_flags(workload: Workload) -> list[object]:
    if workload.reads:
        return ["-p", workload.n_tokens, "-n", 0]
    return ["-p", 0, "-n", workload.n_tokens, "-d", workload.depth]


@contextmanager
def _server(command: list[str]) -> Iterator[int]:
    """Run llama-server until the block ends; yields its port once it is ready."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    process = subprocess.Popen(
        [*command, "--port", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + 120
        while not _is_ready(port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise UnavailableError("llama-server does not start")
            time.sleep(0.1)
        yield port
    finally:
        process.terminate()
        process.wait()


def _is_ready(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def _ask(port: int, prompt: str) -> float:
    """Stream one answer and return when its first token came."""
    wanted = {"prompt": prompt, "n_predict": N_ANSWER, "stream": True, "temperature": 0, "ignore_eos": True}
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
    connection.request("POST", "/completion", json.dumps(wanted), {"Content-Type": "application/json"})
    response = connection.getresponse()
    first = None
    for line in response:
        if first is None and line.startswith(b"data:"):
            first = time.monotonic()
    connection.close()
    if first is None:
        raise UnavailableError(f"llama-server answered with status {response.status}")
    return first
