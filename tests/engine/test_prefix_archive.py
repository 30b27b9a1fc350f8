"""Prompts that an earlier engine read: found on disk, never where anything about them differs."""

from __future__ import annotations

import dataclasses
import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.engine.driving import MODEL, PROMPT, answer, finish, sampling
from tests.engine.models import Model, random_model
from tropilla import _native
from tropilla.engine.engine import Engine
from tropilla.engine.engine_options import EngineOptions
from tropilla.engine.executor import BLOCK_TOKENS
from tropilla.engine.prefix_archive import PrefixArchive
from tropilla.model.config import rope_table

N_FULL = len(PROMPT) // BLOCK_TOKENS * BLOCK_TOKENS

Run = Callable[..., tuple[list[int], int]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Return a function that answers PROMPT with an engine of its own: the tokens, and how many it reused."""

    def run_once(
        prompt: list[int] = PROMPT, model: Model = MODEL, folder: Path = tmp_path, **options: Any
    ) -> tuple[list[int], int]:
        chosen = EngineOptions(
            **{"threads": 2, "context_length": 256, "prefix_cache_mb": 10, "isa": "scalar", **options}
        )
        with Engine(model.weights, chosen, prefix_folder=folder) as engine:
            tokens = answer(engine, prompt, sampling(8, temperature=0.0))
            return tokens, engine.stats.work.reused_tokens

    return run_once


def test_a_prompt_read_by_an_earlier_engine_is_not_read_again(run: Run) -> None:
    cold, reused = run()
    assert reused == 0
    assert run() == (cold, N_FULL)


def test_the_answer_is_kept_too(run: Run) -> None:
    tokens, _ = run()
    longer = [*PROMPT, *tokens[:-1], *PROMPT]
    n_known = (len(PROMPT) + len(tokens) - 1) // BLOCK_TOKENS * BLOCK_TOKENS
    assert run(longer)[1] == n_known


def test_at_least_one_token_is_read(run: Run) -> None:
    """A prompt of whole blocks: without reading its last token there would be nothing to draw from."""
    run(PROMPT[:64])
    assert run(PROMPT[:64])[1] == 32


def test_only_the_common_start_is_reused(run: Run) -> None:
    run()
    changed = [*PROMPT[:40], (PROMPT[40] + 1) % 100, *PROMPT[41:]]
    cold = run(changed, prefix_cache_mb=None)
    assert cold[1] == 0
    assert run(changed) == (cold[0], BLOCK_TOKENS)


@pytest.mark.parametrize("options", [{"kv_type": "f32"}, {"isa": "avx2"}, {"prefix_cache_mb": None}])
def test_other_engines_do_not_see_it(run: Run, options: dict[str, Any]) -> None:
    if options.get("isa", "scalar") not in _native.isa_names():
        pytest.skip("one instruction set only")
    run()
    assert run(**options)[1] == 0


def test_other_weights_do_not_see_it(run: Run) -> None:
    run()
    assert run(model=random_model(seed=6))[1] == 0


def test_another_shape_does_not_see_it(run: Run) -> None:
    run()
    config = dataclasses.replace(MODEL.config, rope_theta=MODEL.config.rope_theta * 2)
    weights = dataclasses.replace(MODEL.weights, config=config)
    assert run(model=dataclasses.replace(MODEL, weights=weights))[1] == 0


def test_other_rotations_of_the_same_shape_do_not_see_it(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python works them out, so a correction there leaves the compiled code as it is."""
    run()
    table = rope_table(MODEL.config, None)
    other = table._replace(inv_freq=tuple(2 * frequency for frequency in table.inv_freq))
    monkeypatch.setattr("tropilla.engine.executor.rope_table", lambda *_: other)
    assert run()[1] == 0


def test_another_build_does_not_see_it(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run()
    other = tmp_path / "other_build"
    other.write_bytes(b"code")
    monkeypatch.setattr("tropilla._native.__file__", str(other))
    assert run()[1] == 0


def test_a_damaged_file_ends_the_reuse_there(run: Run, tmp_path: Path) -> None:
    cold, _ = run()
    for path in tmp_path.glob("*.kv"):
        path.write_bytes(path.read_bytes()[:-1])
    reuses = [run() for _ in range(4)]
    # Each run finds the first block that is not whole, and writes it anew.
    assert reuses == [(cold, n * BLOCK_TOKENS) for n in (0, 1, 2, 3)]


def test_blocks_that_were_reused_before_they_were_written_are_left_out(tmp_path: Path) -> None:
    """The writer finds another sequence's keys where a finished one had its own."""
    options = EngineOptions(threads=1, context_length=128, prefix_cache_mb=10, isa="scalar")
    with Engine(MODEL.weights, options, prefix_folder=tmp_path) as engine:
        assert engine._archive is not None
        with engine._lock:  # the writer waits for this
            engine._archive.keep([b"name of other tokens"], [0])
        first = answer(engine, PROMPT, sampling(8, temperature=0.0))
    assert len(list(tmp_path.glob("*.kv"))) == N_FULL // BLOCK_TOKENS
    with Engine(MODEL.weights, options, prefix_folder=tmp_path) as engine:
        assert answer(engine, PROMPT, sampling(8, temperature=0.0)) == first


def test_the_archive_is_bounded(run: Run, tmp_path: Path) -> None:
    """A block of 32 tokens takes 8 kB here, so 122 of 1 MB fit."""
    for start in range(60):
        run([(start + i) % 101 for i in range(100)], prefix_cache_mb=1)
    assert 500_000 < sum(path.stat().st_size for path in tmp_path.iterdir()) <= 1_000_000


def test_a_folder_that_cannot_be_made_costs_only_time(
    run: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    blocker = tmp_path / "file"
    blocker.write_text("in the way")
    with caplog.at_level(logging.WARNING):
        assert run(folder=blocker / "folder") == run(prefix_cache_mb=None)
    assert "prefix cache cannot be used" in caplog.text


def test_a_disk_that_is_full_costs_only_time(
    run: Run, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError("no room")

    monkeypatch.setattr("tropilla.engine.prefix_folder.PrefixFolder.save", refuse)
    with caplog.at_level(logging.WARNING):
        assert run() == run(prefix_cache_mb=None)
    assert "cannot be written: no room" in caplog.text


def test_a_disk_that_stays_full_is_reported_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError("no room")

    monkeypatch.setattr("tropilla.engine.prefix_folder.PrefixFolder.save", refuse)
    options = EngineOptions(threads=1, context_length=128, prefix_cache_mb=10, isa="scalar")
    with Engine(MODEL.weights, options, prefix_folder=tmp_path) as engine:
        for _ in range(3):
            answer(engine, PROMPT, sampling(8, temperature=0.0))
            assert engine._archive is not None
            engine._archive.close()
    assert len(caplog.records) == 1


def test_a_sequence_that_waits_asks_for_nothing_to_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each step that had no room for it had all blocks of its known start looked up on disk again."""
    kept: list[list[bytes]] = []

    def note(_: PrefixArchive, names: list[bytes], blocks: list[int]) -> None:
        assert len(names) <= len(blocks)
        kept.append(list(names))

    monkeypatch.setattr(PrefixArchive, "keep", note)
    options = EngineOptions(threads=1, context_length=128, prefix_cache_mb=10, isa="scalar")
    with Engine(MODEL.weights, options, prefix_folder=tmp_path) as engine:  # four blocks: one context
        answer(engine, PROMPT, sampling(8, temperature=0.0))
        kept.clear()
        finish(engine, *[engine.submit(PROMPT, sampling(8, temperature=0.0)) for _ in range(2)])
    assert len(kept) == 2


def test_no_thread_is_left_when_there_is_nothing_to_write(run: Run) -> None:
    run()
    assert not [thread for thread in threading.enumerate() if thread.name == "tropilla-prefixes"]
