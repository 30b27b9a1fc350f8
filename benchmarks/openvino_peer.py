"""Measure OpenVINO GenAI for a row, in an environment of its own: it reads GGUF files of byte-level BPE."""

from __future__ import annotations

import json
import subprocess
import sys
import venv
from pathlib import Path

from benchmarks.peer_rows import Row
from benchmarks.process import UnavailableError, run_program
from benchmarks.tropilla_peer import Reading
from tropilla.api.workloads import parse_workload

PACKAGES = ("openvino-genai==2026.4.1", "numpy")

# Run by the environment's own Python: path, prompt tokens, answer tokens, threads.
_CHILD = """
import json, random, sys, numpy as np, openvino as ov, openvino_genai as genai
path, n_prompt, n_answer, threads = sys.argv[1], *map(int, sys.argv[2:])
pipe = genai.LLMPipeline(path, "CPU", {"INFERENCE_NUM_THREADS": threads})
rng = random.Random(0)
def run(n_prompt, n_answer):
    ids = np.array([[rng.randrange(5, 30000) for _ in range(n_prompt)]], np.int64)
    result = pipe.generate(ov.Tensor(ids), max_new_tokens=n_answer, ignore_eos=True, do_sample=False)
    return result.perf_metrics
run(8, 2)
metrics = run(n_prompt, n_answer)
print(json.dumps({"version": genai.__version__, "first_s": metrics.get_ttft().mean / 1000,
                  "token_s": metrics.get_tpot().mean / 1000 if n_answer > 1 else None}))
"""


class OpenVINO:
    """Run OpenVINO GenAI's pipeline in its environment."""

    name = "OpenVINO"

    def __init__(self, python: Path, threads: int) -> None:
        self._python = python
        self._threads = threads
        told = run_program([python, "-c", "import openvino_genai as g; print(g.__version__)"])
        self.version = told.stdout.strip()

    def measure(self, row: Row, path: Path) -> Reading:
        """Run a row's work once; raises UnavailableError."""
        if not row.openvino:
            raise UnavailableError("not measured")
        workload = parse_workload(row.what)
        n_answer = 1 if workload.reads else workload.n_tokens + 1
        numbers = map(str, (workload.prompt_tokens, n_answer, self._threads))
        told = json.loads(run_program([self._python, "-c", _CHILD, path, *numbers]).stdout.splitlines()[-1])
        speed = workload.n_tokens / told["first_s"] if workload.reads else 1 / told["token_s"]
        return Reading({"": speed})


def install(cache: Path) -> Path:
    """Return the Python of an environment with OpenVINO GenAI, made in the cache if it is not there yet."""
    folder = cache / "openvino"
    python = folder / "bin" / "python"
    if not (folder / "installed").is_file():
        venv.create(folder, with_pip=True, clear=True)
        pip = [str(python), "-m", "pip", "install", "--quiet", *PACKAGES]
        if subprocess.run(pip, check=False, stdout=sys.stderr).returncode:
            raise UnavailableError("OpenVINO GenAI cannot be installed here")
        (folder / "installed").touch()
    return python
