"""The benchmark as a library: what it reports, which workloads it leaves out, which options it refuses."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

import tropilla
from tropilla.api.bench import BenchOptions, BenchReport, Measured, bench
from tropilla.engine.engine import Engine
from tropilla.engine.sequence import LiveSequence, TokenSampling
from tropilla.errors import OptionError, RequestError
from tropilla.events import Notice
from tropilla.hub.processor import read_processor
from tropilla.hub.tuning import remembered


@pytest.fixture(scope="module", autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep what the first benchmark remembers of the machine out of the user's folders."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TROPILLA_HOME", str(tmp_path_factory.mktemp("home")))
        yield


def report_of(path: Path, *workloads: str, repeats: int = 1, **engine: object) -> BenchReport:
    *_, report = bench(path, BenchOptions(workloads=workloads, repeats=repeats), **engine)
    assert isinstance(report, BenchReport)
    return report


def test_every_workload_is_measured_in_every_repeat(tiny_path: Path) -> None:
    events = list(bench(tiny_path, BenchOptions(workloads=("pp8", "tg4", "tg2x3"), repeats=2), threads=2))
    measured = [event for event in events if isinstance(event, Measured)]
    assert [(m.workload, m.repeat) for m in measured] == [
        (name, repeat) for repeat in (0, 1) for name in ("pp8", "tg4", "tg2x3")
    ]
    report = events[-1]
    assert isinstance(report, BenchReport)
    assert report.repeats == 2
    assert report.threads == report.limits.n_threads == 2
    assert report.file_bytes == tiny_path.stat().st_size


def test_a_speed_is_tokens_over_the_middle_time(tiny_path: Path) -> None:
    events = list(bench(tiny_path, BenchOptions(workloads=("tg4x2",), repeats=3)))
    seconds = sorted(event.seconds for event in events if isinstance(event, Measured))
    report = events[-1]
    assert isinstance(report, BenchReport)
    (result,) = report.results
    assert result.tokens_per_s == pytest.approx(8 / seconds[1])
    assert result.low == pytest.approx(8 / seconds[2])
    assert result.high == pytest.approx(8 / seconds[0])
    assert result.token_s == pytest.approx(seconds[1] / 4)
    assert result.share is not None
    assert 0 < result.share < 10  # a model of a few kilobytes is read from the caches, not from memory


def test_a_step_of_eight_is_held_against_a_step_of_one(tiny_path: Path) -> None:
    report = report_of(tiny_path, "pp8", "tg4")
    reading, drawing = report.results
    assert report.step_of_8 == pytest.approx(reading.token_s / drawing.token_s)
    assert report_of(tiny_path, "pp8").step_of_8 is None


def test_no_repeat_begins_beyond_the_budget(tiny_path: Path) -> None:
    *_, report = bench(tiny_path, BenchOptions(workloads=("tg2",), repeats=50, budget_s=0))
    assert isinstance(report, BenchReport)
    assert report.repeats == 1


def test_what_the_context_is_too_short_for_is_left_out_and_said(tiny_path: Path) -> None:
    events = list(bench(tiny_path, BenchOptions(workloads=("pp256", "tg4@100"), repeats=1)))
    assert [event.text for event in events if isinstance(event, Notice)] == [
        "pp256 is left out: it needs a context of 257 tokens"
    ]
    report = events[-1]
    assert isinstance(report, BenchReport)
    assert [result.workload for result in report.results] == ["tg4@100"]


def test_more_sequences_than_the_engine_s_own_batch_fit(tiny_path: Path) -> None:
    assert report_of(tiny_path, "tg2x20").results[0].tokens_per_s > 0


def test_what_cannot_be_measured_is_refused_before_loading(tiny_path: Path) -> None:
    with pytest.raises(OptionError, match="no workload fits"):
        report_of(tiny_path, "pp256")
    with pytest.raises(OptionError, match="max_batch is 2"):
        report_of(tiny_path, "tg2x3", max_batch=2)
    with pytest.raises(OptionError, match="did you mean 'threads'"):
        report_of(tiny_path, "tg2", thread=2)
    with pytest.raises(OptionError, match="workloads is empty"):
        BenchOptions(workloads=())
    with pytest.raises(OptionError, match="prefix_cache_mb is not for benchmarks"):
        report_of(tiny_path, "tg2", prefix_cache_mb=10)
    with pytest.raises(RequestError):
        report_of(Path("nowhere"), "tg2")


@pytest.mark.parametrize("wrong", [{"repeats": 0}, {"budget_s": -1.0}, {"seed": -1}, {"workloads": ("x",)}])
def test_options_have_limits(wrong: dict[str, object]) -> None:
    with pytest.raises(OptionError):
        BenchOptions(**wrong)  # type: ignore[arg-type]  # the point


def test_a_workload_named_twice_is_measured_once(tiny_path: Path) -> None:
    assert [result.workload for result in report_of(tiny_path, "tg2", "TG2", "pp8").results] == ["tg2", "pp8"]


def test_the_shortest_context_of_a_workload_is_enough(tiny_path: Path) -> None:
    """Warming up once waited forever for tokens that the context had no room for."""
    assert report_of(tiny_path, "pp1", context_length=2).results[0].tokens_per_s > 0


def test_the_seed_changes_what_is_read(tiny_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prompts: list[tuple[int, ...]] = []
    submit = Engine.submit

    def noted(self: Engine, token_ids: Sequence[int], sampling: TokenSampling) -> LiveSequence:
        prompts.append(tuple(token_ids))
        return submit(self, token_ids, sampling)

    monkeypatch.setattr(Engine, "submit", noted)
    for seed in (1, 2, 1):
        list(bench(tiny_path, BenchOptions(workloads=("pp8",), repeats=1, seed=seed)))
    of_seed = [prompts[i] for i in range(1, len(prompts), 2)]  # after each warm-up
    assert of_seed[0] == of_seed[2] != of_seed[1]


def test_the_first_run_chooses_the_threads_of_later_ones(
    tiny_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TROPILLA_HOME", str(tmp_path))
    assert remembered() is None
    report_of(tiny_path, "tg2")
    first = remembered()
    assert first is not None
    report_of(tiny_path, "tg2", threads=1)
    assert remembered() == first


def test_kernels_named_by_an_option_are_enough(
    tiny_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without an instruction set of its own choosing there is nothing to tune, and no reason to fail."""
    monkeypatch.setenv("TROPILLA_HOME", str(tmp_path))
    unsettled = replace(read_processor(), isa=None, why_no_isa="TROPILLA_ISA names no kernels")
    monkeypatch.setattr("tropilla.api.bench.read_processor", lambda: unsettled)
    assert report_of(tiny_path, "tg2", isa="scalar").isa == "scalar"
    assert remembered() is None


def test_nothing_is_guessed_ahead_unless_asked_for(tiny_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Greedy answers to random text repeat themselves: guessing would make every speed a lucky one."""
    used: list[object] = []

    def noted(name: Path, **engine: object) -> tropilla.Model:
        used.append(engine["speculation"])
        return tropilla.load(name, **engine)  # type: ignore[arg-type]  # load() checks them

    monkeypatch.setattr("tropilla.api.bench.load", noted)
    report_of(tiny_path, "tg4")
    report_of(tiny_path, "tg4", speculation="lookup")
    report_of(tiny_path, "tg4", draft_model=str(tiny_path))
    assert used == ["off", "lookup", "draft"]
