"""tropilla models: the library, the catalogue and what fits, for people and for scripts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.hub.test_library import put
from tropilla.cli import main
from tropilla.hub.catalogue import catalogue
from tropilla.hub.pull import pull

FIT = ["models", "--fit", "--memory", "10GB", "--bandwidth", "40GB"]


def printed(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    assert main(list(argv)) == 0
    return capsys.readouterr().out


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
    lines = [line.strip() for line in printed(capsys, "models", "--catalogue").splitlines()]
    for family in catalogue().families:
        place = lines.index(f"{family.title}  {family.sizes}")
        assert lines[place + 1] == f"data: {family.training_data}"
        facts = (family.prompt_format, family.licence, family.recipe)
        assert all(fact in lines[place + 2] for fact in facts)
    for model in catalogue().models:
        (line,) = [line for line in lines if line.strip().startswith(f"{model.name} ")]
        assert model.how_to_get in line


def test_the_catalogue_as_json_is_whole(capsys: pytest.CaptureFixture[str]) -> None:
    listed = json.loads(printed(capsys, "models", "--catalogue", "--json"))
    assert [family["name"] for family in listed["families"]] == [f.name for f in catalogue().families]
    assert [model["name"] for model in listed["models"]] == [m.name for m in catalogue().models]
    assert listed["models"][0]["shape"]["dim"] == catalogue().models[0].shape.dim


def test_fit_names_the_best_and_why_others_fail(capsys: pytest.CaptureFixture[str]) -> None:
    out = printed(capsys, *FIT)
    assert "10 GB of memory, as given, 40 GB/s bandwidth, as given" in out
    assert "Best: " in out
    assert "too big by" in rows(out, "llama-65b")[0]
    assert "too slow" in rows(out, "llama-13b")[0]
    assert "tropilla pull smollm2" in rows(out, "smollm2")[0]
    assert "by hand" in rows(out, "alpaca-7b")[0]


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
