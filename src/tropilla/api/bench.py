"""Measure a model's speed, and what share of this machine's limits that is.

Every repeat runs all workloads once and measures the limits again, so that what disturbs the machine
for a while disturbs all of them alike.
"""

from __future__ import annotations

import os
import random
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tropilla.api.model import Model, load
from tropilla.api.workloads import Bound, Step, Workload, least_time, parse_workload, step_of
from tropilla.engine.engine import Engine
from tropilla.engine.engine_options import EngineOptions
from tropilla.engine.executor import BLOCK_TOKENS, kv_block_bytes
from tropilla.engine.sampling import Sampling
from tropilla.engine.sequence import LiveSequence, TokenSampling
from tropilla.errors import OptionError
from tropilla.events import Notice, Progress
from tropilla.formats.checkpoint import open_checkpoint
from tropilla.hub.library import resolve
from tropilla.hub.limits import Limits, measure_limits
from tropilla.hub.memory import peak_resident_bytes
from tropilla.hub.processor import read_processor
from tropilla.hub.tuning import remembered, tune
from tropilla.model.config import LlamaConfig
from tropilla.model.weights import load_weights
from tropilla.options import check, from_mapping, option

DEFAULT_WORKLOADS = (
    "pp8", "pp128", "pp512", "pp2048", "tg128", "tg128@1k", "tg128@4k", "tg64x4", "tg64x8", "tg64x16",
)  # fmt: skip

# Options of the engine that would have the next benchmark measure something else: what the last one left.
NOT_FOR_BENCHMARKS = ("prefix_cache_mb",)


@dataclass(frozen=True, kw_only=True, slots=True)
class BenchOptions:
    """Say what is measured, and how often."""

    workloads: tuple[str, ...] = option(
        DEFAULT_WORKLOADS,
        help="what to measure: pp512 reads a prompt of 512 tokens, tg128 draws 128 tokens, tg128@4k after "
        "4096 tokens, tg64x8 in 8 sequences at once; default " + " ".join(DEFAULT_WORKLOADS),
    )
    repeats: int = option(5, help="how often everything is measured", at_least=1, at_most=1000)
    budget_s: float = option(
        40.0, help="no further repeat begins after that many seconds", at_least=0, at_most=1e6
    )
    seed: int = option(0, help="of the random tokens that are read", at_least=0)

    def __post_init__(self) -> None:
        check(self)
        if not self.workloads:
            raise OptionError("workloads is empty; name one, such as tg128")
        for name in self.workloads:
            parse_workload(name)


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """Report one workload's seconds in one repeat."""

    workload: str
    repeat: int
    seconds: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """Sum up one workload: tokens a second over the repeats, and the share of the machine's limit.

    share and limit ("memory" or "arithmetic") are None where the limit is not known. token_s is the
    median time to the first token after a prompt, or between two tokens of an answer.
    """

    workload: str
    what: str
    reads: bool
    tokens_per_s: float
    low: float
    high: float
    token_s: float
    share: float | None
    limit: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class BenchReport:
    """Everything that a run found out.

    step_of_8: how many steps of one token a step of eight costs; None unless pp8 and a plain tg were
    measured. peak_bytes: the most that was resident, None where the system does not tell.
    """

    model: str
    file_bytes: int
    kv_bytes: int
    peak_bytes: int | None
    load_s: float
    isa: str
    threads: int
    repeats: int
    limits: Limits
    results: tuple[Result, ...]
    step_of_8: float | None


BenchEvent = Progress | Notice | Measured | BenchReport


