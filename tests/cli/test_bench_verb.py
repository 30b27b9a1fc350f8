"""tropilla bench: a table for a person, an object for a script, one sentence for a mistake."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.api.tiny_model import write_tiny_model
from tropilla.cli import main

QUICK = ["--only", "pp8,tg4", "--only", "tg2x2", "--repeats", "2"]


@pytest.fixture(scope="module", autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep what the first benchmark remembers of the machine out of the user's folders."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TROPILLA_HOME", str(tmp_path_factory.mktemp("home")))
        yield


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_tiny_model(tmp_path_factory.mktemp("bench") / "tiny.gguf"))


def test_the_table_names_speeds_and_limits(tiny: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", tiny, *QUICK]) == 0
    out = capsys.readouterr().out
    assert out.startswith("tiny.gguf, ")
    assert "limits: " in out
    rows = [line.split("  ")[0] for line in out.splitlines()]
    assert "read a prompt of 8 tokens" in rows
    assert "draw 4 tokens" in rows
    assert "draw 2 tokens in each of 2 sequences at once" in rows
    assert "Medians of 2 repeats" in out


def test_json_holds_every_result_and_the_machine(tiny: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", tiny, *QUICK, "--json", "--threads", "1"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [result["workload"] for result in told["results"]] == ["pp8", "tg4", "tg2x2"]
    assert told["threads"] == told["limits"]["n_threads"] == 1
    assert told["machine"]["processor"]
    assert told["results"][0]["low"] <= told["results"][0]["tokens_per_s"] <= told["results"][0]["high"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere"], "there is no model 'nowhere'"),
        (["--only", "pp512,tgg"], "unknown workload 'tgg'; write pp512"),
        (["--only", ","], "workloads is empty"),
        (["--repeats", "0"], "repeats must be in [1, 1000], got 0"),
        (["--ony", "pp8"], "did you mean '--only'?"),
        (["--prefix-cache-mb", "10"], "--prefix-cache-mb"),  # never of use here, so not on offer either
    ],
)
@pytest.mark.usefixtures("library")
def test_a_mistake_is_one_sentence(
    arguments: list[str],
    words: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["bench", *arguments]) != 0
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1


def test_help_offers_only_what_is_taken(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--help"]) == 0
    told = capsys.readouterr().out
    assert "--kv-type" in told
    assert "--prefix-cache-mb" not in told


def test_a_workload_that_does_not_fit_is_noted_beside_the_table(
    tiny: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", tiny, "--only", "pp512,pp8", "--repeats", "1"]) == 0
    captured = capsys.readouterr()
    assert captured.err == "note: pp512 is left out: it needs a context of 513 tokens\n"
    assert "read a prompt of 512" not in captured.out
