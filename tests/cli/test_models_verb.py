"""tropilla models: the library, the catalogue and what fits, for people and for scripts."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest

from tests.hub.test_library import put
from tropilla.cli import main
from tropilla.cli.models import short_path
from tropilla.events import Saved
from tropilla.hub.catalogue import catalogue
from tropilla.hub.pull import pull

FIT = ["models", "--fit", "--memory", "10GB", "--bandwidth", "40GB"]


def printed(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    assert main(list(argv)) == 0
    return re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)


def failed(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    assert main(list(argv)) == 2
    return capsys.readouterr().err


def rows(text: str, first: str) -> list[str]:
    return [line for line in text.splitlines() if line.split()[:1] == [first]]


@pytest.mark.usefixtures("library")
def test_a_real_model_is_listed_with_its_type_and_size(
    real_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """stories260K: 260 032 weights as its trainer counts them; float32, context 512."""
    list(pull(str(real_data / "weights" / "stories260K" / "stories260K.bin")))
    (row,) = rows(printed(capsys, "models"), "stories260k")
    assert "F32" in row
    assert "260 k" in row
    assert " 512 " in row
    (entry,) = json.loads(printed(capsys, "models", "--json"))
    assert entry["parameters"] == 260_032
    assert entry["format"] == "llama2.c"


@pytest.mark.usefixtures("library")
def test_a_model_that_cannot_be_opened_is_named_beside_the_others(capsys: pytest.CaptureFixture[str]) -> None:
    put("damaged", b"no model at all")
    out = printed(capsys, "models")
    assert "cannot be used:" in out
    (entry,) = json.loads(printed(capsys, "models", "--json"))
    assert "problem" in entry


def test_f53_the_catalogue_lists_every_family_with_its_facts(capsys: pytest.CaptureFixture[str]) -> None:
    out = printed(capsys, "models", "--catalogue")
    words = " ".join(out.split())  # however the lines are wrapped
    for family in catalogue().families:
        head = f"{family.title} {family.sizes} data: {family.training_data} prompt format: "
        facts = words[words.index(head) + len(head) :].split(" data: ")[0]
        assert all(fact in facts for fact in (family.prompt_format, family.licence, family.recipe))
    for model in catalogue().models:
        assert f"tropilla pull {model.name}" == model.how_to_get or model.how_to_get in words
        assert rows(out, model.name)


def test_the_catalogue_as_json_is_whole(capsys: pytest.CaptureFixture[str]) -> None:
    listed = json.loads(printed(capsys, "models", "--catalogue", "--json"))
    assert [family["name"] for family in listed["families"]] == [f.name for f in catalogue().families]
    assert [model["name"] for model in listed["models"]] == [m.name for m in catalogue().models]
    assert listed["models"][0]["shape"]["dim"] == catalogue().models[0].shape.dim


def test_fit_names_the_best_and_why_others_fail(capsys: pytest.CaptureFixture[str]) -> None:
    out = printed(capsys, *FIT)
    assert "10 GB of memory, as given, 40 GB/s bandwidth, as given" in out
    assert "Best: " in out
    assert "too big" in rows(out, "llama-65b")[0]
    assert "too slow" in rows(out, "llama-13b")[0]
    assert "tropilla pull ..." in out
    assert rows(out, "smollm2")[0].endswith("  smollm2")
    assert rows(out, "llama-13b")[0].endswith("  llama-13b --file Q4_0")
    assert "(by hand)" in rows(out, "alpaca-7b")[0]


def test_fit_s_wishes_change_the_answer(capsys: pytest.CaptureFixture[str]) -> None:
    def verdict(*wishes: str) -> str:
        fits = json.loads(printed(capsys, *FIT, "--json", *wishes))
        return next(str(fit["verdict"]) for fit in fits if fit["model"] == "llama-13b")

    assert verdict() == "too slow"
    assert verdict("--min-speed", "1") == "runs"
    assert verdict("--memory", "8GB") == "too big"
    assert verdict("--bandwidth", "400GB") == "runs"
    assert verdict("--min-speed", "1", "--context", "100000") == "runs"  # its own context is only 2048


def test_fit_can_show_every_type(capsys: pytest.CaptureFixture[str]) -> None:
    best, every = (json.loads(printed(capsys, *FIT, "--json", *more)) for more in ([], ["--all-types"]))
    assert len(best) == len(catalogue().models) < len(every)
    assert {"model": "qwen3-4b", "type": "Q4_K_M"}.items() <= next(
        fit for fit in every if fit["model"] == "qwen3-4b" and fit["type"] == "Q4_K_M"
    ).items()


def test_a_tiny_machine_is_told_that_nothing_runs(capsys: pytest.CaptureFixture[str]) -> None:
    assert "Nothing in the catalogue runs" in printed(capsys, *FIT, "--memory", "1MB")


def test_fit_measures_what_is_not_given(capsys: pytest.CaptureFixture[str]) -> None:
    out = printed(capsys, "models", "--fit")
    assert "of memory free" in out
    assert "measured bandwidth" in out


def test_wrong_flags_are_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert "add --fit" in failed(capsys, "models", "--memory", "10GB")
    assert "not allowed with" in failed(capsys, "models", "--fit", "--catalogue")
    assert "is not a size" in failed(capsys, "models", "--fit", "--memory", "much")
    assert "context_length" in failed(capsys, *FIT, "--context", "-1")


@pytest.mark.parametrize("lists", [["--catalogue"], FIT[1:]])
def test_lists_fit_a_narrow_terminal_and_a_pipe(
    lists: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    piped = printed(capsys, "models", *lists)
    assert max(map(len, piped.splitlines())) <= 100
    assert not [line for line in piped.splitlines() if line != line.rstrip()]
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "80")
    shown = printed(capsys, "models", *lists)
    assert max(map(len, shown.splitlines())) <= 80
    if lists != ["--catalogue"]:  # every model keeps to one line
        assert rows(shown, "gpt4-x-alpaca-13b")[0].rstrip().endswith("(by hand)")


@pytest.mark.usefixtures("library")
def test_a_path_too_long_for_the_table_has_its_own_line(
    real_data: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (*_, end) = pull(str(real_data / "weights" / "stories260K" / "stories260K.bin"))
    assert isinstance(end, Saved)
    where = short_path(end.path)
    assert rows(printed(capsys, "models"), "stories260k")[0].endswith(where)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "60")
    assert where in printed(capsys, "models").splitlines()