def bench(
    name: str | os.PathLike[str],
    options: BenchOptions | None = None,
    **engine_options: Any,  # Any: EngineOptions' own fields, which it checks
) -> Iterator[BenchEvent]:
    """Measure a model of the library, a file or a folder; the last event is the BenchReport.

    Workloads that the model's context is too short for are left out with a Notice. Raises what load()
    raises, and OptionError if no workload fits.
    """
    options = options or BenchOptions()
    with open_checkpoint(resolve(name)) as checkpoint:
        weights = load_weights(checkpoint)
        step, config = step_of(weights, checkpoint.tensors.layouts), weights.config
    workloads = list(dict.fromkeys(map(parse_workload, options.workloads)))
    context = engine_options.get("context_length") or config.context_length
    fitting = [workload for workload in workloads if workload.length <= context]
    for workload in workloads:
        if workload not in fitting:
            yield Notice(text=f"{workload.name} is left out: it needs a context of {workload.length} tokens")
    if not fitting:
        raise OptionError(f"no workload fits a context of {context} tokens")
    engine = _with_room(fitting, config, engine_options)
    yield Progress(what="loading", done=0, total=None, unit="steps")
    started = time.perf_counter()
    with load(name, **engine) as model:
        load_s = time.perf_counter() - started
        run = _Run(model, step, fitting, options, from_mapping(EngineOptions, engine, where="bench"))
        yield from run.measure()
        yield run.report(load_s)
    _tune_once()


def _tune_once() -> None:
    """Let later runs know how many threads suit this machine, if no run before has."""
    processor = read_processor()
    if remembered() is None and processor.isa is not None:  # None: TROPILLA_ISA names no kernels
        tune(processor)


