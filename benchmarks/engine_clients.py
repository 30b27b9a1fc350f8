"""Answer the prompts of many clients at once with Tropilla's engine, in this process, without HTTP.

python -m benchmarks.engine_clients MODEL N_CLIENTS THREADS
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from typing import Any

import tropilla
from benchmarks.prompts import N_ANSWER, prompts_of_clients
from tropilla.engine.sampling import Sampling
from tropilla.engine.sequence import TokenSampling


def serve(path: str, n_clients: int, threads: int) -> dict[str, float]:
    """Return all clients' tokens a second and the median time to the first token."""
    room: dict[str, Any] = {"context_length": 512, "kv_memory_mb": 2000, "max_batch": n_clients}
    with tropilla.load(path, threads=threads, **room) as model:
        engine = model.engine
        sampling = Sampling(temperature=0, ignore_eos=True, seed=0)
        params = sampling.to_native(model.config.vocab_size, end_ids=model.tokenizer.end_ids)
        prompts = [model.tokenize(text) for text in prompts_of_clients(n_clients)]
        started = time.monotonic()
        sequences = [engine.submit(p, TokenSampling(params=params, max_tokens=N_ANSWER)) for p in prompts]
        while engine.has_work:
            engine.step()
        seconds = time.monotonic() - started
        waits = [s.first_token_s - started for s in sequences if s.first_token_s is not None]
    return {"total": n_clients * N_ANSWER / seconds, "first token": statistics.median(waits)}


if __name__ == "__main__":
    print(json.dumps(serve(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))))
