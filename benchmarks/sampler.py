"""Time one draw, for several chains and vocabulary sizes: sampling must be nothing beside the model.

The logits are normal with deviation 2.5 and twenty tokens raised by 10, about as peaked as a language
model's. Each line gives the median and the 10th and 90th percentile of 400 draws in microseconds,
one thread, with the call from Python (about one microsecond) included.

    python benchmarks/sampler.py
"""

from __future__ import annotations

import platform
import time
from collections.abc import Iterator

import numpy as np

from tropilla import _native
from tropilla.engine.sampling import Sampling

VOCABULARIES = (49_152, 128_256)  # SmolLM2's and LLaMA 3's
CHAINS = {
    "greedy": Sampling(temperature=0),
    "greedy, 5 logprobs": Sampling(temperature=0, logprobs=5),
    "default": Sampling(),
    "default, 5 logprobs": Sampling(logprobs=5),
    "default with penalties": Sampling(repetition_penalty=1.1, frequency_penalty=0.1, dry_multiplier=0.8),
    "no filter, temperature 1": Sampling(temperature=1, top_k=0, top_p=1, min_p=0),
    "min-p alone": Sampling(top_k=0, top_p=1),
    "top-p alone": Sampling(top_k=0, min_p=0),
    "typical alone": Sampling(top_k=0, top_p=1, min_p=0, typical_p=0.9),
    "mirostat 2": Sampling(mirostat=2),
}


def rows_of(vocab_size: int) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    rows = rng.normal(0, 2.5, (20, vocab_size)).astype(np.float32)
    for row in rows:
        row[rng.integers(0, vocab_size, 20)] += 10
    return list(rows)


def draw_times_us(sampling: Sampling, rows: list[np.ndarray]) -> Iterator[float]:
    params = sampling.seeded().to_native(len(rows[0]), end_ids=[2])
    sampler = _native.Sampler(params, len(rows[0]), range(300))
    for i in range(420):
        start = time.perf_counter()
        draw = sampler.sample(rows[i % len(rows)])
        if i >= 20:  # the first draws allocate
            yield (time.perf_counter() - start) * 1e6
        sampler.accept(draw.token)


def main() -> None:
    print(f"{platform.processor() or platform.machine()}, one thread; microseconds per draw")
    for vocab_size in VOCABULARIES:
        rows = rows_of(vocab_size)
        for name, sampling in CHAINS.items():
            low, median, high = np.percentile(list(draw_times_us(sampling, rows)), [10, 50, 90])
            print(f"V = {vocab_size:7}  {name:26} {median:7.0f}  ({low:.0f} to {high:.0f})")


if __name__ == "__main__":
    main()