def _with_room(
    workloads: Sequence[Workload], config: LlamaConfig, given: dict[str, Any]
) -> dict[str, Any]:  # Any: as in bench()
    """Return the engine options given, and room for every workload where they do not say how much."""
    engine = from_mapping(EngineOptions, given, where="bench")
    context = max(max(workload.length for workload in workloads), BLOCK_TOKENS)
    blocks = max(-(-workload.length // BLOCK_TOKENS) * workload.n_sequences for workload in workloads)
    block_bytes = kv_block_bytes(config, engine.kv_type)
    most = max(workload.n_sequences for workload in workloads)
    if given.get("max_batch", most) < most:
        raise OptionError(f"{most} sequences are to run at once, but max_batch is {engine.max_batch}")
    for name in NOT_FOR_BENCHMARKS:
        if name in given:
            raise OptionError(f"{name} is not for benchmarks: the next would find what this one read")
    return {
        "context_length": context,
        "kv_memory_mb": -(-max(blocks, -(-context // BLOCK_TOKENS)) * block_bytes // 1_000_000),
        "max_batch": max(engine.max_batch, most),
        # Random text repeats itself as no answer does; a step must be a step, unless a draft is asked for.
        "speculation": "off" if engine.draft_model is None else "draft",
        **given,
    }


class _Run:
    """Measure one loaded model."""

    def __init__(
        self,
        model: Model,
        step: Step,
        workloads: Sequence[Workload],
        options: BenchOptions,
        engine_options: EngineOptions,
    ) -> None:
        self._model = model
        self._chunk = engine_options.prefill_chunk
        self._kv_token_bytes = kv_block_bytes(model.config, engine_options.kv_type) / BLOCK_TOKENS
        self._step = step
        self._workloads = workloads
        self._options = options
        self._seconds: dict[str, list[float]] = {workload.name: [] for workload in workloads}
        self._limits: list[Limits] = []
        self._rng = random.Random(options.seed)
        self._depths = {d: self._tokens(d) for d in {workload.depth for workload in workloads}}
        self._peak_bytes: int | None = None

    def measure(self) -> Iterator[BenchEvent]:
        """Run the repeats."""
        engine, options = self._model.engine, self._options
        total = options.repeats * len(self._workloads)
        deadline = time.monotonic() + options.budget_s
        # Touches all weights: pages that were never used come slowly. Fits whatever any workload fits.
        self._timed(parse_workload("pp1"))
        for repeat in range(options.repeats):
            if repeat and time.monotonic() > deadline:
                return
            for i, workload in enumerate(self._workloads):
                done = repeat * len(self._workloads) + i
                yield Progress(what=workload.name, done=done, total=total, unit="measurements")
                seconds = self._timed(workload)
                self._seconds[workload.name].append(seconds)
                yield Measured(workload=workload.name, repeat=repeat, seconds=seconds)
            if self._peak_bytes is None:  # before the limits take memory of their own
                self._peak_bytes = peak_resident_bytes()
            stats = engine.stats
            self._limits.append(measure_limits(stats.isa, stats.threads, budget_s=0.2))

    def report(self, load_s: float) -> BenchReport:
        """Sum up what was measured."""
        stats, model = self._model.engine.stats, self._model
        limits = Limits(
            n_threads=stats.threads,
            bandwidth=statistics.median(limits.bandwidth for limits in self._limits),
            int8_peak=statistics.median(limits.int8_peak for limits in self._limits),
        )
        return BenchReport(
            model=str(model.path),
            file_bytes=_size_of(model),
            kv_bytes=stats.memory.kv_bytes,
            peak_bytes=self._peak_bytes,
            load_s=load_s,
            isa=stats.isa,
            threads=stats.threads,
            repeats=len(self._limits),
            limits=limits,
            results=tuple(self._result(workload, limits) for workload in self._workloads),
            step_of_8=self._step_of_8(),
        )

    def _result(self, workload: Workload, limits: Limits) -> Result:
        seconds = self._seconds[workload.name]
        median, n_tokens = statistics.median(seconds), workload.timed_tokens
        bound = self._bound(workload, limits)
        return Result(
            workload=workload.name,
            what=workload.describe,
            reads=workload.reads,
            tokens_per_s=n_tokens / median,
            low=n_tokens / max(seconds),
            high=n_tokens / min(seconds),
            token_s=median if workload.reads else median / workload.n_tokens,
            share=bound and bound.seconds / median,
            limit=bound and bound.by,
        )

    def _bound(self, workload: Workload, limits: Limits) -> Bound | None:
        return least_time(
            workload, self._step, limits, kv_token_bytes=self._kv_token_bytes, chunk=self._chunk
        )

    def _step_of_8(self) -> float | None:
        plain = [w for w in self._workloads if not w.reads and w.n_sequences == 1 and not w.depth]
        eight = self._seconds.get("pp8")
        if not plain or not eight:
            return None
        one = statistics.median(self._seconds[plain[0].name]) / plain[0].n_tokens
        return statistics.median(eight) / one

    def _timed(self, workload: Workload) -> float:
        """Run a workload once and return the seconds of what it times."""
        engine = self._model.engine
        sequences = [self._submit(workload) for _ in range(workload.n_sequences)]
        try:
            started = time.perf_counter()
            while not all(sequence.n_generated for sequence in sequences):
                engine.step()
            if workload.reads:
                return time.perf_counter() - started
            return _time_drawing(engine, sequences, workload.n_tokens)
        finally:
            for sequence in sequences:
                engine.cancel(sequence)
            while engine.has_work:
                engine.step()

    def _submit(self, workload: Workload) -> LiveSequence:
        model = self._model
        prompt = self._depths[workload.depth] if workload.depth else self._tokens(workload.prompt_tokens)
        if workload.n_sequences > 1 and workload.depth:
            prompt = self._tokens(workload.depth)  # no two of them may share their keys and values
        sampling = Sampling(temperature=0, ignore_eos=True, seed=0)
        params = sampling.to_native(model.config.vocab_size, end_ids=model.tokenizer.end_ids)
        return model.engine.submit(prompt, TokenSampling(params=params))

    def _tokens(self, n: int) -> list[int]:
        return [self._rng.randrange(self._model.config.vocab_size) for _ in range(n)]


def _time_drawing(engine: Engine, sequences: Sequence[LiveSequence], n_tokens: int) -> float:
    """Return the seconds in which every sequence draws n_tokens more."""
    before = [sequence.n_generated for sequence in sequences]
    started = time.perf_counter()
    while any(s.n_generated - b < n_tokens for s, b in zip(sequences, before, strict=True)):
        engine.step()
    elapsed = time.perf_counter() - started
    drawn = sum(sequence.n_generated for sequence in sequences) - sum(before)
    return elapsed * n_tokens * len(sequences) / drawn  # a step may draw more than was asked for


def _size_of(model: Model) -> int:
    path = model.path
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files)
